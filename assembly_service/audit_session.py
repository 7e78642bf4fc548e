"""The audit of one session: do its records, its receipts and its object fit together? Reads only.

LIST gave the hint; what is found is read again before it is told, for the session went on meanwhile. Everything that
is read here is younger than the LIST, and the protocol makes it so: an object that was listed had its decision before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

from assembly_service.audit_findings import AuditKind, Finding
from assembly_service.audit_walk import Heap, SessionInStore
from assembly_service.claims import Claims
from assembly_service.confirmed import upload_exists
from assembly_service.events import Events
from assembly_service.retention import Retention
from assembly_service.standing import read_session_last
from sealane.domain.claims import Standing
from sealane.domain.errors import BadRecord
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey, ObjectHead
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot

_WITH_OBJECT = (SessionState.COMMITTING, SessionState.COMMITTED, SessionState.DELETED)


class SessionAudit:
    """Looks at single sessions. ``slack``: how late a sweeper that reads done sessions rarely may be."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        claims: Claims,
        events: Events,
        retention: Retention,
        slack: timedelta,
    ) -> None:
        self._store = store
        self._records = records
        self._claims = claims
        self._events = events
        self._retention = retention
        self._slack = slack

    async def look(
        self, tenant: Tenant, listed: SessionInStore, min_age: timedelta, deadline: Deadline
    ) -> list[Finding]:
        """What does not fit, however young. Raises the port's errors; what can't be read is a finding."""
        session = listed.session
        found: list[Finding] = []
        text = "Among the receipts there are keys that are none: coverage and commit refuse the session."
        found += _heap(AuditKind.BAD_RECORD, text, session, listed.bad_receipts)
        try:
            snapshot = await read_session_last(self._records, tenant, session, deadline)
            if snapshot.session is None:
                found += await self._without_session(tenant, listed, deadline)
            else:
                found += await self._with_session(tenant, listed, snapshot, min_age, deadline)
        except BadRecord as error:
            self._events.note("a record can't be read", tenant=tenant, session_id=session, detail=error.private)
            newest = max((record.last_modified for record in listed.records.values()), default=self._store.now())
            text = "A record of the session can't be read, or contradicts another: it decides nothing (see the log)."
            found.append(Finding(AuditKind.BAD_RECORD, text, newest, session, keys.session_prefix(tenant, session)))
        return found

    # --- session.json is gone ---

    async def _without_session(self, tenant: Tenant, listed: SessionInStore, deadline: Deadline) -> list[Finding]:
        """What is there **now**: a purge may have gone on since the LIST."""
        session = listed.session
        found: list[Finding] = []
        if listed.keys > len(listed.objects):
            fresh = await self._fresh(tenant, session, deadline)
            if fresh.records:
                text = "Records of a session that has no session.json: they mean nothing, and the sweeper removes them."
                records = list(fresh.records.values())
                found.append(Finding.of(AuditKind.RECORD_WITHOUT_SESSION, text, records, session=session))
            text = "Receipts of a session that has no session.json: the sweeper removes them."
            found += _heap(AuditKind.RECEIPT_WITHOUT_SESSION, text, session, fresh.receipts)
        for listed_object in listed.objects:
            if await self._head(listed_object.key, deadline) is not None:
                text = "An object of a session that has no records: sealane never removes it."
                found.append(Finding.of(AuditKind.OBJECT_WITHOUT_RECORDS, text, [listed_object], session=session))
        return found

    async def _fresh(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> SessionInStore:
        fresh = SessionInStore(session)
        async for listed in self._store.list_all(keys.session_prefix(tenant, session), deadline):
            key = keys.parse_session_key(listed.key)
            if key is not None and key.rest in keys.RECORDS:
                fresh.records[key.rest] = listed
            elif key is not None and key.rest.startswith(keys.RECEIPTS):
                fresh.receipts.add(listed)
        return fresh

    # --- session.json is there ---

    async def _with_session(
        self, tenant: Tenant, listed: SessionInStore, found: Snapshot, min_age: timedelta, deadline: Deadline
    ) -> list[Finding]:
        assert found.session is not None
        record, state = found.session.record, found.records.state
        findings: list[Finding] = []
        accounted = record.key if state in _WITH_OBJECT else ""
        for listed_object in listed.objects:
            if listed_object.key != accounted and await self._head(listed_object.key, deadline) is not None:
                text = f"An object under the key of a session that is {state}, and accounts for none of that name."
                findings.append(
                    Finding.of(AuditKind.OBJECT_WITHOUT_RECORDS, text, [listed_object], session=listed.session)
                )
        if state is SessionState.COMMITTED and found.done is not None and isinstance(found.done.record, DoneRecord):
            findings += [finding async for finding in self._committed(tenant, record, found.done.record, deadline)]
        if state is SessionState.OPEN:
            findings += await self._open(tenant, record, listed, deadline)
        due = self._due(found)
        if due is not None and self._store.now() > due + min_age:
            written = (found.deleted or found.done or found.decision or found.session).last_modified
            text = f"The session is {state}, and what was due for it at {due:%Y-%m-%d %H:%M:%S} UTC has not happened."
            prefix = keys.session_prefix(tenant, listed.session)
            findings.append(Finding(AuditKind.SESSION_OVERDUE, text, written, listed.session, prefix))
        return findings

    async def _open(
        self, tenant: Tenant, record: SessionRecord, listed: SessionInStore, deadline: Deadline
    ) -> list[Finding]:
        """What has arrived is in the upload that multipart.json names, and has gone with it: a lifecycle rule of the
        bucket that ends uploads, say. The client is told at its next chunk or commit, hours later perhaps."""
        session = listed.session
        multipart = await self._records.multipart(tenant, session, deadline)
        newest = multipart.last_modified if multipart else listed.receipts.newest
        if newest is None:
            return []
        if multipart is not None and await upload_exists(self._store, record.key, multipart.record.upload_id, deadline):
            return []
        # Decided since? The upload goes behind a decision, and multipart.json with it.
        again = await read_session_last(self._records, tenant, session, deadline)
        if again.records.state is not SessionState.OPEN:
            return []
        text = "The store does not have the upload of an open session any more: what had arrived is lost."
        count = max(1, listed.receipts.count)
        return [Finding(AuditKind.UPLOAD_MISSING, text, newest, session, record.key, count)]

    def _due(self, found: Snapshot) -> datetime | None:
        """When the sweeper should have taken the session further; None if it may stay as it is for ever."""
        assert found.session is not None
        decided = (found.decision or found.session).last_modified
        match found.records.state:
            case SessionState.OPEN:
                ttl = timedelta(seconds=found.session.record.ttl)
                return found.session.last_modified + ttl + self._retention.grace
            case SessionState.COMMITTING:
                return decided
            case SessionState.ABORTED | SessionState.EXPIRED | SessionState.DUPLICATE:
                return decided + self._retention.outcome
            case SessionState.LOST if found.done is not None:
                return found.done.last_modified + self._retention.outcome + self._slack
            case SessionState.DELETED if found.deleted is not None:
                return found.deleted.last_modified
            case _:
                return None

    async def _committed(
        self, tenant: Tenant, record: SessionRecord, done: DoneRecord, deadline: Deadline
    ) -> AsyncIterator[Finding]:
        """The object must be there, and the session's own; or a later generation's, at a chosen key."""
        if done.tombstone:
            return
        session = SessionId(record.session_id)
        head = await self._head(record.key, deadline)
        if head is not None and head.metadata.get(keys.TOKEN_METADATA) == record.token:
            if head.size != done.size:
                text = f"The object has {head.size} bytes; the commit says {done.size}."
                yield Finding(AuditKind.BAD_RECORD, text, head.last_modified, session, record.key, size=head.size)
            return
        # Deleted or replaced since? The records again, behind the HEAD.
        again = await read_session_last(self._records, tenant, session, deadline)
        if again.records.state is not SessionState.COMMITTED:
            return
        if record.chosen_key and await self._later(tenant, record.chosen_key, done.generation, deadline):
            return
        what = "is not there" if head is None else "is another's"
        text = f"The object of a committed session {what}."
        yield Finding(
            AuditKind.OBJECT_MISSING,
            text,
            done.committed_at,
            session,
            record.key,
            size=done.size if head is None else 0,
        )

    async def _later(self, tenant: Tenant, object_key: str, generation: int, deadline: Deadline) -> bool:
        """True if a later generation is decided: its object, or its deletion, comes before its done.json."""
        log = await self._claims.log(tenant, object_key, deadline)
        for listed in reversed(log.claims):
            if listed.number <= generation:
                break
            claim = await self._claims.claim(tenant, object_key, listed.number, deadline)
            if claim.standing in (Standing.UNDONE, Standing.DONE):
                return True
        return False

    async def _head(self, key: str, deadline: Deadline) -> ObjectHead | None:
        try:
            return await self._store.head(key, deadline)
        except NoSuchKey:
            return None


def _heap(kind: AuditKind, text: str, session: SessionId, heap: Heap) -> Iterator[Finding]:
    """One finding for all of the heap; none if it is empty."""
    if heap.newest is not None:
        yield Finding(kind, text, heap.newest, session, heap.first, heap.count, heap.size)
