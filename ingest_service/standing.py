"""Where a session stands, as far as a chunk must know: may it be stored, and may it be acknowledged?

Protocol.md section 4, steps 1 and 7. session.json never changes and may be cached; "no decision" may be believed for
two seconds; the last word before an acknowledgement is always the store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from ingest_service.bounded_cache import BoundedCache
from sealane.domain.decision import Decision, plan_of, refusal
from sealane.domain.errors import SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import ChunkPlan, Limits
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords

DECISION_ABSENT_SECONDS = 2.0
"""How long "no decision" is believed while chunks are taken (section 4, step 1)."""


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """The session that a stream writes to."""

    tenant: Tenant
    session: SessionId
    record: SessionRecord
    plan: ChunkPlan


class Standing:
    """Caches what may be cached, of the ``cached_sessions`` used last."""

    def __init__(self, records: SessionRecords, limits: Limits, *, cached_sessions: int) -> None:
        self._records = records
        self._limits = limits
        self._targets: BoundedCache[tuple[Tenant, SessionId], UploadTarget] = BoundedCache(cached_sessions)
        self._undecided: BoundedCache[tuple[Tenant, SessionId], float] = BoundedCache(cached_sessions)

    async def open(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> UploadTarget:
        """Step 1, at the start of a stream. SessionNotFound, or the error that says what the session has become."""
        target = self._targets.get((tenant, session))
        if target is None:
            found = await self._records.session(tenant, session, deadline)
            if found is None:
                raise SessionNotFound()
            target = UploadTarget(tenant, session, found.record, plan_of(found.record, self._limits.max_chunks))
            self._targets.put((tenant, session), target)
        await self.decided(target, deadline)
        return target

    async def decided(self, target: UploadTarget, deadline: Deadline) -> Decision | None:
        """None: the session is open. A decision to COMMIT that is not done: only its own chunks are welcome ⚠.

        Raises what the session has become otherwise. "None" may be two seconds old.
        """
        key = (target.tenant, target.session)
        now = asyncio.get_running_loop().time()
        seen = self._undecided.get(key)
        if seen is not None and now - seen < DECISION_ABSENT_SECONDS:
            return None
        if await self._records.decision(*key, deadline) is None:
            self._undecided.put(key, now)
            return None
        return await self._outcome(target, deadline, (SessionState.COMMITTING,))

    async def confirm(self, target: UploadTarget, deadline: Deadline, *, mended: bool = False) -> None:
        """Step 7, before an answer, uncached: decision.json absent, **then** session.json present ⚠.

        ``mended``: the stream sent nothing but chunks of the decision's own list, which its decision does not undo.
        Raises what happened instead; SessionNotFound if the session is gone.
        """
        key = (target.tenant, target.session)
        self._undecided.drop(key)
        decision = await self._records.decision(*key, deadline)
        if await self._records.session(*key, deadline) is None:
            self._targets.drop(key)
            raise SessionNotFound()  # whatever a decision says without its session ⚠
        if decision is not None:
            welcome = (SessionState.COMMITTING, SessionState.COMMITTED) if mended else ()
            await self._outcome(target, deadline, welcome)

    async def _outcome(self, target: UploadTarget, deadline: Deadline, welcome: Collection[SessionState]) -> Decision:
        """The decision, if the session's state is ``welcome``; else the refusal. All four records, in C1's order ⚠."""
        key = (target.tenant, target.session)
        self._undecided.drop(key)
        found = (await self._records.snapshot(*key, deadline)).records
        if found.session is None:
            self._targets.drop(key)
        if found.decision is not None and found.state in welcome:
            return found.decision
        raise refusal(found.state)
