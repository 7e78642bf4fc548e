"""The store's port, watched: every call's operation, outcome and time, in the one place that all calls pass.

Below the retry layer, so a call here is one try. Costs some microseconds a call, whatever its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sealane import spans
from sealane.store.port import (
    AccessDenied,
    NoListener,
    NoSuchKey,
    NoSuchUpload,
    ObjectHead,
    ObjectPage,
    ObjectStore,
    OutcomeUnknown,
    Part,
    PartPage,
    PreconditionFailed,
    StoredObject,
    StoreError,
    Throttled,
    UploadPage,
    WriteConflict,
)

T = TypeVar("T")

Ended = Callable[[str, str, float], None]
"""(operation, outcome, seconds) of one call that has ended."""

OPERATIONS = (
    *("put", "put_if_absent", "get", "read", "head", "delete", "list_objects", "create_multipart", "upload_part"),
    *("complete_multipart", "abort_multipart", "list_parts", "list_uploads"),
)
NO_LISTENER = "no_listener"
_OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (NoSuchKey, "not_found"),
    (NoSuchUpload, "not_found"),
    (PreconditionFailed, "precondition_failed"),
    (WriteConflict, "conflict"),
    (AccessDenied, "denied"),
    (Throttled, "throttled"),
    (NoListener, NO_LISTENER),
    (OutcomeUnknown, "unknown"),
    (StoreError, "refused"),
    (asyncio.CancelledError, "cancelled"),
)
OUTCOMES = ("ok", *dict.fromkeys(name for _, name in _OUTCOMES), "bug")
"""``not_found`` and ``precondition_failed`` are answers, not failures; ``unknown`` is a time-out, 5xx or a cut line;
``no_listener`` is a connection that was refused."""


ANSWERS = frozenset({"ok", "not_found", "precondition_failed", "conflict"})
"""The store was there, and did what it does."""


def outcome_of(error: BaseException) -> str:
    """The word for how a call failed."""
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "bug")


class ObservedStore:
    """``store``, with ``ended`` told of each call. Promises, errors and time-outs are the store's own."""

    def __init__(self, store: ObjectStore, ended: Ended) -> None:
        self._store = store
        self._ended = ended

    @property
    def bucket(self) -> str:
        return self._store.bucket

    def now(self) -> datetime:
        return self._store.now()

    async def _watched(self, operation: str, key: str, call: Awaitable[T]) -> T:
        loop = asyncio.get_running_loop()
        begun, outcome = loop.time(), "ok"
        with spans.span(f"store.{operation}", {"sealane.store.key": key}, "store") as span:
            try:
                return await call
            except BaseException as error:  # re-raised: only its kind is looked at
                outcome = outcome_of(error)
                raise
            finally:
                span.set({"sealane.store.outcome": outcome})
                self._ended(operation, outcome, loop.time() - begun)

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        timeout: float,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> str:
        call = self._store.put(key, body, timeout=timeout, if_absent=if_absent, content_type=content_type)
        return await self._watched("put_if_absent" if if_absent else "put", key, call)

    async def get(self, key: str, *, timeout: float, max_bytes: int = 16 << 20) -> StoredObject:
        return await self._watched("get", key, self._store.get(key, timeout=timeout, max_bytes=max_bytes))

    async def read(self, key: str, *, timeout: float, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Told as one call, from the request to the last block, or to whatever came before it."""
        loop = asyncio.get_running_loop()
        begun, outcome = loop.time(), "ok"
        blocks = self._store.read(key, timeout=timeout, block_bytes=block_bytes)
        try:
            async for block in blocks:
                yield block
        except GeneratorExit:
            outcome = "cancelled"  # whoever read has seen enough
            raise
        except BaseException as error:  # re-raised: only its kind is looked at
            outcome = outcome_of(error)
            raise
        finally:
            self._ended("read", outcome, loop.time() - begun)
            if isinstance(blocks, AsyncGenerator):
                await blocks.aclose()

    async def head(self, key: str, *, timeout: float) -> ObjectHead:
        return await self._watched("head", key, self._store.head(key, timeout=timeout))

    async def delete(self, key: str, *, timeout: float, signed_at: datetime | None = None) -> None:
        await self._watched("delete", key, self._store.delete(key, timeout=timeout, signed_at=signed_at))

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        call = self._store.list_objects(prefix, timeout=timeout, cursor=cursor, start_after=start_after, limit=limit)
        return await self._watched("list_objects", prefix, call)

    async def create_multipart(
        self, key: str, *, timeout: float, metadata: Mapping[str, str], content_type: str = ""
    ) -> str:
        call = self._store.create_multipart(key, timeout=timeout, metadata=metadata, content_type=content_type)
        return await self._watched("create_multipart", key, call)

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
        call = self._store.upload_part(key, upload_id, number, body, sha256=sha256, timeout=timeout)
        return await self._watched("upload_part", key, call)

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], *, timeout: float) -> str:
        call = self._store.complete_multipart(key, upload_id, parts, timeout=timeout)
        return await self._watched("complete_multipart", key, call)

    async def abort_multipart(self, key: str, upload_id: str, *, timeout: float) -> None:
        await self._watched("abort_multipart", key, self._store.abort_multipart(key, upload_id, timeout=timeout))

    async def list_parts(
        self, key: str, upload_id: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> PartPage:
        call = self._store.list_parts(key, upload_id, timeout=timeout, cursor=cursor, limit=limit)
        return await self._watched("list_parts", key, call)

    async def list_uploads(
        self, prefix: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> UploadPage:
        call = self._store.list_uploads(prefix, timeout=timeout, cursor=cursor, limit=limit)
        return await self._watched("list_uploads", prefix, call)

    async def aclose(self) -> None:
        await self._store.aclose()
