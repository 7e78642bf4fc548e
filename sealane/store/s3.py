"""The S3 adapter: :class:`~sealane.store.port.ObjectStore` over HTTP or HTTPS, path style, Signature Version 4.

Every PUT carries its SHA-256 twice: as the signed payload hash and as ``x-amz-checksum-sha256``, because a store may
check only one of them (SeaweedFS 4.48 checks only the second). No MD5 is ever computed or sent, no request is sent
twice, and no redirect is followed. The rights that the credentials need are listed in :mod:`sealane.store.port`.

The parts: :mod:`~sealane.store.s3_http` (threads, time-outs), :mod:`~sealane.store.s3_exchange` (one request and its
answer), :mod:`~sealane.store.s3_signing` (the SDK), :mod:`~sealane.store.s3_clock`, :mod:`~sealane.store.s3_xml`,
:mod:`~sealane.store.s3_errors`, :mod:`~sealane.store.s3_settings`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sealane.store import s3_xml
from sealane.store.port import (
    AccessDenied,
    NoSuchKey,
    ObjectHead,
    ObjectPage,
    OutcomeUnknown,
    Part,
    PartPage,
    Rejected,
    StoredObject,
    StoreError,
    UploadPage,
)
from sealane.store.s3_clock import http_date
from sealane.store.s3_errors import refusal
from sealane.store.s3_exchange import Answer, Request
from sealane.store.s3_http import S3Http
from sealane.store.s3_settings import S3Settings

T = TypeVar("T")

MAX_ROWS = 1000
"""S3's own bound of a page."""
LIST_BYTES = 8 << 20
"""A page of 1,000 keys of 1,024 bytes, each percent-encoded, is below 4 MiB."""
META = "x-amz-meta-"

__all__ = ["S3Settings", "S3Store"]


