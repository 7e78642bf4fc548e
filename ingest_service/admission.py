"""How many bytes a replica lets in: chunks by a budget (invariant I13), fairly between tenants.

A chunk's bytes are leased **before** its first frame is read, so that flow control holds the client while memory is
short, and nothing is buffered that was not leased. No stream waits for a lease while it holds a chunk that is still
arriving: what it holds is on its way to the store, and comes back whatever the stream does. So waits end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ingest_service.turns import Ticket, Turns
from sealane.domain.errors import DeadlineExceeded, Overloaded
from sealane.measure import Observe, nobody
from sealane.store.deadline import Deadline


class MemoryBudget:
    """``size`` bytes, leased by turns (:mod:`ingest_service.turns`); released buffers are kept for the next lease of
    their length.

    Leased and kept bytes together never exceed ``size``, and leases never ``max_leases``: what a chunk costs beside its
    bytes is bounded by that, however small it is and whoever has left meanwhile. ``max_wait`` is in seconds.

    ``reserved`` of both (a share, from 0 to 1) is for tenants that hold nothing: one whose clients dribble can't have
    it all. ``most(tenant)`` is how many bytes a tenant may hold at once (None: any); one chunk it may always have.
    """

    def __init__(
        self,
        size: int,
        *,
        max_wait: float,
        max_leases: int | None = None,
        reserved: float = 0.0,
        most: Callable[[str], int | None] = lambda tenant: None,
        waited: Observe = nobody,
    ) -> None:
        """``waited`` is told how many seconds each lease was waited for, granted or not."""
        self._waited = waited
        self.size = size
        self.in_use = 0
        """Bytes leased now."""
        self.leases = 0
        """Leases that are out now."""
        self.peak = 0
        """Bytes leased and kept at once, the most so far."""
        self._max_wait = max_wait
        self._max_leases = max_leases
        self._reserved = int(size * reserved)
        self._reserved_leases = int((max_leases or 0) * reserved)
        self._most = most
        self._kept: dict[int, list[bytearray]] = {}
        self._kept_bytes = 0
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """Leases asked for and not granted yet."""
        return self._turns.waiting

    async def lease(self, length: int, deadline: Deadline, tenant: str = "") -> Lease:
        """``length`` bytes, once it is ``tenant``'s turn.

        Raises Overloaded after ``max_wait``, or at once if the budget could never hold them; DeadlineExceeded.
        """
        if length > self.size:
            raise Overloaded(private=f"a chunk of {length} bytes does not fit in the whole budget of {self.size}")
        ticket = self._turns.ask(tenant, length)
        self._grant()
        if ticket.granted.done():
            self._waited(0.0)
        else:
            await self._wait(ticket, deadline)
        return Lease(self, length, self._take(length), tenant)

    def _has_room(self, tenant: str, length: int) -> bool:
        newcomer = not self._turns.holds(tenant)
        size = self.size if newcomer else self.size - self._reserved
        return self.in_use + length <= size and (
            self._max_leases is None
            or self.leases < (self._max_leases if newcomer else self._max_leases - self._reserved_leases)
        )

    def _has_its_share(self, tenant: str, length: int) -> bool:
        """Whether the tenant holds as much as it may: the others' turns are not held up by that."""
        most = self._most(tenant)
        return most is not None and self._turns.holds(tenant) > 0 and self._turns.held(tenant) + length > most

    async def _wait(self, ticket: Ticket, deadline: Deadline) -> None:
        granted, loop = ticket.granted, asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(deadline.cap(self._max_wait)):
                await granted
        except BaseException as error:  # re-raised: the ticket, or what it was granted, must not be lost
            if granted.done() and not granted.cancelled():
                self._end(ticket.tenant, ticket.cost)
            else:
                self._turns.leave(ticket)
                self._grant()
            if not isinstance(error, TimeoutError):
                raise
            if deadline.expired:
                raise DeadlineExceeded() from error
            raise Overloaded(
                private=f"{ticket.cost} bytes, or one of the leases, not free in {self._max_wait} s"
            ) from error
        finally:
            self._waited(loop.time() - begun)

    def _grant(self) -> None:
        """Give to whose turn it is, as long as there is room; nobody behind goes first, or a large one would starve."""
        while (ticket := self._turns.first(self._has_its_share)) is not None:
            if not self._has_room(ticket.tenant, ticket.cost):
                return
            self.in_use += ticket.cost
            self.leases += 1
            self._turns.grant(ticket)

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

    def _give_back(self, tenant: str, length: int) -> None:
        self.in_use -= length
        self._turns.give_back(tenant, length, whole=False)
        self._grant()

    def _end(self, tenant: str, length: int, buffer: bytearray | None = None) -> None:
        """A lease is over, of which ``length`` bytes are left."""
        self.in_use -= length
        self.leases -= 1
        self._turns.give_back(tenant, length)
        # Only whole chunks come again in the same length: they are powers of two.
        if buffer is not None and len(buffer) == length and length & (length - 1) == 0:
            self._kept.setdefault(length, []).append(buffer)
            self._kept_bytes += length
        self._grant()


class Lease:
    """A chunk's share of the budget, and its buffer once it is known how long that has to be.

    The lease alone refers to the buffer: who has released it can't keep the bytes alive by mistake.
    """

    def __init__(self, budget: MemoryBudget, length: int, kept: bytearray | None, tenant: str) -> None:
        self._budget = budget
        self._length = length
        self._tenant = tenant
        self._buffer = kept
        self._released = False

    def open(self, length: int) -> None:
        """Have a buffer of exactly ``length`` bytes (at most what was leased); the surplus goes back at once."""
        if length > self._length:
            raise ValueError(f"{length} bytes from a lease of {self._length}")
        if length < self._length:
            self._buffer = None
            self._budget._give_back(self._tenant, self._length - length)
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
            self._budget._give_back(self._tenant, self._length - length)
            self._length = length

    def release(self) -> None:
        """Give all of it back, once; nobody may look at the buffer any more."""
        if not self._released:
            self._released = True
            buffer, self._buffer = self._buffer, None
            self._budget._end(self._tenant, self._length, buffer)
