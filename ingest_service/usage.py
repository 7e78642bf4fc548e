"""What a tenant has in the store, counted by walking it: how many sessions are open, how much was stored in a day.

There is no database to ask. One LIST of the tenant's sessions shows both: session.json without a decision is an open
session, and a receipt's key has its chunk's length, its Last-Modified the time. So a figure is as old as its walk,
and to it comes what this replica has added since. What other replicas added since is not known here: a tenant may have
so much more than its quota. Walks cost at most a tenth of the time, however long one takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from ingest_service.task_scope import TaskScope
from sealane.bounded_cache import BoundedCache
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.quotas import DAY_SECONDS
from sealane.logs import get_logger
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import StoreError
from sealane.store.retry import RetryingStore

TENANTS = 1000
"""Tenants whose figures are kept."""
DUTY = 10.0
"""A walk is not begun before so many times the last one's length is over since that one began."""
STALE_SECONDS = 2.0
"""A refusal is given on no older figure than this, unless a walk takes longer than a tenth of it."""
WAIT_SECONDS = 5.0
"""A call waits no longer for a walk, and then goes by what is known."""
PAGE_SECONDS = 30.0
_BEHIND = "~"

_log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Added:
    amount: int
    at: float | None = None
    """When it was there; None: it is being written."""


class Figure:
    """A number in the store: as counted, and what this replica has added since."""

    def __init__(self) -> None:
        self._counted = 0
        self._added: dict[Hashable, _Added] = {}
        self._extra = 0

    @property
    def total(self) -> int:
        return self._counted + self._extra

    @contextmanager
    def adding(self, name: Hashable, amount: int) -> Iterator[None]:
        """Counts at once; no more if the block fails. Two at once of one name are one, of whichever succeeds."""
        added = _Added(amount)
        self._put(name, added)
        try:
            yield
        except BaseException:  # re-raised
            if self._added.get(name) is added:
                self._forget(name)
            raise
        added.at = asyncio.get_running_loop().time()
        self._put(name, added)  # again: of two that wrote it at once, the other may have failed meanwhile

    def is_new(self, name: Hashable, since: float) -> bool:
        """Whether it was added after ``since``: a walk that began then leaves it out, whether it saw it or not."""
        added = self._added.get(name)
        return added is not None and (added.at is None or added.at >= since)

    def counted(self, count: int, since: float) -> None:
        """A walk that began at ``since`` found ``count``, without those that are new."""
        self._counted = count
        for name in [name for name in self._added if not self.is_new(name, since)]:
            self._forget(name)

    def _put(self, name: Hashable, added: _Added) -> None:
        self._forget(name)
        self._added[name] = added
        self._extra += added.amount

    def _forget(self, name: Hashable) -> None:
        added = self._added.pop(name, None)
        if added is not None:
            self._extra -= added.amount


class Figures:
    """Of one tenant."""

    def __init__(self) -> None:
        self.open_sessions = Figure()
        self.stored_bytes = Figure()
        self.at = float("-inf")
        """When the last whole walk began, by the loop's clock."""
        self.took = 0.0
        self.tried = float("-inf")
        self.walk: asyncio.Task[None] | None = None


class Usage:
    """Walks when it is asked, and at most every ``refresh_seconds``; no store error is passed on, but logged."""

    def __init__(self, store: RetryingStore, scope: TaskScope, *, refresh_seconds: float) -> None:
        self._store = store
        self._scope = scope
        self._refresh_seconds = refresh_seconds
        self._tenants: BoundedCache[Tenant, Figures] = BoundedCache(TENANTS)

    async def of(self, tenant: Tenant, deadline: Deadline, *, stored: bool) -> Figures:
        """The figures, at most about ``refresh_seconds`` old. Waits for the first walk only.

        ``stored``: the bytes matter, too; without, receipts are jumped over.
        """
        figures = self._tenants.get(tenant)
        if figures is None:
            figures = Figures()
            self._tenants.put(tenant, figures)
        if figures.at == float("-inf"):
            if figures.walk is not None or self._may_walk(figures, STALE_SECONDS):
                await self._walked(tenant, figures, deadline, stored=stored)
        elif self._may_walk(figures, self._refresh_seconds):
            self._start(tenant, figures, stored=stored)
        return figures

    async def fresh(self, tenant: Tenant, figures: Figures, deadline: Deadline, *, stored: bool) -> None:
        """Count again, unless that was done just now."""
        if figures.walk is not None or self._may_walk(figures, STALE_SECONDS):
            await self._walked(tenant, figures, deadline, stored=stored)

    def _may_walk(self, figures: Figures, age: float) -> bool:
        now = asyncio.get_running_loop().time()
        return now - max(figures.at, figures.tried) >= max(age, DUTY * figures.took)

    async def _walked(self, tenant: Tenant, figures: Figures, deadline: Deadline, *, stored: bool) -> None:
        walk = self._start(tenant, figures, stored=stored)
        await asyncio.wait([walk], timeout=deadline.cap(WAIT_SECONDS))

    def _start(self, tenant: Tenant, figures: Figures, *, stored: bool) -> asyncio.Task[None]:
        if figures.walk is None:
            figures.walk = self._scope.start(self._walk(tenant, figures, stored=stored), name=f"usage of {tenant}")
            figures.walk.add_done_callback(lambda _: setattr(figures, "walk", None))
        return figures.walk

    async def _walk(self, tenant: Tenant, figures: Figures, *, stored: bool) -> None:
        loop = asyncio.get_running_loop()
        began = figures.tried = loop.time()
        try:
            sessions, size = await self._count(tenant, figures, began, stored=stored)
        except StoreError as error:
            _log.warning("usage_unknown", of=tenant, error=type(error).__name__, detail=error.detail)
            return
        finally:
            figures.took = loop.time() - began
        figures.open_sessions.counted(sessions, began)
        if stored:
            figures.stored_bytes.counted(size, began)
        figures.at = began

    async def _count(self, tenant: Tenant, figures: Figures, began: float, *, stored: bool) -> tuple[int, int]:
        """Open sessions, and bytes stored in the last 24 hours, without what is new since ``began``."""
        prefix = keys.sessions_prefix(tenant)
        since = self._store.now() - timedelta(seconds=DAY_SECONDS)
        sessions = size = 0
        current: SessionId | None = None
        names: set[str] = set()
        cursor: str | None = None
        behind: str | None = None

        def is_open() -> bool:
            return (
                current is not None
                and keys.SESSION in names
                and names.isdisjoint((keys.DECISION, keys.DONE, keys.DELETED))
                and not figures.open_sessions.is_new(current, began)
            )

        while True:
            page = await self._store.list_objects(
                prefix, Deadline.after(PAGE_SECONDS), cursor=cursor, start_after=behind
            )
            last: keys.SessionKey | None = None
            for listed in page.objects:
                last = keys.parse_session_key(listed.key)
                if last is None:
                    continue
                if last.session != current:
                    sessions += is_open()
                    current, names = last.session, set()
                chunk = keys.receipt_size(last.rest) if stored and listed.last_modified >= since else None
                if chunk is not None:
                    index, length = chunk
                    size += 0 if figures.stored_bytes.is_new((last.session, index), began) else length
                elif last.rest in keys.RECORDS:
                    names.add(last.rest)
            if page.cursor is None:
                return sessions + is_open(), size
            cursor, behind = page.cursor, None
            if not stored and last is not None and last.rest.startswith(keys.RECEIPTS):
                cursor, behind = None, keys.receipts_prefix(tenant, last.session) + _BEHIND
