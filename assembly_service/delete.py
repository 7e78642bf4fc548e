"""DeleteSession: a session and all that it has, confirmed step by step (protocol.md section 7).

What the sweeper would do some day is done now, in the same order and by the same code, and answered once the store
says that it is done. A crash anywhere leaves what the sweeper, or the same request again, goes on with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from assembly_service.purge import Purge
from assembly_service.removal import Removed
from assembly_service.roll_forward import RollForward
from assembly_service.standing import read_session_last
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import InternalError, OutcomeUnknown, SessionLost, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot

_STEPS = 6
"""OPEN → (another's) COMMITTING → COMMITTED → DELETED → gone is the longest way; one more for whoever comes between."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What the session became, and what this call removed."""

    state: SessionState
    removed: Removed


class KeyRelease(Protocol):
    """Deletes the object of a committed session at a key that its caller chose."""

    async def release(self, tenant: Tenant, target: Snapshot, removed: Removed, deadline: Deadline) -> None:
        """Return once a later generation holds the key, and the object of this one can never be seen again."""
        ...


class Deleter:
    """Deletes sessions. Any number of calls may delete one session at once, beside commits, aborts and sweepers."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        roll_forward: RollForward,
        purge: Purge,
        release: KeyRelease,
    ) -> None:
        self._store = store
        self._records = records
        self._roll_forward = roll_forward
        self._purge = purge
        self._release = release

    async def delete(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Deletion:
        """Remove the session; answers once nothing of it is left.

        Answers what it became: DELETED if it was committed, else ABORTED, EXPIRED, DUPLICATE or LOST.
        Raises SessionNotFound: there is nothing (left); ChunkNeeded: the commit is decided, and waits for the client
        to mend it; DeleteUnsupported; OutcomeUnknown: repeat the request; InternalError.
        """
        try:
            return await self._delete(tenant, session, deadline)
        except port.OutcomeUnknown as error:
            raise OutcomeUnknown(private=f"delete of {session}: {error.detail}") from error

    async def _delete(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Deletion:
        removed = Removed()
        became: SessionState | None = None
        for _ in range(_STEPS):
            found = await read_session_last(self._records, tenant, session, deadline)
            if found.session is not None and found.session.record.tombstone:
                raise SessionNotFound  # no caller made it, and none removes it
            if found.session is None:
                # The caller is told that nothing is left: so nothing of a removal that was cut short may be.
                if await self._anything_left(tenant, session, deadline):
                    await self._purge.gone(tenant, session, deadline, removed=removed)
                if became is None:
                    raise SessionNotFound
                return Deletion(became, removed)
            match found.records.state:
                case SessionState.OPEN:
                    abort = Decision(session, Outcome.ABORT)
                    await self._records.settle_decision(tenant, session, abort, deadline)
                case SessionState.COMMITTING if found.decision is not None:  # it can't be stopped any more
                    await self._finish(tenant, found, deadline)
                case SessionState.COMMITTED:
                    became = SessionState.DELETED
                    await self._mark(tenant, found, removed, deadline)
                case SessionState.DELETED:
                    became = SessionState.DELETED
                    await self._purge.deleted(tenant, found.session.record, deadline, removed=removed)
                case SessionState.ABORTED | SessionState.EXPIRED | SessionState.DUPLICATE | SessionState.LOST as state:
                    became = state
                    record, since = found.session.record, found.session.last_modified
                    await self._purge.undone(tenant, record, since, deadline, at_once=True, removed=removed)
                case _:
                    break
        raise InternalError(private=f"session {session} never ended while it was deleted: {found.records.state}")

    async def _anything_left(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> bool:
        """A record, a receipt, or an upload at the session's own key: one that began late has no record beside it."""
        if (await self._store.list_objects(keys.session_prefix(tenant, session), deadline, limit=1)).objects:
            return True
        async for _ in self._store.list_uploads_all(keys.own_object_prefix(tenant, session), deadline):
            return True
        return False

    async def _finish(self, tenant: Tenant, found: Snapshot, deadline: Deadline) -> None:
        """COMMITTING → COMMITTED, or LOST: then there is no object, and the records go as those of an abort."""
        assert found.session is not None
        assert found.decision is not None
        try:
            await self._roll_forward.finish(tenant, found.session.record, found.decision, deadline)
        except (SessionLost, SessionNotFound):
            return  # the next look says which

    async def _mark(self, tenant: Tenant, found: Snapshot, removed: Removed, deadline: Deadline) -> None:
        """COMMITTED → DELETED. At a chosen key the object goes first, by a later generation ⚠: W5 leaves it alone."""
        assert found.session is not None
        record: SessionRecord = found.session.record
        if not record.key.startswith(keys.own_object_prefix(tenant, SessionId(record.session_id))):
            await self._release.release(tenant, found, removed, deadline)
        await self._records.settle_deleted(tenant, SessionId(record.session_id), deadline)
