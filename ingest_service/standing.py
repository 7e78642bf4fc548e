"""Where a session stands, as far as a chunk must know: may it be stored, and may it be acknowledged?

Protocol.md section 4, steps 1 and 7. session.json never changes and may be cached; "no decision" may be believed for
two seconds within a stream; a decision never changes, either. The last word before an acknowledgement is always the
store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from sealane.bounded_cache import BoundedCache
from sealane.domain.decision import Decision, plan_of, refusal
from sealane.domain.errors import SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import ChunkPlan, Limits
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords, Stored

DECISION_ABSENT_SECONDS = 2.0
"""How long "no decision" is believed while chunks are taken (section 4, step 1)."""
CACHED_DECISIONS = 8
"""Sessions being mended whose decisions are kept: one of 10,000 parts takes some 3 MiB."""


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
        self._commits: BoundedCache[tuple[Tenant, SessionId], Stored[Decision]] = BoundedCache(CACHED_DECISIONS)
        """Decisions to COMMIT that were not done when a stream opened. What is done since, the store's answers say."""

    async def open(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> UploadTarget:
        """Step 1, at the start of a stream. SessionNotFound, or the error that says what the session has become.

        The decision is the store's, not the cache's ⚠: a client that was just told CHUNK_NEEDED must not be judged by
        a "no decision" from before its commit, or what it mends would pass for a duplicate.
        """
        key = (tenant, session)
        target = self._targets.get(key)
        if target is None:
            found = await self._records.session(*key, deadline)
            if found is None or found.record.tombstone:
                raise SessionNotFound()
            target = UploadTarget(tenant, session, found.record, plan_of(found.record, self._limits.max_chunks))
            self._targets.put(key, target)
        self._undecided.drop(key)
        known = self._commits.get(key)
        if known is None:
            await self.decided(target, deadline)
        else:
            await self._outcome(target, known, deadline, (SessionState.COMMITTING,))
        return target

    async def decided(self, target: UploadTarget, deadline: Deadline) -> Decision | None:
        """None: the session is open. A decision to COMMIT that is not done: only its own chunks are welcome ⚠.

        Raises what the session has become otherwise. "None" may be two seconds old; a decision never changes, but may
        be done since.
        """
        key = (target.tenant, target.session)
        known = self._commits.get(key)
        if known is not None:
            return known.record
        now = asyncio.get_running_loop().time()
        seen = self._undecided.get(key)
        if seen is not None and now - seen < DECISION_ABSENT_SECONDS:
            return None
        decision = await self._records.decision(*key, deadline)
        if decision is None:
            self._undecided.put(key, now)
            return None
        await self._outcome(target, decision, deadline, (SessionState.COMMITTING,))
        self._commits.put(key, decision)
        return decision.record

    async def confirm(self, target: UploadTarget, deadline: Deadline, *, mended: bool = False) -> SessionState:
        """Step 7, before an answer: decision.json absent, **then** session.json present ⚠. OPEN if so.

        Nothing is believed that could have changed: only a decision that was read before need not be read again.

        ``mended``: the stream sent nothing but chunks of the decision's own list, which its decision does not undo:
        then COMMITTING and COMMITTED are answered, too. Raises what happened instead; SessionNotFound if the session
        is gone.
        """
        key = (target.tenant, target.session)
        self._undecided.drop(key)
        decision = self._commits.get(key) or await self._records.decision(*key, deadline)
        if await self._records.session(*key, deadline) is None:
            self._targets.drop(key)
            self._commits.drop(key)
            raise SessionNotFound()  # whatever a decision says without its session ⚠
        if decision is None:
            return SessionState.OPEN
        welcome = (SessionState.COMMITTING, SessionState.COMMITTED) if mended else ()
        return await self._outcome(target, decision, deadline, welcome)

    async def _outcome(
        self, target: UploadTarget, decision: Stored[Decision], deadline: Deadline, welcome: Collection[SessionState]
    ) -> SessionState:
        """The session's state if it is ``welcome``, else the refusal. The other records are read in C1's order ⚠.

        The decision itself is not: once read it stands, and in the end session.json is read again. So a purge that
        takes one after the other from under this can't make a decided session look open.
        """
        key = (target.tenant, target.session)
        self._undecided.drop(key)
        state = (await self._records.snapshot(*key, deadline, decision=decision)).records.state
        if state is not None and state in welcome:
            return state
        self._commits.drop(key)
        if state is None:
            self._targets.drop(key)
        raise refusal(state)
