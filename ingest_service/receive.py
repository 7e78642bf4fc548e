"""An upload stream as a state machine: header, then each chunk's frames, until the digest that ends it.

Protocol.md section 4, steps 2 and 3. Knows nothing of gRPC or S3: messages come as an async iterator, whole chunks go
to an injected store. A stream that just ends (a client's cancel, a deadline and a stopping server look like that, too)
ends no chunk ⚠: of the chunk in hand nothing is stored, and nothing is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.contextvars import bind_contextvars

from ingest_service.admission import Lease, MemoryBudget
from ingest_service.error_frames import clear_locals
from ingest_service.part_upload import ArrivedChunk, ChunkStatus
from ingest_service.receipts import Receipts
from ingest_service.short_chunk import ShortChunkRule
from ingest_service.standing import Standing, UploadTarget
from ingest_service.statistics import Statistics
from ingest_service.stream_messages import Frame, Header, Malformed, StreamMessage
from sealane.domain import ids
from sealane.domain.coverage import Coverage
from sealane.domain.errors import ChunkOutOfRange, DeadlineExceeded, Draining, InvalidStream, Overloaded
from sealane.domain.ids import Tenant
from sealane.domain.limits import Limits
from sealane.store.deadline import Deadline


class ChunkStore(Protocol):
    """Where whole chunks go: :class:`~ingest_service.part_upload.PartUploads`."""

    def start(self, target: UploadTarget, chunk: ArrivedChunk) -> asyncio.Task[ChunkStatus]: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How slow a client may be: seconds between two messages, and bytes a second of a chunk."""

    idle_seconds: float
    min_bytes_per_second: float


@dataclass(frozen=True, slots=True)
class StreamServices:
    """What every stream of this replica shares."""

    limits: Limits
    standing: Standing
    receipts: Receipts
    memory: MemoryBudget
    chunks: ChunkStore
    patience: Patience
    parts_in_flight: int
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """What became of each chunk, in the order sent, and the session's coverage after that."""

    chunks: list[tuple[int, ChunkStatus]]
    coverage: Coverage


