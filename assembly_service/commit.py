"""CommitSession: C1–C8 of protocol.md section 5. Metadata alone: its cost is O(parts), whatever the object's size."""

from __future__ import annotations

from assembly_service.claiming import Claimant
from assembly_service.roll_forward import RollForward
from assembly_service.standing import Standing, stand
from assembly_service.statistics import Ending, Phase, Statistics
from assembly_service.upload import Uploads
from assembly_service.verify import Verifier
from sealane.domain.decision import CommitParameters, Decision
from sealane.domain.errors import InternalError, OutcomeUnknown, SealaneError, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot, Stored


class Committer:
    """Commits sessions. Any number of calls, on any replicas, may commit one session at once: all get one answer."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        verifier: Verifier,
        uploads: Uploads,
        claimant: Claimant,
        roll_forward: RollForward,
        statistics: Statistics,
    ) -> None:
        self._statistics = statistics
        self._bucket = store.bucket
        self._records = records
        self._verifier = verifier
        self._uploads = uploads
        self._claimant = claimant
        self._roll_forward = roll_forward

    async def commit(
        self, tenant: Tenant, session: SessionId, parameters: CommitParameters, deadline: Deadline
    ) -> CommittedObject:
        """Commit, or answer what the commit with these parameters has become. Idempotent.

        Raises SessionNotFound; InvalidSize, ChunkOutOfRange, CoverageIncomplete, ChunkConflict, DigestMismatch and at a
        chosen key GenerationMismatch, InvalidObjectKey, KeyCooling (all of which leave the session OPEN);
        SessionSealed, SessionAborted, SessionExpired, SessionLost; ChunkNeeded; PeerUnavailable; OutcomeUnknown (repeat
        the same request); InternalError; and the port's errors for reads before the decision.
        """
        phase = self._statistics.phase
        with phase(Phase.READ):
            found = await self._records.snapshot(tenant, session, deadline, state_only=True)  # C1
        standing = stand(found, parameters)
        if standing.state is SessionState.OPEN:
            if found.session is None:
                raise SessionNotFound
            standing = await self._decide(tenant, found.session, parameters, deadline)
        key = standing.session.key
        if standing.duplicate is not None:
            replayed = found.decision is not None
            self._statistics.ended[Ending.DUPLICATE] += not replayed
            return CommittedObject.of_duplicate(self._bucket, key, standing.duplicate, replayed=replayed)
        done = standing.done
        if done is None:
            if standing.decision is None:
                raise InternalError(private=f"session {session} is OPEN behind its own decision")
            with phase(Phase.FINISH):
                done = await self._roll_forward.finish(tenant, standing.session, standing.decision, deadline)
            self._statistics.ended[Ending.COMMITTED] += 1
        return CommittedObject.of(self._bucket, key, done, replayed=standing.done is not None)

    async def _decide(
        self, tenant: Tenant, found: Stored[SessionRecord], parameters: CommitParameters, deadline: Deadline
    ) -> Standing:
        """C2–C5 of an OPEN session: whose decision stands in the end, ours or another with the same parameters."""
        record, session = found.record, SessionId(found.record.session_id)
        phase = self._statistics.phase
        try:
            with phase(Phase.CHECK):
                groups = await self._verifier.check(tenant, session, record, parameters, deadline)
                upload_id, receipts = await self._uploads.to_complete(tenant, record, groups, deadline)
            decision = Decision.commit(session, parameters, upload_id, receipts)
            if record.chosen_key:  # section 8, between the checks and the decision
                with phase(Phase.CLAIM):
                    decision = await self._claimant.decision(tenant, found, decision, deadline)
        except SealaneError as error:
            return await self._verifier.before_refusing(tenant, session, parameters, error, deadline)
        try:
            with phase(Phase.DECIDE):
                standing = await self._records.settle_decision(tenant, session, decision, deadline)
                return await self._obey(tenant, session, standing, parameters, deadline)
        except port.OutcomeUnknown as error:  # from here on it may have happened
            raise OutcomeUnknown(private=f"session {session}: {error.detail}") from error

    async def _obey(
        self,
        tenant: Tenant,
        session: SessionId,
        decision: Stored[Decision],
        parameters: CommitParameters,
        deadline: Deadline,
    ) -> Standing:
        """C5: session.json again, **after** the decision ⚠; gone → NOT_FOUND, touch nothing."""
        found = await self._records.session(tenant, session, deadline)
        if found is None:
            raise SessionNotFound
        return stand(Snapshot(found, decision=decision), parameters)
