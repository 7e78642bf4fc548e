"""How many calls at once of a kind that each hold something for long: streams, watchers, readings of whole objects."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sealane.domain.errors import Draining, Overloaded

REMEMBERED_SECONDS = 20.0
"""A tenant that was refused may come back for so long, before others: longer than the longest pause of the SDK."""


def goes_on() -> None:
    """What is under way when the service drains may end, within the drain's time."""


class Slots:
    """At most ``limit`` of something at once, each with its way of being told to drain.

    Who finds none free is refused: a call that waits would hold what gRPC has read of it, and ``limit`` bounds that.
    So that one tenant's many calls can't keep another's out, ``reserved`` (a share, from 0 to 1) is for tenants that
    hold none; and of what comes free a tenant that has its fair share (``limit`` by the number of tenants that hold or
    want some) leaves one to each that was refused lately and has less.
    """

    def __init__(self, limit: int, what: str, *, reserved: float = 0.0) -> None:
        self.limit = limit
        self._what = what
        self._reserved = int(limit * reserved)
        self._held: dict[object, Callable[[], None]] = {}
        self._by_tenant: Counter[str] = Counter()
        self._wanting: dict[str, float] = {}
        self._draining = False

    @property
    def held(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, on_drain: Callable[[], None] = goes_on, tenant: str = "") -> Iterator[None]:
        """One slot, while the block runs. Overloaded if there is none, Draining once :meth:`drain` was called."""
        if self._draining:
            raise Draining()
        self._admit(tenant)
        place = object()
        self._held[place] = on_drain
        self._by_tenant[tenant] += 1
        try:
            yield
        finally:
            del self._held[place]
            self._by_tenant[tenant] -= 1
            if not self._by_tenant[tenant]:
                del self._by_tenant[tenant]

    def drain(self) -> None:
        """Tell everyone, and let nobody in any more."""
        self._draining = True
        for on_drain in tuple(self._held.values()):
            on_drain()

    def _admit(self, tenant: str) -> None:
        now = asyncio.get_running_loop().time()
        self._wanting = {name: until for name, until in self._wanting.items() if until > now}
        if self.limit - len(self._held) > self._kept_from(tenant):
            self._wanting.pop(tenant, None)
            return
        if tenant in self._wanting or len(self._wanting) < self.limit:  # more could never be served at once
            self._wanting[tenant] = now + REMEMBERED_SECONDS
        raise Overloaded(f"This replica's {self.limit} {self._what} are taken. Wait, then resume.")

    def _kept_from(self, tenant: str) -> int:
        """How many free slots are not for ``tenant``."""
        mine = self._by_tenant[tenant]
        if not mine:
            return 0
        share = max(1, self.limit // len({*self._by_tenant, *self._wanting}))
        if mine < share:
            return self._reserved
        behind = sum(other != tenant and self._by_tenant[other] < share for other in self._wanting)
        return max(self._reserved, behind)
