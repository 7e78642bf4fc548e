"""Whose turn it is, where tenants wait for the same thing: bytes of memory, or a hand that carries a part to the store.

In this order: first whoever holds nothing; then whoever was given the least (start-time fair queueing: Goyal, Vin and
Cheng, SIGCOMM 1996, every tenant with the same weight); within one tenant, whoever asked first. So a tenant with one
stream is not behind the sixty of another, and of two that want all they can get, each gets half.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Ticket:
    """One who waits for ``cost`` of it. ``granted`` is done once it is theirs."""

    tenant: str
    cost: int
    number: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class _Share:
    """What one tenant waits for and holds. It is forgotten once that is nothing."""

    waiting: deque[Ticket] = field(default_factory=deque)
    holds: int = 0
    """How many, …"""
    held: int = 0
    """… and how much in all."""
    served: int = 0
    """Virtual time at which the next of this tenant may start: what it was given, from when it began to wait on."""

    def next(self) -> Ticket | None:
        """The first ticket, but for those that are being given up in this very step."""
        return next((ticket for ticket in self.waiting if not ticket.granted.cancelled()), None)


class Turns:
    """Keeps who waits and who holds; whether there is room for the next is its owner's to say."""

    def __init__(self) -> None:
        self.waiting = 0
        """Tickets out."""
        self._shares: dict[str, _Share] = {}
        self._asked = 0
        self._now = 0

    def holds(self, tenant: str) -> int:
        """How many the tenant holds."""
        share = self._shares.get(tenant)
        return 0 if share is None else share.holds

    def held(self, tenant: str) -> int:
        """How much they are together."""
        share = self._shares.get(tenant)
        return 0 if share is None else share.held

    def ask(self, tenant: str, cost: int) -> Ticket:
        """Queue up."""
        self._asked += 1
        ticket = Ticket(tenant, cost, self._asked, asyncio.get_running_loop().create_future())
        self._shares.setdefault(tenant, _Share()).waiting.append(ticket)
        self.waiting += 1
        return ticket

    def first(self, passed_over: Callable[[str, int], bool] = lambda tenant, cost: False) -> Ticket | None:
        """Whose turn it is; tenants whose next ticket is ``passed_over(tenant, cost)`` are left out. None: nobody's."""
        ready = [
            (share.holds > 0, max(self._now, share.served), ticket.number, ticket)
            for tenant, share in self._shares.items()
            if (ticket := share.next()) is not None and not passed_over(tenant, ticket.cost)
        ]
        return min(ready)[-1] if ready else None

    def grant(self, ticket: Ticket) -> None:
        """It is theirs now."""
        share = self._shares[ticket.tenant]
        self._remove(share, ticket)
        self._now = max(self._now, share.served)
        share.served = self._now + ticket.cost
        share.holds += 1
        share.held += ticket.cost
        ticket.granted.set_result(None)

    def leave(self, ticket: Ticket) -> None:
        """Wait no longer."""
        self._remove(self._shares[ticket.tenant], ticket)
        self._forget(ticket.tenant)

    def give_back(self, tenant: str, cost: int, *, whole: bool = True) -> None:
        """``cost`` comes back: all of what one ticket was for, or (not ``whole``) a part of it."""
        share = self._shares[tenant]
        share.held -= cost
        if whole:
            share.holds -= 1
        self._forget(tenant)

    def _remove(self, share: _Share, ticket: Ticket) -> None:
        share.waiting.remove(ticket)
        self.waiting -= 1

    def _forget(self, tenant: str) -> None:
        share = self._shares[tenant]
        if not share.waiting and not share.holds:
            del self._shares[tenant]
