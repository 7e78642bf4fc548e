"""Every parser of what is not ours: receipts, records, keys, messages, tokens and the store's XML, as fuzz targets.

A target takes any bytes. It may raise its own error and no other; and what it accepts means one thing: written again,
it is what was read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ingest_service.frames import _generated, _hot_frame, parse_upload_message
from ingest_service.session_list import page_token, parse_page_token
from sealane.domain import ids
from sealane.domain.claims import ClaimRecord, NameRecord
from sealane.domain.decision import Decision
from sealane.domain.errors import BadRecord, InvalidPageToken, InvalidRequest
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DeletedRecord, MultipartRecord, RequestRecord, SessionRecord, parse_done
from sealane.store import keys, s3_xml

TENANT = Tenant("default")
SESSION = SessionId("0" * 32)


def receipt(data: bytes) -> None:
    """The key is the receipt: one that is read is spelt in one way only."""
    name = data.decode("utf-8", "replace")
    with contextlib.suppress(BadRecord):
        found = keys.parse_receipt(keys.receipts_prefix(TENANT, SESSION) + name)
        assert keys.receipt(TENANT, SESSION, found).endswith("/" + name.rsplit("/", 1)[-1])


def key(data: bytes) -> None:
    """Whose key it is; or nobody's."""
    text = data.decode("utf-8", "replace")
    for parse in (keys.parse_session_key, keys.parse_object_key):
        owner = parse(text)
        if owner is not None:
            assert ids.tenant(owner.tenant)
            assert ids.session_id(owner.session)
            assert text.endswith(owner.rest)
    keys.parse_request_key(text)
    keys.parse_claim_key(text)
    keys.parse_chosen_key(text)


def names(data: bytes) -> None:
    """What callers give: accepted as it is, or refused."""
    text = data.decode("utf-8", "replace")
    parsers: tuple[Callable[[str], str], ...] = (
        ids.session_id,
        ids.tenant,
        lambda given: ids.object_key(given, TENANT),
    )
    for parse in parsers:
        with contextlib.suppress(InvalidRequest):
            assert parse(text) == text
    with contextlib.suppress(InvalidRequest):
        assert ids.filename(text) == (text or ids.DEFAULT_FILENAME)


def record(data: bytes) -> None:
    """Each kind reads its own, and what it reads it writes so that it reads the same again."""
    for parse in (
        SessionRecord.parse,
        MultipartRecord.parse,
        RequestRecord.parse,
        Decision.parse,
        parse_done,
        DeletedRecord.parse,
        ClaimRecord.parse,
        NameRecord.parse,
    ):
        with contextlib.suppress(BadRecord):
            found = parse(data)
            assert parse(found.encode()) == found


def message(data: bytes) -> None:
    """The parser by hand and the generated one agree on whatever the first accepts."""
    parse_upload_message(data)
    by_hand = _hot_frame(data)
    if by_hand is not None:
        generated = _generated(data)
        assert (by_hand.chunk_index, by_hand.offset, bytes(by_hand.data), by_hand.blake3) == (
            generated.chunk_index,  # type: ignore[union-attr]
            generated.offset,  # type: ignore[union-attr]
            bytes(generated.data),  # type: ignore[union-attr]
            generated.blake3,  # type: ignore[union-attr]
        )


def token(data: bytes) -> None:
    """Nobody makes up where a list goes on."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(InvalidPageToken):
        assert page_token(TENANT, None, parse_page_token(TENANT, None, text)) == text


def xml(data: bytes) -> None:
    """A store's answer is read, or Unreadable."""
    for parse in (s3_xml.object_page, s3_xml.part_page, s3_xml.upload_page, s3_xml.upload_id):
        with contextlib.suppress(s3_xml.Unreadable):
            parse(data)
    s3_xml.error_document(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (receipt, key, names, record, message, token, xml)
}

_B = "A" * 43
SEEDS: dict[str, tuple[bytes, ...]] = {
    "receipt": (f"00000000.1024.{_B}.{_B}.{_B}.{'0' * 32}".encode(),),
    "key": (
        f".sealane/default/sessions/{SESSION}/session.json".encode(),
        f"default/by-session/{SESSION}/file.bin".encode(),
        f".sealane/default/requests/{'0' * 64}.json".encode(),
        f".sealane/default/claims/{'0' * 64}/000000000001.json".encode(),
    ),
    "names": (b"report.pdf", b"a/b/c.bin", SESSION.encode()),
    "record": (
        SessionRecord(SESSION, "k", "f", 1024, 10, "t", 60, "a/b", {"colour": "blue"}, "me").encode(),
        MultipartRecord(SESSION, "upload").encode(),
        RequestRecord(SESSION, b"\0" * 32).encode(),
        DeletedRecord(SESSION).encode(),
    ),
    "message": (b"\x12\x08\x08\x01\x1a\x01x\x22\x01y", b"\x0a\x02\x0a\x00"),
    "token": (page_token(TENANT, None, SESSION).encode(),),
    "xml": (
        (
            b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>1</Size>"
            b"<LastModified>2030-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
        ),
        b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>",
        b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    ),
}
