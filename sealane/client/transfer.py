"""One source into one session: read once, hash in the same pass, send what is missing, commit.

One task reads the source in order. Each chunk is read and hashed in a thread, for itself and for the whole, in one
buffer; if the server has it, that was all, else it goes to the lanes (:mod:`sealane.client.streams`). Memory: at most
2 × parallel + 1 chunks for a source that can be read again, ``max_memory`` for one that can't.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from blake3 import blake3

from sealane.client.connections import Connections
from sealane.client.convert import session_from_proto
from sealane.client.errors import (
    ChunkNeeded,
    CoverageIncomplete,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionMismatch,
    SessionNotFound,
    SourceChanged,
)
from sealane.client.ledger import ChunkFacts, Ledger, stored_indexes
from sealane.client.progress import Phase, ProgressCallback
from sealane.client.results import Session, UploadResult
from sealane.client.source import SeekableSource, SequentialSource
from sealane.client.streams import Buffers, Chunk, Lanes, StreamOptions
from sealane.domain.chunks import Receipt
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.convert import committed_from_proto, receipt_from_proto
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

T = TypeVar("T")

COMMIT_SECONDS = 300.0
"""The longest one try of a commit waits: the store joins up to 10,000 parts meanwhile."""
MAX_COMMIT_ROUNDS = 8
"""Times that a commit may ask for chunks again."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The source as it was read: what the commit says."""

    chunk_count: int
    size: int
    blake3: bytes


