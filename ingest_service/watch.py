"""WatchSession: the session at once, then whenever it has changed, and unchanged as a heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ingest_service.sessions import Sessions
from sealane.domain.errors import Draining
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.views import SessionView
from sealane.slots import Slots
from sealane.store.deadline import Deadline

PATIENCE = 1.5
"""A look that finds nothing new puts the next one off by this factor, …"""
SLOWEST = 5.0
"""… up to this many intervals: an idle session costs a fifth of a busy one."""


@dataclass(frozen=True, slots=True)
class WatchPace:
    """Seconds: between two looks at a session that changes, and between two messages about one that doesn't."""

    interval: float
    heartbeat: float


class Watcher:
    """Watches; ``slots`` bounds how many do at once."""

    def __init__(self, sessions: Sessions, slots: Slots, pace: WatchPace) -> None:
        self._sessions = sessions
        self._slots = slots
        self._pace = pace

    async def watch(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> AsyncIterator[SessionView]:
        """Ends after a final state. As Sessions.get; Overloaded without a free slot, Draining when the server stops."""
        draining = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._slots.hold(draining.set, tenant):
            shown: SessionView | None = None
            shown_at = loop.time()
            pause = self._pace.interval
            beat = False
            while True:
                view = await self._sessions.get(tenant, session, deadline)
                pause = self._pace.interval if view != shown else min(PATIENCE * pause, SLOWEST * self._pace.interval)
                if view != shown or beat:
                    yield view
                    shown, shown_at = view, loop.time()
                if view.state.final:
                    return
                # However rare the looks have become, a heartbeat is not put off until the next one.
                quiet = shown_at + self._pace.heartbeat - loop.time()
                beat = quiet <= pause
                try:
                    async with asyncio.timeout(min(pause, max(0.0, quiet))):
                        await draining.wait()
                except TimeoutError:
                    continue
                raise Draining()
