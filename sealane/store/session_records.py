"""A session's records in the store: read in the orders that the protocol demands, written once.

Both services read session, decision and done by key (protocol.md section 3); who may *write* which is theirs to keep.
Two rules of reading live here and nowhere else:

* a decision counts only if session.json was read **after** it and is there ⚠ (:meth:`SessionRecords.snapshot`);
* the four records of C1 are read in the order session, deleted, done, decision ⚠ (:meth:`SessionRecords.snapshot`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sealane.domain.decision import Decision, Outcome, Records
from sealane.domain.errors import BadRecord
from sealane.domain.errors import OutcomeUnknown as OutcomeNotKnown
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import (
    DeletedRecord,
    DoneRecord,
    LostRecord,
    MultipartRecord,
    RequestRecord,
    SessionRecord,
    parse_done,
)
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey, OutcomeUnknown, PreconditionFailed
from sealane.store.retry import RetryingStore

R = TypeVar("R")

LARGE_BYTES = 256 << 10
"""A longer decision is parsed off the event loop: one of 10,000 parts takes more than 100 ms."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[R]):
    """A record as it was read, and when the store says it was written."""

    record: R
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The records of one session, read in C1's order."""

    session: Stored[SessionRecord] | None
    deleted: Stored[DeletedRecord] | None = None
    done: Stored[DoneRecord | LostRecord] | None = None
    decision: Stored[Decision] | None = None

    @property
    def records(self) -> Records:
        return Records(
            session=self.session.record if self.session else None,
            deleted=self.deleted.record if self.deleted else None,
            done=self.done.record if self.done else None,
            decision=self.decision.record if self.decision else None,
        )