class Transfer:
    """The upload of one source into one session that exists."""

    def __init__(
        self,
        connections: Connections,
        source: SeekableSource | SequentialSource,
        session: Session,
        *,
        size: int | None,
        options: StreamOptions,
        max_memory: int,
        request_id: str,
        report: ProgressCallback | None,
    ) -> None:
        self._connections = connections
        self._source = source
        self._session = session
        self._size = size
        self._request_id = request_id
        self._seekable = source if isinstance(source, SeekableSource) else None
        self._options, self._queue_size = self._fit(options, max_memory)
        self._buffers = Buffers(session.chunk_size if size is None else max(1, min(session.chunk_size, size)))
        self._ledger = Ledger(session.session_id, session.chunk_size, size, report)
        self._lanes = Lanes(
            connections,
            self._ledger,
            self._buffers,
            self._options,
            request_id=request_id,
            coverage=self._coverage,
            reread=self._reread if self._seekable else None,
        )

    async def run(self, *, resume: bool) -> UploadResult:
        """Send and commit. ``resume``: the session may hold chunks already, or be decided.

        Raises what protocol.md section 10 lists, SourceChanged, GaveUp; OSError and whatever else the source raises.
        """
        self._ledger.enter(Phase.STARTING)
        if resume:
            await self._learn_what_is_there()
        self._ledger.enter(Phase.SENDING)
        whole = await self._send_all()
        if self._seekable is not None:
            await asyncio.to_thread(self._seekable.check_unchanged)
        self._ledger.complete(whole.size, whole.chunk_count)
        committed = await self._commit(whole)
        self._ledger.enter(Phase.DONE)
        return UploadResult(
            session_id=self._session.session_id,
            committed_object=committed,
            chunk_size=self._session.chunk_size,
            chunk_count=whole.chunk_count,
            bytes_sent=self._ledger.bytes_sent,
            bytes_resumed=self._ledger.bytes_resumed,
            streams=self._ledger.streams,
            retries=self._ledger.retries,
            chunks_sent_again=self._ledger.chunks_sent_again,
            broken_streams=self._ledger.broken_streams,
        )

    def _fit(self, options: StreamOptions, max_memory: int) -> tuple[StreamOptions, int]:
        """The options and the queue's length that rate and memory allow."""
        options = options.fitted(self._session.chunk_size)
        if self._seekable is not None:
            return options, options.parallel
        # One chunk in the reader's hand, one in the queue, the others held by the lanes until acknowledged.
        held = max(1, max_memory // self._session.chunk_size - 2)
        parallel = min(options.parallel, held)
        return replace(
            options, parallel=parallel, chunks_per_stream=min(options.chunks_per_stream, held // parallel)
        ), 1

    # --- what the server has ---

    async def _learn_what_is_there(self) -> None:
        if self._decided(self._session.state):
            return
        request = ingest_service_pb2.StreamReceiptsRequest(session_id=self._session.session_id)
        self._ledger.held_by_server(await self._receipts(request))

    async def _receipts(self, request: ingest_service_pb2.StreamReceiptsRequest) -> list[Receipt]:
        batches = await self._connections.collect(
            self._connections.ingest.StreamReceipts, request, timeout=None, request_id=self._request_id
        )
        return [receipt_from_proto(receipt) for batch in batches for receipt in batch.receipts]

    async def _coverage(self) -> set[int]:
        """The chunks that the server has now; notices if the session was decided meanwhile."""
        request = ingest_service_pb2.GetSessionRequest(session_id=self._session.session_id)
        response = await self._connections.unary(
            self._connections.ingest.GetSession, request, request_id=self._request_id
        )
        session = session_from_proto(response.session)
        if self._decided(session.state) or session.coverage is None:
            return set()
        if session.missing_truncated:
            receipts = ingest_service_pb2.StreamReceiptsRequest(session_id=self._session.session_id)
            return {receipt.index for receipt in await self._receipts(receipts)}
        return stored_indexes(session.coverage.stored_chunks, session.coverage.missing)

    def _decided(self, state: SessionState) -> bool:
        """Whether the session takes no more chunks, and the commit is to say why. Raises if it was given up."""
        match state:
            case SessionState.OPEN:
                return False
            case SessionState.ABORTED:
                raise SessionAborted()
            case SessionState.EXPIRED:
                raise SessionExpired()
            case SessionState.LOST:
                raise SessionLost()
            case SessionState.DELETED:
                raise SessionNotFound("The object of this session was deleted.")
            case _:
                self._ledger.sealed = True
                return True

    # --- reading and sending ---

    async def _send_all(self) -> Whole:
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue(self._queue_size)
        return await self._through_lanes(queue, self._read_all(queue), forced=False)

    async def _send_again(self, indexes: Iterable[int], *, forced: bool) -> None:
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue(self._queue_size)
        await self._through_lanes(queue, self._read_again(indexes, queue), forced=forced)

    async def _through_lanes(
        self, queue: asyncio.Queue[Chunk | None], feed: Coroutine[Any, Any, T], *, forced: bool
    ) -> T:
        """Run ``feed``, which fills the queue, and the lanes that empty it. The first error ends all of them."""
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(feed)
                for lane in range(self._options.parallel):
                    group.create_task(self._lanes.run(lane, queue, forced=forced))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return feeding.result()

    async def _read_all(self, queue: asyncio.Queue[Chunk | None]) -> Whole:
        """The one pass over the source, in order."""
        whole = blake3()
        index = size = 0
        while (wanted := self._next_length(size)) > 0:
            buffer = self._buffers.take()
            view = memoryview(buffer)[:wanted]
            length, digest = await self._read(size, view, whole)
            if length == 0:
                self._buffers.give(buffer)
                break
            self._ledger.seen[index] = ChunkFacts(length, digest)
            if self._ledger.differs_from_server(index):
                raise SessionMismatch(f"The session holds other bytes as chunk {index} than the source has.")
            if self._ledger.resumed(index):
                self._buffers.give(buffer)
            else:
                await queue.put(Chunk(index, digest, length, view[:length], buffer))
            index += 1
            size += length
            if length < wanted:
                break
        await self._check_length(size)
        await queue.put(None)
        return Whole(index, size, whole.digest())

    def _next_length(self, offset: int) -> int:
        chunk_size = self._session.chunk_size
        return chunk_size if self._size is None else min(chunk_size, self._size - offset)

    async def _read(self, offset: int, view: memoryview, whole: blake3) -> tuple[int, bytes]:
        """Fill ``view``, add it to the digest of the whole: how many bytes there were, and their own digest."""
        if isinstance(self._source, SeekableSource):
            return len(view), await asyncio.to_thread(_read_and_hash, self._source, offset, view, whole)
        length = await self._source.read(view)
        return length, await asyncio.to_thread(_hash, view[:length], whole)

    async def _check_length(self, size: int) -> None:
        """A source that was said to have a length must have it."""
        if self._size is None:
            return
        if size < self._size:
            raise SourceChanged(f"The source ended after {size} bytes; {self._size} were declared.")
        if isinstance(self._source, SequentialSource) and await self._source.read(memoryview(bytearray(1))):
            raise SourceChanged(f"The source goes on after the {self._size} bytes that were declared.")

    async def _read_again(self, indexes: Iterable[int], queue: asyncio.Queue[Chunk | None]) -> None:
        for index in indexes:
            facts = self._ledger.seen[index]
            await queue.put(Chunk(index, facts.digest, facts.length, None, None))
        await queue.put(None)

    async def _reread(self, chunk: Chunk, buffer: bytearray) -> memoryview:
        assert self._seekable is not None
        view = memoryview(buffer)[: chunk.length]
        digest = await asyncio.to_thread(
            _read_and_hash, self._seekable, chunk.index * self._session.chunk_size, view, None
        )
        if digest != chunk.digest:
            raise SourceChanged(f"Chunk {chunk.index} of the source has other bytes than when it was first read.")
        return view

    # --- commit ---

    async def _commit(self, whole: Whole) -> CommittedObject:
        """Commit; send again what the commit says is missing or overwritten. Lost answers do no harm."""
        self._ledger.enter(Phase.COMMITTING)
        request = assembly_service_pb2.CommitSessionRequest(
            session_id=self._session.session_id,
            chunk_count=whole.chunk_count,
            size=whole.size,
            blake3=whole.blake3,
        )
        refusal: ChunkNeeded | CoverageIncomplete
        for rounds in range(1, MAX_COMMIT_ROUNDS + 1):
            try:
                response = await self._connections.unary(
                    self._connections.assembly.CommitSession,
                    request,
                    attempt_seconds=COMMIT_SECONDS,
                    request_id=self._request_id,
                    on_retry=self._ledger.retried,
                )
                return committed_from_proto(response.committed_object)
            except ChunkNeeded as error:
                wanted, refusal = [each.index for each in error.chunks], error
            except CoverageIncomplete as error:
                wanted, refusal = [i for gap in error.missing for i in range(gap.first, gap.last + 1)], error
            again = [index for index in wanted if index in self._ledger.seen]
            if self._seekable is None or not again or rounds == MAX_COMMIT_ROUNDS:
                raise refusal
            self._ledger.retried()
            self._ledger.unstore(again)
            await self._send_again(again, forced=isinstance(refusal, ChunkNeeded))
        raise AssertionError("unreachable: the last round returns or raises")


def _hash(view: memoryview, whole: blake3 | None) -> bytes:
    if whole is not None:
        whole.update(view)
    return blake3(view).digest()


def _read_and_hash(source: SeekableSource, offset: int, view: memoryview, whole: blake3 | None) -> bytes:
    source.read_at(offset, view)
    return _hash(view, whole)
