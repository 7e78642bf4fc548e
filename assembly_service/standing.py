"""C1: where a session stands for a caller who comes with commit parameters (protocol.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from sealane.domain.decision import CommitParameters, Decision, DuplicateAnswer, refusal
from sealane.domain.errors import SessionNotFound, SessionSealed
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords, Snapshot, Stored


@dataclass(frozen=True, slots=True)
class Standing:
    """A session that these parameters fit: OPEN (no decision), COMMITTING, COMMITTED (``done``) or DUPLICATE."""

    session: SessionRecord
    decision: Stored[Decision] | None = None
    done: DoneRecord | None = None
    duplicate: DuplicateAnswer | None = None

    @property
    def state(self) -> SessionState:
        if self.duplicate is not None:
            return SessionState.DUPLICATE
        if self.done is not None:
            return SessionState.COMMITTED
        return SessionState.OPEN if self.decision is None else SessionState.COMMITTING


def stand(found: Snapshot, parameters: CommitParameters) -> Standing:
    """Where the session stands for ``parameters``; raises what it has become if that is something else.

    SessionNotFound if it is gone or deleted; SessionLost whatever the parameters; SessionSealed if it is committed, or
    being committed, with other parameters; SessionAborted, SessionExpired. No caller made a tombstone session (section
    7), and none has to do with one.
    """
    if found.session is None or found.deleted is not None or found.session.record.tombstone:
        raise SessionNotFound
    record = found.session.record
    if found.done is not None and isinstance(found.done.record, DoneRecord):
        done = found.done.record
        # The parameters first, then the answer. Count and size say each other, for chunk_size is the session's.
        if not CommitParameters(-(-done.size // record.chunk_size), done.size, done.blake3).same(parameters):
            raise SessionSealed(state=SessionState.COMMITTED)
        return Standing(record, found.decision, done)
    state = found.records.state
    if state is SessionState.OPEN:
        return Standing(record)
    if found.decision is not None and state in (SessionState.COMMITTING, SessionState.DUPLICATE):
        decided = found.decision.record.parameters
        if decided is None or not decided.same(parameters):
            raise SessionSealed(state=state)
        return Standing(record, found.decision, duplicate=found.decision.record.answer)
    raise refusal(state)


async def read_session_last(
    records: SessionRecords, tenant: Tenant, session: SessionId, deadline: Deadline
) -> Snapshot:
    """C1's records as far as the state needs them, with session.json read last whatever was found ⚠.

    "No decision" means OPEN only while session.json is there, for a purge takes the decision last of all.
    """
    found = await records.snapshot(tenant, session, deadline, state_only=True)
    if (found.decision or found.done or found.deleted) is None and await records.session(
        tenant, session, deadline
    ) is None:
        return Snapshot(None)
    return found
