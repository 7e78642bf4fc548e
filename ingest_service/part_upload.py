"""A chunk that has arrived whole, from its verification to its receipt (protocol.md section 4, steps 3 to 6).

Runs in a scope of the service's own: a client that goes away takes nothing back that it has sent. Whatever stops
here before the receipt leaves bytes that no receipt names, hence no chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from ingest_service.admission import Lease
from ingest_service.error_frames import clear_locals
from ingest_service.hands import Hands
from ingest_service.hashing import ChunkHasher, ChunkHashes
from ingest_service.multipart import MultipartUploads
from ingest_service.quota_guard import QuotaGuard
from ingest_service.receipts import Receipts
from ingest_service.standing import Standing, UploadTarget
from ingest_service.statistics import Statistics
from ingest_service.task_scope import TaskScope
from sealane import spans
from sealane.domain.chunks import Receipt
from sealane.domain.decision import Decision
from sealane.domain.errors import ChunkConflict, ChunkCorrupt, SessionLost, SessionSealed, StoreUnavailable
from sealane.domain.ids import Tenant
from sealane.domain.states import SessionState
from sealane.spans import Span
from sealane.store.deadline import Deadline
from sealane.store.port import ChecksumMismatch, NoSuchUpload
from sealane.store.retry import RetryingStore

CHECKSUM_ATTEMPTS = 3
"""UploadParts of bytes that were verified here and arrived at the store as others."""


class ChunkStatus(StrEnum):
    """What became of a chunk. All of them mean that it is verified and durable."""

    STORED = "STORED"
    DUPLICATE = "DUPLICATE"
    MENDED = "MENDED"
    """It belongs to a decision to commit, and its part was written again."""


@dataclass(frozen=True, slots=True)
class ArrivedChunk:
    """The first ``length`` bytes of ``lease``'s buffer; ``declared`` is the BLAKE3 that the client says they have."""

    index: int
    length: int
    declared: bytes
    lease: Lease


