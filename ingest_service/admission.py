"""What a replica lets in: bytes by a budget, streams by a number (invariant I13).

A chunk's bytes are leased **before** its first frame is read, so that flow control holds the client while memory is
short, and nothing is buffered that was not leased. No stream waits for a lease while it holds a chunk that is still
arriving: what it holds is on its way to the store, and comes back whatever the stream does. So waits end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sealane.domain.errors import DeadlineExceeded, Draining, Overloaded
from sealane.store.deadline import Deadline


class MemoryBudget:
    """``size`` bytes, leased in the order of asking; released buffers are kept for the next lease of their length.

    Leased and kept bytes together never exceed ``size``, and leases never ``max_leases``: what a chunk costs beside its
    bytes is bounded by that, however small it is and whoever has left meanwhile. ``max_wait`` is in seconds.
    """

    def __init__(self, size: int, *, max_wait: float, max_leases: int | None = None) -> None:
        self.size = size
        self.in_use = 0
        """Bytes leased now."""
        self.leases = 0
        """Leases that are out now."""
        self.peak = 0
        """Bytes leased and kept at once, the most so far."""
        self._max_wait = max_wait
        self._max_leases = max_leases
        self._kept: dict[int, list[bytearray]] = {}
        self._kept_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """Leases asked for and not granted yet."""
        return len(self._waiting)

    async def lease(self, length: int, deadline: Deadline) -> Lease:
        """``length`` bytes, once all who asked before have theirs.

        Raises Overloaded after ``max_wait``, or at once if the budget could never hold them; DeadlineExceeded.
        """
        if length > self.size:
            raise Overloaded(private=f"a chunk of {length} bytes does not fit in the whole budget of {self.size}")
        if self._waiting or not self._has_room(length):
            await self._wait(length, deadline)
        else:
            self._charge(length)
        return Lease(self, length, self._take(length))

    def _has_room(self, length: int) -> bool:
        return self.in_use + length <= self.size and (self._max_leases is None or self.leases < self._max_leases)

    def _charge(self, length: int) -> None:
        self.in_use += length
        self.leases += 1

    async def _wait(self, length: int, deadline: Deadline) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = (length, granted)
        self._waiting.append(ticket)
        try:
            async with asyncio.timeout(deadline.cap(self._max_wait)):
                await granted
        except BaseException as error:  # re-raised: the ticket, or what it was granted, must not be lost
            if granted.done() and not granted.cancelled():
                self._end(length)
            else:
                if ticket in self._waiting:  # not if memory came free in this very step: then it was passed over
                    self._waiting.remove(ticket)
                self._grant()
            if not isinstance(error, TimeoutError):
                raise
            if deadline.expired:
                raise DeadlineExceeded() from error
            raise Overloaded(private=f"{length} bytes, or one of the leases, not free in {self._max_wait} s") from error

    def _grant(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            length, granted = self._waiting.popleft()
            if not granted.cancelled():
                self._charge(length)
                granted.set_result(None)

    def _take(self, length: int) -> bytearray | None:
        """A kept buffer of that length, if there is one; others make room for what is about to be allocated."""
        kept = self._kept.get(length)
        buffer = None
        if kept:
            buffer = kept.pop()
            self._kept_bytes -= length
        while self._kept_bytes and self.in_use + self._kept_bytes > self.size:
            largest = max(size for size, buffers in self._kept.items() if buffers)
            self._kept[largest].pop()
            self._kept_bytes -= largest
        self._kept = {size: buffers for size, buffers in self._kept.items() if buffers}
        self.peak = max(self.peak, self.in_use + self._kept_bytes)
        return buffer

    def _give_back(self, length: int) -> None:
        self.in_use -= length
        self._grant()

    def _end(self, length: int, buffer: bytearray | None = None) -> None:
        """A lease is over, of which ``length`` bytes are left."""
        self.in_use -= length
        self.leases -= 1
        # Only whole chunks come again in the same length: they are powers of two.
        if buffer is not None and len(buffer) == length and length & (length - 1) == 0:
            self._kept.setdefault(length, []).append(buffer)
            self._kept_bytes += length
        self._grant()


class Lease:
    """A chunk's share of the budget, and its buffer once it is known how long that has to be.

    The lease alone refers to the buffer: who has released it can't keep the bytes alive by mistake.
    """

    def __init__(self, budget: MemoryBudget, length: int, kept: bytearray | None) -> None:
        self._budget = budget
        self._length = length
        self._buffer = kept
        self._released = False

    def open(self, length: int) -> None:
        """Have a buffer of exactly ``length`` bytes (at most what was leased); the surplus goes back at once."""
        if length > self._length:
            raise ValueError(f"{length} bytes from a lease of {self._length}")
        if length < self._length:
            self._buffer = None
            self._budget._give_back(self._length - length)
            self._length = length
        if self._buffer is None:
            self._buffer = bytearray(length)

    def view(self) -> memoryview:
        """The whole buffer. The caller releases the view before the lease is released; RuntimeError after that."""
        if self._released or self._buffer is None:
            raise RuntimeError("the lease has no buffer")
        return memoryview(self._buffer)

    def shrink(self, length: int) -> None:
        """The chunk ended at ``length``: what is behind it goes back if the allocator really frees it (half and more).

        A buffer that somebody still has a view of keeps its size, and its share.
        """
        if self._buffer is not None and length < self._length // 2:
            try:
                del self._buffer[length:]
            except BufferError:
                return
            self._budget._give_back(self._length - length)
            self._length = length

    def release(self) -> None:
        """Give all of it back, once; nobody may look at the buffer any more."""
        if not self._released:
            self._released = True
            buffer, self._buffer = self._buffer, None
            self._budget._end(self._length, buffer)


class Slots:
    """At most ``limit`` of something at once (upload streams, watchers), each with its way of being told to drain."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._held: set[Callable[[], None]] = set()
        self._draining = False

    @property
    def held(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, on_drain: Callable[[], None]) -> Iterator[None]:
        """One slot, while the block runs. Overloaded if there is none, Draining once :meth:`drain` was called."""
        if self._draining:
            raise Draining()
        if len(self._held) >= self._limit:
            raise Overloaded(
                f"This replica's {self._limit} {self._what} are taken. Wait, then resume.",
            )
        self._held.add(on_drain)
        try:
            yield
        finally:
            self._held.remove(on_drain)

    def drain(self) -> None:
        """Tell everyone, and let nobody in any more."""
        self._draining = True
        for on_drain in tuple(self._held):
            on_drain()
