"""Quotas of tenants, asked before anything is stored: what is refused leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

from ingest_service.usage import Figures, Usage
from sealane.domain.errors import QuotaExceeded
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.quotas import Quota, Quotas
from sealane.store.deadline import Deadline


class QuotaGuard:
    """A tenant without quotas costs nothing here: only for the others the store is walked."""

    def __init__(self, quotas: Quotas, usage: Usage) -> None:
        self._quotas = quotas
        self._usage = usage

    def bytes_in_flight(self, tenant: str) -> int | None:
        """What of the memory budget the tenant may hold at once."""
        return self._quotas.of(tenant).bytes_in_flight

    async def session(
        self, tenant: Tenant, size: int | None, deadline: Deadline
    ) -> Callable[[SessionId], AbstractContextManager[None]]:
        """Leave to make a session of ``size`` bytes, if that is known; it counts while ``answer(id)`` is entered, and
        after it if the block does not fail. QuotaExceeded."""
        quota = self._quotas.of(tenant)
        if quota.open_sessions is None and quota.stored_bytes_per_day is None:
            return _uncounted
        figures = await self._within(tenant, quota, deadline, sessions=1, size=size or 0)
        return lambda session: figures.open_sessions.adding(session, 1)

    @asynccontextmanager
    async def chunk(
        self, tenant: Tenant, session: SessionId, index: int, length: int, deadline: Deadline
    ) -> AsyncIterator[None]:
        """Around the storing of a chunk that is not there yet. QuotaExceeded."""
        quota = self._quotas.of(tenant)
        if quota.stored_bytes_per_day is None:
            yield
            return
        figures = await self._within(tenant, quota, deadline, sessions=0, size=length)
        with figures.stored_bytes.adding((session, index), length):
            yield

    async def _within(self, tenant: Tenant, quota: Quota, deadline: Deadline, *, sessions: int, size: int) -> Figures:
        """The tenant's figures; QuotaExceeded if so much more would be too much, also when it is counted again."""
        stored = quota.stored_bytes_per_day is not None
        figures = await self._usage.of(tenant, deadline, stored=stored)
        if _excess(quota, figures, sessions, size) is not None:
            await self._usage.fresh(tenant, figures, deadline, stored=stored)
            excess = _excess(quota, figures, sessions, size)
            if excess is not None:
                raise excess
        return figures


def _excess(quota: Quota, figures: Figures, sessions: int, size: int) -> QuotaExceeded | None:
    used = figures.open_sessions.total
    if sessions and quota.open_sessions is not None and used + sessions > quota.open_sessions:
        return QuotaExceeded.of(
            "open_sessions", used, quota.open_sessions, "open sessions", "Commit or abort some, then start again."
        )
    used = figures.stored_bytes.total
    if quota.stored_bytes_per_day is not None and used + max(size, 1) > quota.stored_bytes_per_day:
        return QuotaExceeded.of(
            "stored_bytes_per_day",
            used,
            quota.stored_bytes_per_day,
            "bytes stored in 24 hours",
            f"{size} more would be too many." if size else "Go on when the day's uploads are older.",
        )
    return None


@contextmanager
def _uncounted(session: SessionId) -> Iterator[None]:
    yield
