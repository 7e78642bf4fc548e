"""The one retry layer (protocol.md section 6): which call of the port may be repeated, and after which error.

:class:`RetryingStore` knows for each call whether the same again is harmless after an unknown outcome. What it doesn't
repeat - conditional PUTs, CreateMultipartUpload and CompleteMultipartUpload after
:class:`~sealane.store.port.OutcomeUnknown` - needs a read in between, which only the caller can judge.
:mod:`sealane.store.backoff` knows when.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sealane.store.backoff import (
    ON_CONFLICT,
    ON_NOTHING,
    ON_UNKNOWN,
    RetryBudget,
    RetryOn,
    RetryPolicy,
    retrying,
)
from sealane.store.deadline import Deadline
from sealane.store.port import (
    ListedObject,
    ListedPart,
    ListedUpload,
    ObjectHead,
    ObjectPage,
    ObjectStore,
    OutcomeUnknown,
    Part,
    PartPage,
    StoredObject,
    UploadPage,
)

__all__ = ["RetryBudget", "RetryPolicy", "RetryingStore", "retrying"]

T = TypeVar("T")


class RetryingStore:
    """An :class:`~sealane.store.port.ObjectStore` whose calls take the operation's deadline and are repeated if that is
    harmless. Errors are the port's, raised when the time or the budget is used up or the answer is final.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        rng: random.Random,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self._store = store
        self._rng = rng
        self._policy = policy or RetryPolicy()
        self._budget = budget or RetryBudget()

    @property
    def bucket(self) -> str:
        return self._store.bucket

    def now(self) -> datetime:
        """The store's time, UTC (I15)."""
        return self._store.now()

    def _retry(
        self,
        call: Callable[[float], Awaitable[T]],
        deadline: Deadline,
        *,
        retry_on: RetryOn = ON_UNKNOWN,
        attempt_seconds: float | None = None,
    ) -> Awaitable[T]:
        return retrying(
            call,
            policy=self._policy,
            deadline=deadline,
            rng=self._rng,
            retry_on=retry_on,
            budget=self._budget,
            attempt_seconds=attempt_seconds,
        )

    # --- reads: repeated until the deadline ---

    async def get(self, key: str, deadline: Deadline, *, max_bytes: int = 16 << 20) -> StoredObject:
        return await self._retry(lambda t: self._store.get(key, timeout=t, max_bytes=max_bytes), deadline)

    async def head(self, key: str, deadline: Deadline) -> ObjectHead:
        return await self._retry(lambda t: self._store.head(key, timeout=t), deadline)

    async def read(self, key: str, deadline: Deadline, *, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object. Repeated until its first block is there; an error after that is raised.

        Raises OutcomeUnknown when the deadline passes between two blocks.
        """

        async def opened(timeout: float) -> tuple[bytes | None, AsyncIterator[bytes]]:
            blocks = self._store.read(key, timeout=timeout, block_bytes=block_bytes)
            return await anext(blocks, None), blocks

        block, blocks = await self._retry(opened, deadline)
        try:
            while block is not None:
                yield block
                if deadline.expired:
                    raise OutcomeUnknown(f"the deadline passed while reading {key}")
                block = await anext(blocks, None)
        finally:
            if isinstance(blocks, AsyncGenerator):
                await blocks.aclose()  # lets go of the connection now, not when the garbage is collected

    async def list_objects(
        self,
        prefix: str,
        deadline: Deadline,
        *,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """One page."""
        return await self._retry(
            lambda t: self._store.list_objects(prefix, timeout=t, cursor=cursor, start_after=start_after, limit=limit),
            deadline,
        )

    async def list_all(self, prefix: str, deadline: Deadline) -> AsyncIterator[ListedObject]:
        """Every object under ``prefix``, in key order, one page in memory at a time."""
        cursor: str | None = None
        while True:
            page = await self.list_objects(prefix, deadline, cursor=cursor)
            for listed in page.objects:
                yield listed
            cursor = page.cursor
            if cursor is None:
                return

    async def list_parts(
        self, key: str, upload_id: str, deadline: Deadline, *, cursor: str | None = None, limit: int = 1000
    ) -> PartPage:
        """One page; NoSuchUpload if the upload is gone."""
        return await self._retry(
            lambda t: self._store.list_parts(key, upload_id, timeout=t, cursor=cursor, limit=limit), deadline
        )

    async def list_parts_all(self, key: str, upload_id: str, deadline: Deadline) -> list[ListedPart]:
        """Every part of an upload, by number; several rows of one number as the store lists them."""
        parts: list[ListedPart] = []
        cursor: str | None = None
        while True:
            page = await self.list_parts(key, upload_id, deadline, cursor=cursor)
            parts.extend(page.parts)
            cursor = page.cursor
            if cursor is None:
                return parts

    async def list_uploads(
        self, prefix: str, deadline: Deadline, *, cursor: str | None = None, limit: int = 1000
    ) -> UploadPage:
        """One page."""
        return await self._retry(
            lambda t: self._store.list_uploads(prefix, timeout=t, cursor=cursor, limit=limit), deadline
        )

    async def list_uploads_all(self, prefix: str, deadline: Deadline) -> AsyncIterator[ListedUpload]:
        """Every open multipart upload whose key begins with ``prefix``."""
        cursor: str | None = None
        while True:
            page = await self.list_uploads(prefix, deadline, cursor=cursor)
            for upload in page.uploads:
                yield upload
            cursor = page.cursor
            if cursor is None:
                return

    # --- writes that are harmless twice: the same again after an unknown outcome ---

    async def put(
        self, key: str, body: bytes, deadline: Deadline, *, content_type: str = "application/octet-stream"
    ) -> str:
        """The unconditional PUT (a receipt)."""
        return await self._retry(lambda t: self._store.put(key, body, timeout=t, content_type=content_type), deadline)

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        body: bytes | bytearray | memoryview,
        deadline: Deadline,
        *,
        sha256: bytes,
    ) -> str:
        """``body`` stays unchanged until this ends."""
        return await self._retry(
            lambda t: self._store.upload_part(key, upload_id, number, body, sha256=sha256, timeout=t),
            deadline,
            attempt_seconds=self._policy.part_seconds,
        )

    async def delete(self, key: str, deadline: Deadline) -> None:
        await self._retry(lambda t: self._store.delete(key, timeout=t), deadline)

    async def abort_multipart(self, key: str, upload_id: str, deadline: Deadline) -> None:
        """NoSuchUpload may be the answer to a repeat of one's own success: both mean gone, to be confirmed."""
        await self._retry(lambda t: self._store.abort_multipart(key, upload_id, timeout=t), deadline)

    # --- writes that are not: tried once, but for refusals that prove that nothing happened ---

    async def delete_once(self, key: str, deadline: Deadline, *, signed_at: datetime) -> None:
        """One DELETE, signed as of ``signed_at``; ClockSkewed if that is too long ago.

        Whoever deletes at a key that others may write to looks at the object **after** ``signed_at``, and again before
        the next try ⚠: a repetition that signs anew by itself could hit the next object (protocol.md section 7).
        """
        await self._retry(
            lambda t: self._store.delete(key, timeout=t, signed_at=signed_at), deadline, retry_on=ON_NOTHING
        )

    async def put_if_absent(
        self, key: str, body: bytes, deadline: Deadline, *, content_type: str = "application/json"
    ) -> str:
        """PUT If-None-Match: repeated on WriteConflict only. After OutcomeUnknown the caller reads the key first."""
        return await self._retry(
            lambda t: self._store.put(key, body, timeout=t, if_absent=True, content_type=content_type),
            deadline,
            retry_on=ON_CONFLICT,
        )

    async def create_multipart(
        self, key: str, deadline: Deadline, *, metadata: Mapping[str, str], content_type: str = ""
    ) -> str:
        """Tried once: an unknown outcome may leave an upload that the sweeper aborts (W6)."""
        return await self._retry(
            lambda t: self._store.create_multipart(key, timeout=t, metadata=metadata, content_type=content_type),
            deadline,
            retry_on=ON_NOTHING,
        )

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], deadline: Deadline) -> str:
        """Tried once: after anything unknown the caller asks HEAD whose object is there (protocol.md section 6)."""
        return await self._retry(
            lambda t: self._store.complete_multipart(key, upload_id, parts, timeout=t),
            deadline,
            retry_on=ON_NOTHING,
            attempt_seconds=self._policy.part_seconds,
        )
