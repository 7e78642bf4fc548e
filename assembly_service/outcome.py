"""GetCommit: what became of a session, from its records alone. Never a guess."""

from __future__ import annotations

from assembly_service.standing import read_session_last
from sealane.domain.errors import SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


class Outcomes:
    """Reads outcomes."""

    def __init__(self, store: RetryingStore, records: SessionRecords) -> None:
        self._bucket = store.bucket
        self._records = records

    async def outcome(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None]:
        """The state, and with COMMITTED and DUPLICATE the object. SessionNotFound: there is no such session (any more).

        A generation that a later one has replaced stays COMMITTED: it was, and nothing else can be said of it.
        """
        found = await read_session_last(self._records, tenant, session, deadline)
        state = found.records.state
        if found.session is None or state is None or found.session.record.tombstone:
            raise SessionNotFound
        committed = None
        answer = found.decision.record.answer if found.decision is not None else None
        if state is SessionState.DUPLICATE and answer is not None:
            committed = CommittedObject.of_duplicate(self._bucket, found.session.record.key, answer, replayed=True)
        if state is SessionState.COMMITTED and found.done is not None and isinstance(found.done.record, DoneRecord):
            key = found.session.record.key
            committed = CommittedObject.of(self._bucket, key, found.done.record, replayed=True)
        return state, committed
