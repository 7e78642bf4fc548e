"""What one session is due for, whoever looks (protocol.md section 7, W1–W5 and W7). Only the store's clock counts.

Any number of replicas may sweep one session at once, and stall anywhere: every step either is idempotent or is decided
by the store.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from assembly_service.claims import Claims
from assembly_service.confirmed import delete_all_confirmed
from assembly_service.events import Events
from assembly_service.purge import Purge
from assembly_service.retention import Retention
from assembly_service.roll_forward import RollForward
from assembly_service.standing import read_session_last
from assembly_service.statistics import Ending, Statistics
from sealane.domain.decision import Decision, Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot

_STEPS = 4
"""OPEN → expired → purged is the longest way; one more for whoever comes between."""


class Sweep:
    """Takes single sessions as far as they can go."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        roll_forward: RollForward,
        purge: Purge,
        claims: Claims,
        events: Events,
        retention: Retention,
        statistics: Statistics,
    ) -> None:
        self._statistics = statistics
        self._claims = claims
        self._store = store
        self._records = records
        self._roll_forward = roll_forward
        self._purge = purge
        self._events = events
        self._retention = retention

    async def session(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> datetime | None:
        """Do what is due. Answers the store's time before which nothing more can be due, if that is known.

        Raises what a commit may raise (ChunkNeeded, SessionLost, …), BadRecord, and the port's errors.
        """
        for _ in range(_STEPS):
            found = await read_session_last(self._records, tenant, session, deadline)
            if found.session is None:
                await self._purge.gone(tenant, session, deadline)
                return None
            match found.records.state:
                case SessionState.OPEN:
                    record = found.session.record
                    expiry = found.session.last_modified + timedelta(seconds=record.ttl) + self._retention.grace
                    if self._store.now() <= expiry:
                        return expiry
                    await self._expire(tenant, session, deadline)
                case SessionState.COMMITTING if found.decision is not None:  # W4: never abort, never expire
                    await self._roll_forward.finish(tenant, found.session.record, found.decision, deadline)
                    self._statistics.swept["rolled_forward"] += 1
                    self._events.note("commit rolled forward", tenant=tenant, session_id=session)
                case SessionState.COMMITTED:
                    due = await self._replaced(tenant, found.session.record, found, deadline)
                    if due is not None and self._store.now() > due:
                        await self._records.settle_deleted(tenant, session, deadline)
                        continue
                    if due is not None:  # its receipts are gone long before, or go with the rest
                        return due
                    return await self._receipts(tenant, session, found, deadline)
                case SessionState.LOST | SessionState.ABORTED | SessionState.EXPIRED | SessionState.DUPLICATE:
                    since = (found.done or found.decision or found.session).last_modified
                    return await self._purge.undone(tenant, found.session.record, since, deadline)
                case SessionState.DELETED:  # W5: a delete that was cut short
                    await self._purge.deleted(tenant, found.session.record, deadline)
                    return None
                case _:
                    return None
        return None

    async def _expire(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> None:
        """W1. Whoever's decision stands is obeyed by the next look, which reads session.json behind it ⚠."""
        await self._records.settle_decision(tenant, session, Decision(session, Outcome.EXPIRE), deadline)
        self._statistics.swept["expired"] += 1
        self._statistics.ended[Ending.EXPIRED] += 1
        self._events.note("session older than its ttl", tenant=tenant, session_id=session)

    async def _replaced(
        self, tenant: Tenant, record: SessionRecord, found: Snapshot, deadline: Deadline
    ) -> datetime | None:
        """W7 at a chosen key ⚠: only once a **later** generation is done, and not LOST: the object is that one's.

        The store's time from which its records may go; None: no later generation has the key. A caller who lost the
        answer to the commit can ask for as long as after any other outcome; what a tombstone deleted goes at once.
        """
        done = found.done.record if found.done else None
        if not record.chosen_key or not isinstance(done, DoneRecord):
            return None
        later = await self._claims.replaced(tenant, record.chosen_key, done.generation, deadline)
        if later is None:
            return None
        return later.last_modified + (timedelta(0) if later.record.tombstone else self._retention.outcome)

    async def _receipts(
        self, tenant: Tenant, session: SessionId, found: Snapshot, deadline: Deadline
    ) -> datetime | None:
        """W7: a committed session keeps all but its receipts for as long as its object is there."""
        if found.done is None:
            return None
        due = found.done.last_modified + self._retention.receipts
        if self._store.now() <= due:
            return due
        await delete_all_confirmed(self._store, keys.receipts_prefix(tenant, session), deadline)
        return None
