"""What finishes a deletion at a chosen key, in place of C6 and C7 (protocol.md section 7; rules: docs/model.md).

A DELETE has no fence: one that was held up could hit the object of a later generation. So each one is signed as of a
moment **before** the HEAD that shows the target's object ⚠. Whatever is signed before done.json is refused by the store
long before the key may be claimed again (R6: 15 minutes; the next claim waits an hour).
"""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

from assembly_service.events import Events
from sealane.domain.decision import Decision
from sealane.domain.errors import InternalError, OutcomeUnknown, StoreUnavailable
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.store import keys, port
from sealane.store.backoff import RetryPolicy
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Stored

PROMPT = timedelta(minutes=1)
"""HEAD must follow the signature's moment so closely, or the moment is taken anew: a clock that was set, or a process
that stood still in between, never makes a signature that lives longer than R6 lets it."""


class Tombstones:
    """Finishes tombstone sessions whose decision is COMMIT. Any replica may, at any time, side by side with others."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        rng: random.Random,
        events: Events,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._rng = rng
        self._events = events
        self._policy = policy or RetryPolicy()

    async def finish(
        self, tenant: Tenant, session: SessionRecord, decision: Stored[Decision], deadline: Deadline
    ) -> DoneRecord:
        """Answers once the target's object is gone and done.json is durable.

        ``session.token`` is the **target's**. C5 is the caller's: ``session`` was read after ``decision`` ⚠.
        Raises OutcomeUnknown (at the deadline, or the store is away), StoreUnavailable (refused credentials),
        InternalError.
        """
        try:
            await self._delete(tenant, session, deadline)
            done = DoneRecord(
                session_id=session.session_id,
                etag="",
                size=0,
                blake3=bytes(32),
                committed_at=decision.last_modified,
                generation=decision.record.generation,
                tombstone=True,
            )
            standing = await self._records.settle_done(tenant, SessionId(session.session_id), done, deadline)
        except port.OutcomeUnknown as error:  # never "failed": the decision stands, and anyone can go on
            raise OutcomeUnknown(private=f"tombstone {session.session_id}: {error.detail}") from error
        if standing.record != done:
            raise InternalError(private=f"done.json of tombstone {session.session_id} is another's")
        return done

    async def _delete(self, tenant: Tenant, session: SessionRecord, deadline: Deadline) -> None:
        """Until a HEAD does not show the target: the last word is always a HEAD's, asked after the last DELETE ⚠."""
        failures = 0
        while True:
            signed_at = self._store.now()  # ⚠ before the HEAD; each repetition takes a new moment, and looks again
            if not await self._shows_target(session, deadline):
                return
            refused: port.StoreError | None = None
            if abs(self._store.now() - signed_at) < PROMPT:
                refused = await self._send(tenant, session, signed_at=signed_at, deadline=deadline)
                if refused is None and not failures:
                    failures += 1
                    continue
            failures += 1
            pause = self._policy.pause(failures, refused or port.OutcomeUnknown(), self._rng)
            if pause >= deadline.remaining():
                raise port.OutcomeUnknown("the object is still there") from refused
            await asyncio.sleep(pause)

    async def _shows_target(self, session: SessionRecord, deadline: Deadline) -> bool:
        """⚠ Only an object with the target's token: any other is a later generation's, and the target is gone."""
        try:
            head = await self._store.head(session.key, deadline)
        except port.NoSuchKey:
            return False
        return head.metadata.get(keys.TOKEN_METADATA) == session.token

    async def _send(
        self, tenant: Tenant, session: SessionRecord, *, signed_at: datetime, deadline: Deadline
    ) -> port.StoreError | None:
        """One DELETE. Answers how it failed, if a look at the object says what next; raises if only an operator can."""
        try:
            await self._store.delete_once(session.key, deadline, signed_at=signed_at)
        except port.ClockSkewed as error:
            return error
        except port.AccessDenied as error:
            self._alarm("a deletion is refused by the store: 403", tenant, session, error)
            raise StoreUnavailable(private=f"DELETE of {session.session_id}: 403: {error.detail}") from error
        except (port.OutcomeUnknown, port.WriteConflict) as error:
            return error
        except port.StoreError as error:
            self._alarm("a deletion is refused by the store", tenant, session, error)
            raise InternalError(private=f"DELETE of {session.session_id}: {error.detail}") from error
        self._events.note("object deleted by a tombstone", tenant=tenant, session_id=session.session_id)
        return None

    def _alarm(self, event: str, tenant: Tenant, session: SessionRecord, error: port.StoreError) -> None:
        facts = {"kind": type(error).__name__, "detail": error.detail}
        self._events.alarm(event, tenant=tenant, session_id=session.session_id, **facts)
