"""The XML of the S3 API that sealane reads and writes, as the Amazon S3 API reference gives it.

Answers come from the network: they are bounded by the transport, and a document type (the only door to entity
expansion and external entities) is refused before parsing. :class:`Unreadable` says that an answer is no such thing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from sealane.store.port import ListedObject, ListedPart, ListedUpload, ObjectPage, Part, PartPage, UploadPage

_ROOT_NAMESPACE = re.compile(rb"\A((?:<\?xml[^>]*\?>\s*)?<\w+)\s+xmlns=\"[^\"]*\"")


class Unreadable(ValueError):
    """The answer's body isn't what the S3 API says it is."""


def parse(body: bytes, *roots: str) -> ElementTree.Element:
    """The document's root, which must be one of ``roots``; tags without their namespace."""
    text = body.strip()  # a store keeps a slow CompleteMultipartUpload alive with white space before the document
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text or b"\0" in text:  # NUL: UTF-16, where neither would be seen
        raise Unreadable("a document type in an answer")
    # S3's own namespace stands on the root. Without it tags are plain, which saves a pass: a third of a page's time.
    text = _ROOT_NAMESPACE.sub(rb"\1", text, count=1)
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities; bounded by the transport
    except (ElementTree.ParseError, ValueError) as error:
        raise Unreadable(f"no XML: {error}") from error
    if b"xmlns=" in text:  # a namespace anywhere else: no element may go unseen for it
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag not in roots:
        raise Unreadable(f"<{root.tag}> in place of {' or '.join(f'<{name}>' for name in roots)}")
    return root


def _text(element: ElementTree.Element, name: str) -> str:
    value = element.findtext(name)
    if value is None:
        raise Unreadable(f"<{element.tag}> without <{name}>")
    return value


def _time(element: ElementTree.Element, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(element, name))
    except ValueError as error:
        raise Unreadable(f"<{name}>: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _int(element: ElementTree.Element, name: str) -> int:
    try:
        return int(_text(element, name))
    except ValueError as error:
        raise Unreadable(f"<{name}>: {error}") from error


def _sha256(element: ElementTree.Element) -> bytes | None:
    value = element.findtext("ChecksumSHA256")
    if not value:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise Unreadable(f"<ChecksumSHA256>: {error}") from error
    return digest if len(digest) == 32 else None


def _truncated(root: ElementTree.Element) -> bool:
    return root.findtext("IsTruncated", "false").strip().lower() == "true"


def _key(root: ElementTree.Element, element: ElementTree.Element) -> str:
    """Decoded if the store says that it has encoded; ``+`` is a space then, as a literal one comes as ``%2B``."""
    value = _text(element, "Key")
    return unquote_plus(value) if root.findtext("EncodingType") == "url" else value


def error_document(body: bytes) -> tuple[str, str, str] | None:
    """Code, message and request id of an ``<Error>``, or None if ``body`` isn't one."""
    try:
        root = parse(body, "Error")
    except Unreadable:
        return None
    return root.findtext("Code", "").strip(), root.findtext("Message", ""), root.findtext("RequestId", "")


# Cursors are opaque to callers: what the store wants back on the next page's request, as query parameters in JSON.

_CURSOR_NAMES = {"continuation-token", "start-after", "part-number-marker", "key-marker", "upload-id-marker"}


def _cursor(**query: str) -> str:
    return json.dumps(query, separators=(",", ":"))


def cursor_query(cursor: str | None) -> Iterator[tuple[str, str]]:
    """The query parameters that a cursor stands for. Raises ValueError for what isn't one."""
    if cursor is not None:
        query = json.loads(cursor)
        if not isinstance(query, dict) or not query.keys() <= _CURSOR_NAMES:
            raise ValueError("not a cursor of this store")
        for name, value in query.items():
            yield name, str(value)


def object_page(body: bytes) -> ObjectPage:
    """ListObjectsV2."""
    root = parse(body, "ListBucketResult")
    objects = [
        ListedObject(_key(root, row), _int(row, "Size"), _time(row, "LastModified")) for row in root.iter("Contents")
    ]
    cursor: str | None = None
    if _truncated(root):
        token = root.findtext("NextContinuationToken")
        if token:
            cursor = _cursor(**{"continuation-token": token})
        elif objects:
            cursor = _cursor(**{"start-after": objects[-1].key})
        else:
            raise Unreadable("a truncated page with neither objects nor a token")
    return ObjectPage(objects, cursor)


def part_page(body: bytes) -> PartPage:
    """ListParts. The cursor is None when that was all.

    A store that lists every version of an overwritten part (SeaweedFS 4.48) may end a page between two of them, and
    its marker, a number, then skips the rest. So a page that isn't the last gives up its last number's rows, and its
    cursor points before them. A page of only one number can't: its rows come back with no part left out **only if**
    the page was wide enough, which :meth:`~sealane.store.s3.S3Store.list_parts` sees to.
    """
    root = parse(body, "ListPartsResult")
    parts = [
        ListedPart(
            _int(row, "PartNumber"),
            _text(row, "ETag").strip('"'),
            _int(row, "Size"),
            _time(row, "LastModified"),
            _sha256(row),
        )
        for row in root.iter("Part")
    ]
    if not _truncated(root):
        return PartPage(parts)
    if not parts:
        raise Unreadable("a truncated page without parts")
    whole = [part for part in parts if part.number != parts[-1].number] or parts
    return PartPage(whole, parts_after(whole[-1].number))


def parts_after(number: int) -> str:
    """The cursor of ListParts that goes on behind part ``number``."""
    return _cursor(**{"part-number-marker": str(number)})


def upload_page(body: bytes) -> UploadPage:
    """ListMultipartUploads."""
    root = parse(body, "ListMultipartUploadsResult")
    uploads = [
        ListedUpload(_text(row, "Key"), _text(row, "UploadId"), _time(row, "Initiated")) for row in root.iter("Upload")
    ]
    if not _truncated(root):
        return UploadPage(uploads)
    # What the store wants back is what it gave, no more: SeaweedFS pages by upload id alone, and takes a key-marker
    # for a filter.
    names = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
    markers = {name: marker for name, element in names.items() if (marker := root.findtext(element))}
    if not markers:
        raise Unreadable("a truncated page without a marker")
    return UploadPage(uploads, _cursor(**markers))


def upload_id(body: bytes) -> str:
    """CreateMultipartUpload."""
    found = _text(parse(body, "InitiateMultipartUploadResult"), "UploadId")
    if not found:
        raise Unreadable("an empty upload id")
    return found


def completed_etag(body: bytes) -> str:
    """CompleteMultipartUpload's success."""
    return _text(parse(body, "CompleteMultipartUploadResult"), "ETag").strip('"')


def complete_request(parts: Sequence[Part]) -> bytes:
    """The body of CompleteMultipartUpload: number, ETag and SHA-256 of every part, in the order given."""
    rows = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag>"
        f"<ChecksumSHA256>{base64.b64encode(part.sha256).decode()}</ChecksumSHA256></Part>"
        for part in parts
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</CompleteMultipartUpload>'
    ).encode()