class SessionRecords:
    """Reads and writes records by key. Store errors are the port's; a record that can't be read is BadRecord."""

    def __init__(self, store: RetryingStore) -> None:
        self._store = store

    async def _read(self, key: str, parse: Callable[[bytes], R], deadline: Deadline) -> Stored[R] | None:
        try:
            found = await self._store.get(key, deadline)
        except NoSuchKey:
            return None
        return Stored(parse(found.body), found.last_modified)

    async def session(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Stored[SessionRecord] | None:
        stored = await self._read(keys.record(tenant, session, keys.SESSION), SessionRecord.parse, deadline)
        if stored is not None:
            _require_own(session, stored.record.session_id)
            if stored.record.key != keys.key_of(tenant, stored.record):
                raise BadRecord(private=f"session.json of {session} names a key that is not its own")  # I12
        return stored

    async def multipart(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Stored[MultipartRecord] | None:
        stored = await self._read(keys.record(tenant, session, keys.MULTIPART), MultipartRecord.parse, deadline)
        if stored is not None:
            _require_own(session, stored.record.session_id)
        return stored

    async def decision(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Stored[Decision] | None:
        """decision.json alone. It counts for nothing until session.json is read after it: see :meth:`decided`."""
        try:
            found = await self._store.get(keys.record(tenant, session, keys.DECISION), deadline)
        except NoSuchKey:
            return None
        if len(found.body) > LARGE_BYTES:
            decision = await asyncio.get_running_loop().run_in_executor(None, Decision.parse, found.body)
        else:
            decision = Decision.parse(found.body)
        _require_own(session, decision.session_id)
        return Stored(decision, found.last_modified)

    async def done(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> Stored[DoneRecord | LostRecord] | None:
        stored = await self._read(keys.record(tenant, session, keys.DONE), parse_done, deadline)
        if stored is not None:
            _require_own(session, stored.record.session_id)
        return stored

    async def deleted(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Stored[DeletedRecord] | None:
        stored = await self._read(keys.record(tenant, session, keys.DELETED), DeletedRecord.parse, deadline)
        if stored is not None:
            _require_own(session, stored.record.session_id)
        return stored

    async def request(self, tenant: Tenant, request_id: str, deadline: Deadline) -> Stored[RequestRecord] | None:
        return await self._read(keys.request_record(tenant, request_id), RequestRecord.parse, deadline)

    async def snapshot(
        self,
        tenant: Tenant,
        session: SessionId,
        deadline: Deadline,
        *,
        decision: Stored[Decision] | None = None,
        state_only: bool = False,
    ) -> Snapshot:
        """C1: session, deleted, done, decision, **in that order** ⚠, and session again if there is a decision.

        The order is that of the purge turned round (W2, W5 delete session.json before done.json before decision.json):
        whoever sees session.json first can't then miss a done.json that the purge has not reached.

        ``decision``: the session's own, read before; it never changes, so it is not read again. ``state_only``: no
        decision where deleted.json or done.json says the state without it; it may have 10,000 parts.
        """
        found = await self.session(tenant, session, deadline)
        if found is None:
            return Snapshot(None)
        deleted = await self.deleted(tenant, session, deadline)
        done = await self.done(tenant, session, deadline)
        told = state_only and (deleted is not None or done is not None)
        if decision is None and not told:
            decision = await self.decision(tenant, session, deadline)
        if (decision is not None or told) and await self.session(tenant, session, deadline) is None:
            return Snapshot(None)
        require_generation(found.record, done.record if done else None, decision.record if decision else None)
        return Snapshot(found, deleted, done, decision)

    async def put_session(self, tenant: Tenant, record: SessionRecord, deadline: Deadline) -> None:
        """session.json, once. PreconditionFailed and OutcomeUnknown go to the caller, who takes another id ⚠."""
        key = keys.record(tenant, SessionId(record.session_id), keys.SESSION)
        await self._store.put_if_absent(key, record.encode(), deadline)

    async def put_request(self, tenant: Tenant, request_id: str, record: RequestRecord, deadline: Deadline) -> None:
        """requests/…json, once. PreconditionFailed and OutcomeUnknown go to the caller, who reads it."""
        await self._store.put_if_absent(keys.request_record(tenant, request_id), record.encode(), deadline)

    async def settle_decision(
        self, tenant: Tenant, session: SessionId, decision: Decision, deadline: Deadline
    ) -> Stored[Decision]:
        """PUT decision.json; answer the one that stands: ours, or the one that was there first. **Obey it.**

        After an unknown outcome: GET; a 404 is not final, for the PUT may land late: the same PUT again. At the
        deadline: OutcomeUnknown of the domain, never "failed" (section 6).
        """
        key = keys.record(tenant, session, keys.DECISION)
        return await self._settle(key, decision.encode(), lambda: self.decision(tenant, session, deadline), deadline)

    async def settle_multipart(
        self, tenant: Tenant, session: SessionId, record: MultipartRecord, deadline: Deadline
    ) -> Stored[MultipartRecord]:
        """PUT multipart.json; answer the one that stands. Abort your own upload only if this names another ⚠."""
        key = keys.record(tenant, session, keys.MULTIPART)
        return await self._settle(key, record.encode(), lambda: self.multipart(tenant, session, deadline), deadline)

    async def settle_done(
        self, tenant: Tenant, session: SessionId, record: DoneRecord | LostRecord, deadline: Deadline
    ) -> Stored[DoneRecord | LostRecord]:
        """PUT done.json; answer the one that stands."""
        key = keys.record(tenant, session, keys.DONE)
        return await self._settle(key, record.encode(), lambda: self.done(tenant, session, deadline), deadline)

    async def settle_deleted(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> Stored[DeletedRecord]:
        """PUT deleted.json; answer the one that stands. From here on W5 is all that happens to the session."""
        key = keys.record(tenant, session, keys.DELETED)
        record = DeletedRecord(session)
        return await self._settle(key, record.encode(), lambda: self.deleted(tenant, session, deadline), deadline)

    async def _settle(
        self, key: str, body: bytes, read: Callable[[], Awaitable[Stored[R] | None]], deadline: Deadline
    ) -> Stored[R]:
        return await settle(self._store, key, body, read, deadline)


async def settle(
    store: RetryingStore, key: str, body: bytes, read: Callable[[], Awaitable[Stored[R] | None]], deadline: Deadline
) -> Stored[R]:
    """Write ``key`` once, then read what stands, until something does: after 412 or an unknown outcome only that tells.

    Raises the domain's OutcomeUnknown at the deadline: written or not, and never "failed" (section 6).
    """
    pause = 0.05
    while True:
        with contextlib.suppress(PreconditionFailed, OutcomeUnknown):  # what stands decides, whoever wrote it
            await store.put_if_absent(key, body, deadline)
        try:
            standing = await read()
        except OutcomeUnknown as error:
            raise OutcomeNotKnown(private=f"{key}: written or not, it can't be read: {error.detail}") from error
        if standing is not None:
            return standing
        if pause >= deadline.remaining():
            raise OutcomeNotKnown(private=f"{key}: not there yet after an unknown PUT")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)


def require_generation(session: SessionRecord, done: DoneRecord | LostRecord | None, decision: Decision | None) -> None:
    """BadRecord unless what is committed is a generation exactly where the caller chose the key ⚠ (section 8)."""
    chosen = bool(session.chosen_key)
    if isinstance(done, DoneRecord) and bool(done.generation) != chosen:
        raise BadRecord(private=f"done.json of {session.session_id}: generation {done.generation}")
    if decision is not None and decision.outcome is Outcome.COMMIT and bool(decision.generation) != chosen:
        raise BadRecord(private=f"decision.json of {session.session_id}: generation {decision.generation}")


def _require_own(session: SessionId, named: str) -> None:
    if named != session:
        raise BadRecord(private=f"a record of session {session} names session {named!r}")