class UploadStream:
    """One call of UploadChunks. :meth:`run` it once."""

    def __init__(
        self,
        services: StreamServices,
        tenant: Tenant,
        messages: AsyncIterator[StreamMessage],
        deadline: Deadline,
        recheck: Callable[[], None] = lambda: None,
    ) -> None:
        """``recheck`` raises once the caller's credentials hold no more; it is asked before each chunk is stored."""
        self._services = services
        self._tenant = tenant
        self._messages = messages
        self._deadline = deadline
        self._recheck = recheck
        self._uploads: list[tuple[int, asyncio.Task[ChunkStatus]]] = []
        self._lengths: dict[int, int] = {}
        self._in_flight: dict[asyncio.Task[ChunkStatus], int] = {}
        self._failed: asyncio.Task[ChunkStatus] | None = None
        self._clock: asyncio.Timeout | None = None
        """Cuts the waiting for a message short: the client is silent, an upload has failed, or the server drains."""
        self._between_chunks = True
        self._draining = False
        self._cut_by_drain = False

    async def run(self) -> StreamAnswer:
        """Receive to the end of the stream, and answer once every chunk is stored.

        Raises the first failure, at once; whole chunks that were sent before it keep their own fate. Draining and
        Overloaded only when these are stored: the client then finds them in the coverage, and sends none of them again.
        """
        timer = asyncio.timeout(None)
        no_room: Overloaded | None = None
        try:
            async with timer:
                self._clock = timer
                target = await self._receive()
        except TimeoutError as error:
            if not timer.expired():
                raise
            self._raise_failure()
            if not self._draining:
                raise DeadlineExceeded(
                    "The stream was silent or too slow. Open another; what GetSession shows as stored is stored."
                ) from error
            self._cut_by_drain = True
        except Overloaded as error:
            clear_locals(error)  # it is kept for a while, and the last chunk's bytes must not be (I13)
            no_room = error
        finally:
            self._clock = None
        await self._uploads_ended()
        if no_room is not None:
            raise no_room
        if self._cut_by_drain:
            raise Draining()
        return await self._answer(target)

    def drain(self) -> None:
        """Finish the chunk in hand, read no other."""
        self._draining = True
        if self._between_chunks:
            self._interrupt()

    # --- receiving ---

    async def _receive(self) -> UploadTarget:
        header = await self._next()
        if not isinstance(header, Header):
            raise InvalidStream("The first message of a stream must be its header.", field="header")
        session = ids.session_id(header.session_id)
        bind_contextvars(session_id=session)
        target = await self._services.standing.open(self._tenant, session, self._deadline)
        rule: ShortChunkRule | None = None
        if target.plan.size is None:
            rule = await self._short_chunk_rule(target)
        while not self._draining:
            await self._room()
            # Before the first frame is read: flow control then holds the client while memory is short (I13).
            lease = await self._services.memory.lease(_longest(target), self._deadline, self._tenant)
            try:
                chunk = await self._chunk(target, rule, lease)
                if chunk is None:
                    return target
                if rule is not None:
                    await self._check_short(target, rule, chunk)
                await self._same_index_ended(chunk.index)
                self._recheck()
                task = self._services.chunks.start(target, chunk)
            except BaseException as error:  # re-raised: neither the lease nor a frame's memory goes with it
                clear_locals(error)
                lease.release()
                raise
            self._services.statistics.bytes_received += chunk.length
            self._uploads.append((chunk.index, task))
            self._lengths[chunk.index] = chunk.length
            self._in_flight[task] = chunk.index
            task.add_done_callback(self._upload_ended)
        self._cut_by_drain = True
        return target

    async def _chunk(self, target: UploadTarget, rule: ShortChunkRule | None, lease: Lease) -> ArrivedChunk | None:
        """The next chunk, whole; None (and the lease released) at a proper end of the stream, or of the service."""
        self._cut_by_drain = self._draining  # it may have begun while this stream waited for memory
        frame = None if self._cut_by_drain else await self._next_frame()
        if frame is None:
            lease.release()
            return None
        self._between_chunks = False
        index = frame.chunk_index
        if index is None:
            raise InvalidStream("The first frame of a chunk must have its chunk_index.", field="chunk_index")
        longest = target.plan.max_length(index)
        if rule is not None:
            rule.check_index(index)
        lease.open(longest)
        patience = self._services.patience
        latest = asyncio.get_running_loop().time() + patience.idle_seconds
        length = 0
        with lease.view() as view:
            while True:
                end = length + self._check_frame(frame, index, length)
                if end > longest:
                    raise ChunkOutOfRange.of(index, "length", end, 1 if target.plan.size is None else longest, longest)
                view[length:end] = frame.data
                frame.let_go()
                length = end
                if frame.blake3:  # only this ends a chunk ⚠
                    break
                # By what has come, not by what may: a lease is not held for the whole chunk's time at the lowest rate.
                frame = await self._next_frame(latest + length / patience.min_bytes_per_second)
                if frame is None:
                    raise InvalidStream(f"The stream ended in the middle of chunk {index}.", field="frame")
        declared = ids.digest(frame.blake3)
        target.plan.check_length(index, length)
        lease.shrink(length)
        self._between_chunks = True
        return ArrivedChunk(index, length, declared, lease)

    def _check_frame(self, frame: Frame, index: int, offset: int) -> int:
        """The length of its data; InvalidStream unless it continues chunk ``index`` at ``offset``."""
        length = len(frame.data)
        if frame.chunk_index is not None and frame.chunk_index != index:
            raise InvalidStream(
                f"A frame of chunk {frame.chunk_index} came in the middle of chunk {index}.", field="chunk_index"
            )
        if frame.offset != offset:
            raise InvalidStream(f"offset is {frame.offset}; chunk {index} stands at {offset}.", field="offset")
        if length > self._services.limits.max_frame_bytes:
            raise InvalidStream(
                f"A frame has {length} bytes; at most {self._services.limits.max_frame_bytes}.", field="data"
            )
        if not length and not frame.blake3:
            raise InvalidStream("A frame has neither data nor blake3.", field="data")
        return length

    async def _next_frame(self, until: float | None = None) -> Frame | None:
        message = await self._next(until)
        if isinstance(message, Header):
            raise InvalidStream("A stream has one header, at its beginning.", field="header")
        return message

    async def _next(self, until: float | None = None) -> Header | Frame | None:
        """The next message; None at the end. The clock stops the wait, at ``until`` at the latest.

        It runs only here, while it is the client who keeps this side waiting.
        """
        self._raise_failure()
        if self._clock is not None:
            silent = asyncio.get_running_loop().time() + self._services.patience.idle_seconds
            self._clock.reschedule(silent if until is None else min(silent, until))
        message = await anext(self._messages, None)
        self._raise_failure()
        self._pause_clock()
        if isinstance(message, Malformed):
            raise InvalidStream(message.why, field="message")
        return message

    # --- while the size is unknown ---

    async def _short_chunk_rule(self, target: UploadTarget) -> ShortChunkRule:
        receipts = await self._services.receipts.all(target.tenant, target.session, self._deadline)
        return ShortChunkRule(target.plan.chunk_size, receipts)

    async def _check_short(self, target: UploadTarget, rule: ShortChunkRule, chunk: ArrivedChunk) -> None:
        if chunk.length < target.plan.chunk_size:  # the last one: so once more what other streams have brought
            for receipt in await self._services.receipts.all(target.tenant, target.session, self._deadline):
                rule.note(receipt.index, receipt.length)
        rule.check_length(chunk.index, chunk.length)
        rule.note(chunk.index, chunk.length)

    # --- uploads in flight ---

    async def _room(self) -> None:
        """Wait until fewer than ``parts_in_flight`` uploads of this stream are under way."""
        while len(self._in_flight) >= self._services.parts_in_flight:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    async def _same_index_ended(self, index: int) -> None:
        """Two uploads of one part at once could overtake one another."""
        same = [task for task, other in self._in_flight.items() if other == index]
        if same:
            await asyncio.wait(same)
            self._raise_failure()

    async def _uploads_ended(self) -> None:
        while self._in_flight:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_EXCEPTION)
            self._raise_failure()
        self._raise_failure()

    def _upload_ended(self, task: asyncio.Task[ChunkStatus]) -> None:
        del self._in_flight[task]
        if self._failed is None and (task.cancelled() or task.exception() is not None):
            self._failed = task
            self._interrupt()

    def _raise_failure(self) -> None:
        """Raise what the first chunk that failed failed with."""
        if self._failed is not None:
            if self._failed.cancelled():
                raise Draining()  # only the end of the service cancels an upload
            self._failed.result()

    # --- the clock ---

    def _pause_clock(self) -> None:
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(None)

    def _interrupt(self) -> None:
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(asyncio.get_running_loop().time())

    # --- the answer ---

    async def _answer(self, target: UploadTarget) -> StreamAnswer:
        chunks = [(index, task.result()) for index, task in self._uploads]
        receipts = await self._services.receipts.all(target.tenant, target.session, self._deadline)
        coverage = await self._services.receipts.merged(receipts, target.plan)
        mended = bool(chunks) and all(status is ChunkStatus.MENDED for _, status in chunks)
        await self._services.standing.confirm(target, self._deadline, mended=mended)
        if target.plan.size is None and not mended:
            # Streams beside this one may have brought the last chunk meanwhile. All receipts of chunks that were
            # answered are among these: of two that can't both be, one answer at least comes from here.
            rule = ShortChunkRule(target.plan.chunk_size, receipts)
            for index, length in self._lengths.items():
                rule.check_length(index, length)
        return StreamAnswer(chunks, coverage)


def _longest(target: UploadTarget) -> int:
    """Bytes of the largest chunk that this session can have."""
    size, chunk_size = target.plan.size, target.plan.chunk_size
    return chunk_size if size is None else min(chunk_size, size)