class S3Store:
    """One bucket of an S3-compatible store. Use within one event loop, and close it with :meth:`aclose`.

    ``http`` options (clocks, signer) are for tests: see :class:`~sealane.store.s3_http.S3Http`.
    """

    def __init__(self, settings: S3Settings, **http: Any) -> None:
        self._settings = settings
        self._http = S3Http(settings, **http)

    @property
    def bucket(self) -> str:
        return self._settings.bucket

    def now(self) -> datetime:
        """The store's time (I15)."""
        return self._http.now()

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        timeout: float,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> str:
        digest = hashlib.sha256(body).digest()
        headers = {"Content-Type": _ascii("content type", content_type), **_checksum(digest)}
        if if_absent:
            headers["If-None-Match"] = "*"
        request = Request("PUT", _key(key), headers=headers, body=body, payload_sha256=digest.hex())
        return _etag(request, await self._success(request, timeout))

    async def get(self, key: str, *, timeout: float, max_bytes: int = 16 << 20) -> StoredObject:
        request = Request("GET", _key(key), max_answer_bytes=max_bytes)
        answer = await self._send(request, timeout)
        if answer.ok and not answer.whole:
            raise Rejected(f"{request}: larger than {max_bytes} bytes")
        _require_success(request, answer)
        return StoredObject(answer.body, _etag(request, answer), _last_modified(request, answer))

    async def read(self, key: str, *, timeout: float, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        request = Request("GET", _key(key))
        blocks = self._http.stream(
            request, timeout=timeout, block_bytes=block_bytes, refusal=lambda answer: _refusal(request, answer)
        )
        try:
            async for block in blocks:
                yield block
        finally:
            await blocks.aclose()

    async def head(self, key: str, *, timeout: float) -> ObjectHead:
        request = Request("HEAD", _key(key), headers={"x-amz-checksum-mode": "ENABLED"})
        answer = await self._success(request, timeout)
        composite = answer.headers.get("x-amz-checksum-sha256")
        return ObjectHead(
            size=_size(request, answer),
            etag=_etag(request, answer),
            last_modified=_last_modified(request, answer),
            content_type=answer.headers.get("Content-Type", ""),
            metadata={
                name.lower()[len(META) :]: value
                for name, value in answer.headers.items()
                if name.lower().startswith(META)
            },
            # "-n" is what makes it composite; an object that was PUT whole has a plain SHA-256.
            sha256_composite=composite if composite and "-" in composite else None,
        )

    async def delete(self, key: str, *, timeout: float, signed_at: datetime | None = None) -> None:
        request = Request("DELETE", _key(key), signed_at=signed_at)
        try:
            await self._success(request, timeout)
        except NoSuchKey:
            return

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        begin = () if start_after is None or cursor is not None else (("start-after", start_after),)
        query = (("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit)), ("prefix", prefix), *begin)
        return await self._page("", query, cursor, timeout, s3_xml.object_page)

    async def create_multipart(
        self, key: str, *, timeout: float, metadata: Mapping[str, str], content_type: str = ""
    ) -> str:
        headers = {META + _ascii("metadata", name): _ascii("metadata", value) for name, value in metadata.items()}
        headers["x-amz-checksum-algorithm"] = "SHA256"
        if content_type:
            headers["Content-Type"] = _ascii("content type", content_type)
        request = Request("POST", _key(key), (("uploads", ""),), headers, b"")
        return _parsed(request, await self._success(request, timeout), s3_xml.upload_id)

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        body: bytes | bytearray | memoryview,
        *,
        sha256: bytes,
        timeout: float,
    ) -> str:
        query = (("partNumber", str(number)), ("uploadId", upload_id))
        request = Request("PUT", _key(key), query, _checksum(sha256), body, sha256.hex())
        return _etag(request, await self._success(request, timeout))

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], *, timeout: float) -> str:
        body = s3_xml.complete_request(parts)
        digest = hashlib.sha256(body).hexdigest()
        # The checksum header would name the object's checksum here, not this body's: the signature covers the body.
        request = Request(
            "POST", _key(key), (("uploadId", upload_id),), {"Content-Type": "application/xml"}, body, digest
        )
        answer = await self._success(request, timeout)
        if s3_xml.error_document(answer.body) is not None:
            raise _refusal(request, answer)
        return _parsed(request, answer, s3_xml.completed_etag)

    async def abort_multipart(self, key: str, upload_id: str, *, timeout: float) -> None:
        await self._success(Request("DELETE", _key(key), (("uploadId", upload_id),)), timeout)

    async def list_parts(
        self, key: str, upload_id: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> PartPage:
        deadline = asyncio.get_running_loop().time() + timeout
        query = (("uploadId", upload_id), ("max-parts", str(limit)))
        page = await self._page(_key(key), query, cursor, timeout, s3_xml.part_page)
        if page.cursor is None or limit >= MAX_ROWS or len({part.number for part in page.parts}) > 1:
            return page
        # One number fills the page and more rows of it may follow: see part_page.
        query = (("uploadId", upload_id), ("max-parts", str(MAX_ROWS)))
        left = deadline - asyncio.get_running_loop().time()
        page = await self._page(_key(key), query, cursor, left, s3_xml.part_page)
        first = [part for part in page.parts if part.number == page.parts[0].number]
        return page if len(first) == len(page.parts) else PartPage(first, s3_xml.parts_after(first[0].number))

    async def list_uploads(
        self, prefix: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> UploadPage:
        # No encoding-type: SeaweedFS echoes it here and doesn't encode.
        query = (("uploads", ""), ("max-uploads", str(limit)), ("prefix", prefix))
        return await self._page("", query, cursor, timeout, s3_xml.upload_page)

    async def refuses_old_signature(self, age: timedelta, *, timeout: float) -> bool:
        """Whether the store refuses a LIST that was signed ``age`` ago by its own clock (R6). Not part of the port.

        The same LIST signed now goes first: it teaches the store's time, and where the credentials may not list at all
        (AccessDenied) a refusal would prove nothing. Raises the general errors. ``timeout`` is for each of the two.
        """
        query = (("list-type", "2"), ("max-keys", "1"))
        request = Request("GET", "", query, max_answer_bytes=LIST_BYTES)
        await self._success(request, timeout)
        try:
            await self._success(replace(request, signed_ago=age), timeout)
        except AccessDenied:
            return True
        return False

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(self, request: Request, timeout: float) -> Answer:
        return await self._http.send(request, timeout)

    async def _success(self, request: Request, timeout: float) -> Answer:
        answer = await self._send(request, timeout)
        _require_success(request, answer)
        return answer

    async def _page(
        self,
        key: str,
        query: tuple[tuple[str, str], ...],
        cursor: str | None,
        timeout: float,
        read: Callable[[bytes], T],
    ) -> T:
        try:
            query += tuple(s3_xml.cursor_query(cursor))
        except ValueError as error:
            raise Rejected("not a cursor of this store") from error
        request = Request("GET", key, query, max_answer_bytes=LIST_BYTES)
        return _parsed(request, await self._success(request, timeout), read)


def _key(key: str) -> str:
    """``key`` if it can be sent. An empty one would address the bucket itself."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= 1024:
        raise Rejected("a key is 1 to 1,024 bytes of UTF-8")
    return key


def _ascii(what: str, value: str) -> str:
    """``value`` if it survives a header: anything else would be split, trimmed or re-coded on the way."""
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise Rejected(f"{what}: printable ASCII without outer spaces only")
    return value


def _checksum(sha256: bytes) -> dict[str, str]:
    return {"x-amz-checksum-sha256": base64.b64encode(sha256).decode()}


def _refusal(request: Request, answer: Answer) -> StoreError:
    return refusal(
        str(request),
        method=request.method,
        status=answer.status,
        body=answer.body,
        request_id=answer.headers.get("x-amz-request-id", ""),
        clock_moved=answer.clock_moved,
    )


def _require_success(request: Request, answer: Answer) -> None:
    if not answer.ok:
        raise _refusal(request, answer)
    if not answer.whole:
        raise OutcomeUnknown(f"{request}: {answer.status} with a body over {request.max_answer_bytes} bytes")


def _parsed(request: Request, answer: Answer, read: Callable[[bytes], T]) -> T:
    try:
        return read(answer.body)
    except s3_xml.Unreadable as error:
        raise OutcomeUnknown(f"{request}: {answer.status}, unreadable: {error}") from error


def _etag(request: Request, answer: Answer) -> str:
    etag = answer.headers.get("ETag", "").strip('"')
    if not etag:
        raise OutcomeUnknown(f"{request}: {answer.status} without an ETag")
    return etag


def _size(request: Request, answer: Answer) -> int:
    try:
        return int(answer.headers.get("Content-Length", ""))
    except ValueError as error:
        raise OutcomeUnknown(f"{request}: {answer.status} without a length") from error


def _last_modified(request: Request, answer: Answer) -> datetime:
    moment = http_date(answer.headers.get("Last-Modified"))
    if moment is None:
        raise OutcomeUnknown(f"{request}: {answer.status} without Last-Modified")
    return moment
