"""How many are at work at once (parts on their way to the store, lists of receipts); the others wait, by turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest_service.turns import Turns


class Hands:
    """At most ``limit`` at work; tenants take turns (:mod:`ingest_service.turns`)."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._turns = Turns()

    @asynccontextmanager
    async def one(self, tenant: str, cost: int) -> AsyncIterator[None]:
        """A hand for what costs so much (bytes, say), while the block runs; waits for it."""
        ticket = self._turns.ask(tenant, cost)
        self._grant()
        try:
            await ticket.granted
        except asyncio.CancelledError:
            if ticket.granted.cancelled():
                self._turns.leave(ticket)
            else:  # granted in this very step
                self._give_back(tenant, cost)
            raise
        try:
            yield
        finally:
            self._give_back(tenant, cost)

    def _give_back(self, tenant: str, cost: int) -> None:
        self._free += 1
        self._turns.give_back(tenant, cost)
        self._grant()

    def _grant(self) -> None:
        while self._free and (ticket := self._turns.first()) is not None:
            self._free -= 1
            self._turns.grant(ticket)
