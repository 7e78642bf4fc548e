"""Chunks from a bounded queue onto parallel upload streams, again and again until the server has each of them.

Every lane runs one stream at a time on a connection of its own. A stream takes chunks while there are some, up to its
limit, then half-closes and takes the acknowledgement. When it fails, the lane waits (backoff with full jitter), asks
the server what has arrived, and sends the rest on a new stream: what is sent twice is what was on the way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from sealane import spans
from sealane.client.backoff import Backoff
from sealane.client.connections import Connections
from sealane.client.errors import ChunkCorrupt, GaveUp, PeerUnavailable, SealaneError, SessionSealed, is_transient
from sealane.client.frames import frames, header
from sealane.client.ledger import Ledger
from sealane.client.rate_limit import RateLimit
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.domain.limits import Limits

MAX_FRAME_BYTES = Limits().max_frame_bytes
LINGER_SECONDS = 0.05
"""How long an open stream waits for its next chunk: an idle one is better closed and acknowledged, but every end of a
stream costs the server a few reads and the client a round trip."""
MAX_CORRUPT = 5
"""Times that one chunk may arrive with other bytes than were sent: more is no accident of the network."""


@dataclass(slots=True)
class Chunk:
    """A chunk on its way. ``data`` is None while it has to be read again before it can be sent."""

    index: int
    digest: bytes
    length: int
    data: memoryview | None
    buffer: bytearray | None
    """What ``data`` looks into, to be given back."""


STREAM_SECONDS = 1800.0
SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""Ingest's default ``stream_min_rate``: a chunk that comes faster must land before its stream's deadline."""
MIN_RATE = 2 * SLOWEST_BYTES_PER_SECOND
"""The lowest limit that an upload can be given: bytes a second."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How streams are used. Times in seconds."""

    parallel: int = 4
    chunks_per_stream: int = 16
    stream_seconds: float | None = None
    """The deadline of one stream; what it has stored by then stays stored. None: half an hour, or longer where one
    chunk takes longer on the slowest line that a server bears."""
    stall_seconds: float = 120.0
    """A server that takes no frame for so long is left."""
    frame_bytes: int = MAX_FRAME_BYTES
    max_bytes_per_second: float | None = None
    """Of all streams together; None: as fast as it goes. At least MIN_RATE."""

    def __post_init__(self) -> None:
        if self.max_bytes_per_second is not None and self.max_bytes_per_second < MIN_RATE:
            raise ValueError(f"max_bytes_per_second is at least {MIN_RATE}: servers give up on slower streams")

    def fitted(self, chunk_size: int) -> StreamOptions:
        """These options, with as many streams, chunks a stream and bytes a frame as the rate allows.

        Every stream must stay well above the rate at which a server gives it up, say something every second, and get
        its chunks over within its deadline.
        """
        rate = self.max_bytes_per_second
        if rate is None:
            return self
        parallel = min(self.parallel, int(rate // MIN_RATE))
        each = rate / parallel
        return replace(
            self,
            parallel=parallel,
            frame_bytes=min(self.frame_bytes, int(each)),
            chunks_per_stream=min(
                self.chunks_per_stream, max(1, int(each * self.seconds(chunk_size) / 2 / chunk_size))
            ),
        )

    def seconds(self, chunk_size: int) -> float:
        """The deadline of one stream of chunks of ``chunk_size`` bytes. The server may have a lower limit."""
        if self.stream_seconds is not None:
            return self.stream_seconds
        return max(STREAM_SECONDS, 60.0 + 1.1 * chunk_size / SLOWEST_BYTES_PER_SECOND)


@dataclass(slots=True)
class _Flight:
    """What one stream has sent, and has no acknowledgement for."""

    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0


class Buffers:
    """Chunk-sized buffers, used again. How many there are is bounded by the queue and the lanes that hold them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        return self._free.pop() if self._free else bytearray(self._size)

    def give(self, buffer: bytearray | None) -> None:
        if buffer is not None:
            self._free.append(buffer)


class Lanes:
    """All lanes of one upload.

    ``coverage`` answers the indexes that the server has; ``reread`` puts a chunk's bytes into a buffer again, or is
    None if the source gives them only once: then a chunk keeps its buffer until it is acknowledged.
    """

    def __init__(
        self,
        connections: Connections,
        ledger: Ledger,
        buffers: Buffers,
        options: StreamOptions,
        *,
        request_id: str,
        coverage: Callable[[], Awaitable[set[int]]],
        reread: Callable[[Chunk, bytearray], Awaitable[memoryview]] | None,
    ) -> None:
        self._connections = connections
        self._ledger = ledger
        self._buffers = buffers
        self._options = options
        self._request_id = request_id
        self._coverage = coverage
        self._reread = reread
        rate = options.max_bytes_per_second
        self._unauthenticated = 0
        """Streams that were refused as unauthenticated since the last acknowledgement."""
        self._rate_limit = None if rate is None else RateLimit(rate)

    async def run(self, lane: int, queue: asyncio.Queue[Chunk | None], *, forced: bool = False) -> None:
        """Send what comes out of ``queue`` until a None comes, which stays in it and so ends every lane.

        ``forced``: the server asked for these chunks by name, whatever its coverage says. Raises what is not transient,
        and GaveUp.
        """
        backoff = self._connections.backoff()
        todo: deque[Chunk] = deque()
        while True:
            if not todo:
                chunk = await queue.get()
                if chunk is None:
                    queue.put_nowait(None)  # for the other lanes
                    return
                todo.append(chunk)
            if self._ledger.sealed and not forced:
                self._drop(todo)
                continue
            try:
                with spans.span("client.UploadChunks", {"sealane.session_id": self._ledger.session_id}, "call"):
                    await self._stream(lane, todo, queue, backoff)
            except SessionSealed:
                if forced:
                    raise
                self._ledger.sealed = True
            except SealaneError as error:
                self._count(error)
                self._ledger.retried()
                await self._pause(error, todo, backoff, forced=forced)
                if not forced:
                    await self._strike_stored(todo, backoff)

    async def _stream(
        self, lane: int, todo: deque[Chunk], queue: asyncio.Queue[Chunk | None], backoff: Backoff
    ) -> None:
        """One stream: what is in ``todo``, then more from the queue. What it leaves in ``todo`` is not acknowledged."""
        options = self._options
        call = self._connections.upload_stream(
            lane,
            seconds=options.seconds(self._ledger.chunk_size),
            stall_seconds=options.stall_seconds,
            request_id=self._request_id,
            metadata=await self._connections.credentials.metadata(),
        )
        stream = self._ledger.open_stream()
        flight = _Flight()
        sent = flight.chunks
        try:
            try:
                await call.send(header(self._ledger.session_id))
                while len(sent) < options.chunks_per_stream and not call.ended:
                    if not todo and not await self._more(todo, queue):
                        break
                    sent.append(todo.popleft())
                    await self._send(call, sent[-1], flight, stream)
            except StreamEnded:
                pass  # the answer says why
            response = await call.answer()
            acknowledged = {result.chunk_index for result in response.chunks}
            for chunk in [c for c in sent if c.index in acknowledged]:
                sent.remove(chunk)
                flight.size -= chunk.length
                self._acknowledge(chunk, backoff, landed=chunk.length)
            if sent:
                raise PeerUnavailable("The server ended the stream before all of its chunks.", retry_after=0.0)
        except SealaneError as error:
            self._ledger.stream_broke(stream, error.reason.value)
            raise
        finally:
            call.cancel()
            self._ledger.dropped(flight.size)
            if self._reread is not None:
                for chunk in sent:
                    self._let_go(chunk)
            todo.extendleft(reversed(sent))

    async def _send(self, call: UploadStream, chunk: Chunk, flight: _Flight, stream: int) -> None:
        if chunk.data is None:
            assert self._reread is not None
            chunk.buffer = self._buffers.take()
            chunk.data = await self._reread(chunk, chunk.buffer)
        self._ledger.begin(chunk.index, stream)
        for count, message in frames(chunk.index, chunk.data, chunk.digest, self._options.frame_bytes):
            if self._rate_limit is not None:
                await self._rate_limit.take(count)
            await call.send(message)
            flight.size += count
            self._ledger.sent(count)
        if self._reread is not None:
            self._let_go(chunk)  # gRPC has its own copy

    @staticmethod
    async def _more(todo: deque[Chunk], queue: asyncio.Queue[Chunk | None]) -> bool:
        """Move a chunk from the queue to ``todo``, if there is one soon."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                chunk = await queue.get()
        except TimeoutError:
            return False
        if chunk is None:
            queue.put_nowait(None)  # for :meth:`run` to see
            return False
        todo.append(chunk)
        return True

    def _acknowledge(self, chunk: Chunk, backoff: Backoff, *, landed: int = 0) -> None:
        self._let_go(chunk)
        self._ledger.store(chunk.index, landed=landed)
        self._unauthenticated = 0
        backoff.progress()

    def _let_go(self, chunk: Chunk) -> None:
        if chunk.data is not None:
            chunk.data.release()
        self._buffers.give(chunk.buffer)
        chunk.data = chunk.buffer = None

    def _drop(self, todo: deque[Chunk]) -> None:
        while todo:
            self._let_go(todo.popleft())

    def _count(self, error: SealaneError) -> None:
        """Raise ``error`` unless the chunks may be sent again."""
        if isinstance(error, ChunkCorrupt):
            for each in error.chunks:
                self._ledger.corrupt[each.index] += 1
                if self._ledger.corrupt[each.index] > MAX_CORRUPT:
                    raise error
        elif self._connections.credentials.may_be_renewed(error):
            # A token may expire under a stream: the next one is opened with a newer one. More than that is a refusal.
            self._unauthenticated += 1
            if self._unauthenticated > self._options.parallel:
                raise error
        elif not is_transient(error):
            raise error

    async def _pause(self, error: SealaneError, todo: deque[Chunk], backoff: Backoff, *, forced: bool) -> None:
        """Wait before the next stream. Raises GaveUp, but not if the streams that broke had stored something."""
        try:
            seconds = backoff.next_pause(error)
        except GaveUp:
            left = len(todo)
            if not forced:
                await self._strike_stored(todo, backoff)
            if len(todo) == left:
                raise
            seconds = backoff.next_pause(error)
        await asyncio.sleep(seconds)

    async def _strike_stored(self, todo: deque[Chunk], backoff: Backoff) -> None:
        """Take from ``todo`` what the server has by now."""
        stored = await self._coverage()
        for chunk in [c for c in todo if c.index in stored]:
            todo.remove(chunk)
            self._acknowledge(chunk, backoff)
