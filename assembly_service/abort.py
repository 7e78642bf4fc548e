"""AbortSession: gives a session up, unless the decision to commit came first. Purging is the sweeper's."""

from __future__ import annotations

from assembly_service.statistics import Ending, Statistics
from sealane.domain.decision import Decision, Outcome, Records, refusal
from sealane.domain.errors import OutcomeUnknown, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.states import SessionState
from sealane.store import port
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords


class Aborter:
    """Aborts sessions."""

    def __init__(self, records: SessionRecords, statistics: Statistics) -> None:
        self._records = records
        self._statistics = statistics

    async def abort(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> SessionState:
        """ABORTED, or EXPIRED if that came first. Idempotent.

        Raises SessionNotFound, SessionSealed (COMMIT stands), SessionLost, and OutcomeUnknown: repeat the request.
        """
        found = await self._records.session(tenant, session, deadline)
        if (
            found is None
            or found.record.tombstone
            or await self._records.deleted(tenant, session, deadline) is not None
        ):
            raise SessionNotFound
        done = await self._records.done(tenant, session, deadline)
        if done is not None:
            raise refusal(Records(found.record, done=done.record).state)
        try:
            standing = await self._records.settle_decision(tenant, session, Decision(session, Outcome.ABORT), deadline)
            # ⚠ A decision counts only if session.json is read after it: ours may have come behind a purge.
            if await self._records.session(tenant, session, deadline) is None:
                raise SessionNotFound
        except port.OutcomeUnknown as error:
            raise OutcomeUnknown(private=f"session {session}: {error.detail}") from error
        state = Records(found.record, decision=standing.record).state
        if state in (SessionState.ABORTED, SessionState.EXPIRED):
            self._statistics.ended[Ending.ABORTED] += state is SessionState.ABORTED
            return state
        raise refusal(state)