class PartUploads:
    """Stores chunks. ``seconds`` is how long one may take; ``at_once`` bounds the UploadParts in hand.

    ``at_once`` stays below the store's connections, or records would wait behind parts.
    """

    def __init__(
        self,
        *,
        store: RetryingStore,
        standing: Standing,
        receipts: Receipts,
        multipart: MultipartUploads,
        hasher: ChunkHasher,
        statistics: Statistics,
        quotas: QuotaGuard,
        scope: TaskScope,
        seconds: float,
        at_once: int,
    ) -> None:
        self._store = store
        self._standing = standing
        self._receipts = receipts
        self._multipart = multipart
        self._hasher = hasher
        self._statistics = statistics
        self._quotas = quotas
        self._scope = scope
        self._seconds = seconds
        self._hands = Hands(at_once)

    def start(self, target: UploadTarget, chunk: ArrivedChunk) -> asyncio.Task[ChunkStatus]:
        """Take the chunk, and its lease, over.

        The task raises ChunkCorrupt, ChunkConflict, SessionLost, what the session has become, or a store's error. The
        lease is given back when it ends: nobody looks at the buffer or refers to it by then, whatever the task has
        failed with and however long that is kept (I13).
        """
        task = self._scope.start(self._let_go_of(target, chunk), name=f"chunk {chunk.index} of {target.session}")
        task.add_done_callback(lambda _: chunk.lease.release())
        return task

    async def _let_go_of(self, target: UploadTarget, chunk: ArrivedChunk) -> ChunkStatus:
        """Store the chunk, and keep no view of its bytes: not here, nor in what an error carries along."""
        begun = asyncio.get_running_loop().time()
        with chunk.lease.view() as whole, whole[: chunk.length] as data, _span(target, chunk) as span:
            try:
                status = await self._store_chunk(target, chunk, data)
            except BaseException as error:
                self._count_failure(error)
                clear_locals(error)
                raise
            span.set({"sealane.chunk.status": status})
        self._count(status, chunk.length, asyncio.get_running_loop().time() - begun)
        return status

    def _count(self, status: ChunkStatus, length: int, seconds: float) -> None:
        match status:
            case ChunkStatus.STORED:
                self._statistics.chunks_stored += 1
                self._statistics.bytes_stored += length
                self._statistics.chunk_took(seconds)
            case ChunkStatus.DUPLICATE:
                self._statistics.chunks_duplicate += 1
            case ChunkStatus.MENDED:
                self._statistics.chunks_mended += 1

    def _count_failure(self, error: BaseException) -> None:
        match error:
            case ChunkCorrupt():
                self._statistics.chunks_corrupt += 1
            case ChunkConflict():
                self._statistics.chunks_conflict += 1
            case _:
                self._statistics.chunks_failed += 1

    async def _store_chunk(self, target: UploadTarget, chunk: ArrivedChunk, data: memoryview) -> ChunkStatus:
        deadline = Deadline.after(self._seconds)
        hashes = await self._hasher.verify(data, chunk.index, target.plan, chunk.declared)
        with self._hasher.on_its_way():
            return await self._store_verified(target, chunk, data, hashes, deadline)

    async def _store_verified(
        self, target: UploadTarget, chunk: ArrivedChunk, data: memoryview, hashes: ChunkHashes, deadline: Deadline
    ) -> ChunkStatus:
        decision = await self._standing.decided(target, deadline)
        if decision is not None:
            return await self._mend(target, decision, chunk, data, hashes, deadline)
        if await self._is_duplicate(target, chunk, deadline):
            return ChunkStatus.DUPLICATE
        async with self._quotas.chunk(target.tenant, target.session, chunk.index, chunk.length, deadline):
            await self._store_new(target, chunk, data, hashes, deadline)
        return ChunkStatus.STORED

    async def _store_new(
        self, target: UploadTarget, chunk: ArrivedChunk, data: memoryview, hashes: ChunkHashes, deadline: Deadline
    ) -> None:
        """Steps 5 and 6: the part, then its receipt."""
        upload_id = await self._multipart.ensure(target, deadline)
        try:
            etag = await self._upload(target, upload_id, chunk.index, data, hashes, deadline)
        except NoSuchUpload as error:
            # Completed, given up, or lost by the store: the records say which.
            await self._standing.confirm(target, deadline)
            raise SessionLost(private=f"no decision, and the store has no upload {upload_id}") from error
        receipt = Receipt(chunk.index, chunk.length, hashes.blake3, hashes.chaining_value, hashes.sha256, etag)
        await self._receipts.put(target.tenant, target.session, receipt, deadline)

    async def _is_duplicate(self, target: UploadTarget, chunk: ArrivedChunk, deadline: Deadline) -> bool:
        """Step 4: other bytes under that index are a conflict, even if these very bytes are stored there, too."""
        stored = await self._receipts.of_chunk(target.tenant, target.session, chunk.index, deadline)
        for receipt in stored:
            if receipt.blake3 != chunk.declared or receipt.length != chunk.length:
                await self._standing.confirm(target, deadline)  # no negative answer about a session that is decided ⚠
                raise ChunkConflict.of(chunk.index, stored=receipt.blake3, sent=chunk.declared)
        return bool(stored)

    async def _mend(
        self,
        target: UploadTarget,
        decision: Decision,
        chunk: ArrivedChunk,
        data: memoryview,
        hashes: ChunkHashes,
        deadline: Deadline,
    ) -> ChunkStatus:
        """A decision to commit stands and is not done: its own chunks again, UploadPart only ⚠; no receipt."""
        if not decision.accepts(chunk.index, chunk.length, hashes.blake3):
            raise SessionSealed(state=SessionState.COMMITTING)
        try:
            await self._upload(target, decision.upload_id, chunk.index, data, hashes, deadline)
        except NoSuchUpload as error:
            # Completed by another replica meanwhile: then the chunk is in the object, and needs no mending.
            state = await self._standing.confirm(target, deadline, mended=True)
            if state is not SessionState.COMMITTED:
                raise SessionSealed(state=state) from error
        return ChunkStatus.MENDED

    async def _upload(
        self,
        target: UploadTarget,
        upload_id: str,
        index: int,
        data: memoryview,
        hashes: ChunkHashes,
        deadline: Deadline,
    ) -> str:
        """UploadPart; the part's ETag. NoSuchUpload if the upload is gone."""
        for _ in range(CHECKSUM_ATTEMPTS):
            async with self._a_hand(target.tenant, len(data), deadline):
                try:
                    return await self._store.upload_part(
                        target.record.key, upload_id, index + 1, data, deadline, sha256=hashes.sha256
                    )
                except ChecksumMismatch as error:
                    garbled = error
        raise StoreUnavailable(private=f"part {index + 1} arrives garbled at the store: {garbled.detail}")

    @asynccontextmanager
    async def _a_hand(self, tenant: Tenant, length: int, deadline: Deadline) -> AsyncIterator[None]:
        """Wait for one of the UploadParts that may run at once; it is given back after."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline.at):
                    await stack.enter_async_context(self._hands.one(tenant, length))
            except TimeoutError as error:
                raise StoreUnavailable(private="every part that may be in hand still was, to the end") from error
            finally:
                self._statistics.part_wait(loop.time() - begun)
            yield


def _span(target: UploadTarget, chunk: ArrivedChunk) -> AbstractContextManager[Span]:
    return spans.span(
        "ingest.chunk",
        {
            "sealane.session_id": target.session,
            "sealane.chunk.index": chunk.index,
            "sealane.chunk.length": chunk.length,
        },
    )
