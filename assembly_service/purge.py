"""What goes, and in which order (protocol.md section 7, W2, W3, W5, W6). Each step is confirmed before the next ⚠.

The one object that is ever deleted is that of a session with deleted.json, at a key of its own, and only if its token
says whose it is ⚠.
"""

from __future__ import annotations

from datetime import datetime

from assembly_service.confirmed import abort_confirmed, delete_all_confirmed, delete_confirmed
from assembly_service.events import Events
from assembly_service.removal import Kind, Removed
from assembly_service.retention import Retention
from assembly_service.statistics import Ending, Statistics
from sealane.domain.errors import BadRecord
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import SessionRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


class Purge:
    """Removes what is left of sessions that came to nothing, or that were deleted.

    ``removed`` counts what went, for a caller who wants to know.
    """

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        events: Events,
        retention: Retention,
        statistics: Statistics,
    ) -> None:
        self._statistics = statistics
        self._store = store
        self._records = records
        self._events = events
        self._retention = retention

    async def undone(
        self,
        tenant: Tenant,
        record: SessionRecord,
        since: datetime,
        deadline: Deadline,
        *,
        at_once: bool = False,
        removed: Removed | None = None,
    ) -> datetime | None:
        """W2, and then W3: a session whose decision is not COMMIT, or whose commit is LOST.

        Parts and receipts go at once; the records that answer for the outcome once ``since`` (Last-Modified of
        decision.json, or of a LOST's done.json) is older than the outcome retention, or ``at_once``: nobody's safety
        rests on it. Answers that moment while it is still to come, None when all is gone.
        """
        session = SessionId(record.session_id)
        multipart = await self._records.multipart(tenant, session, deadline)
        if multipart is not None:
            await abort_confirmed(self._store, record.key, multipart.record.upload_id, deadline, removed=removed)
        receipts = await self._receipts(tenant, session, deadline, removed)
        if receipts:
            self._events.note("parts and receipts purged", tenant=tenant, session_id=session, receipts=receipts)
        due = since + self._retention.outcome
        if not at_once and self._store.now() <= due:
            return due
        await self._delete(tenant, session, keys.MULTIPART, deadline, removed)  # ⚠ in this order, see
        await self._delete(tenant, session, keys.SESSION, deadline, removed)  # SessionRecords.snapshot
        await self._delete(tenant, session, keys.DONE, deadline, removed)
        await self.gone(tenant, session, deadline, removed=removed)
        return None

    async def deleted(
        self, tenant: Tenant, record: SessionRecord, deadline: Deadline, *, removed: Removed | None = None
    ) -> None:
        """W5: a session with deleted.json. The object first, so that whoever finds no session finds no object.

        The order of the records is that of the reads turned round ⚠: until session.json is gone deleted.json says
        NOT_FOUND to everyone, and behind it nothing of the session counts. The decision goes last (I11).
        """
        session = SessionId(record.session_id)
        await self._object(tenant, record, deadline, removed)
        await self._receipts(tenant, session, deadline, removed)
        for name in (keys.MULTIPART, keys.SESSION, keys.DONE, keys.DELETED):
            await self._delete(tenant, session, name, deadline, removed)
        await self.gone(tenant, session, deadline, removed=removed)
        self._statistics.ended[Ending.DELETED] += 1

    async def gone(
        self, tenant: Tenant, session: SessionId, deadline: Deadline, *, removed: Removed | None = None
    ) -> None:
        """W3 and W6: whatever there is of a session whose session.json is gone; the decision last of all ⚠ (I11).

        session.json is written first and never again, so nothing of this can ever count. What is left is a purge cut
        short, or what a writer who had stalled left behind one. At a key of its own every upload goes; at a chosen key
        the one that multipart.json names, and others are judged by :mod:`.orphans`.
        """
        await self._named_upload(tenant, session, deadline, removed)
        async for upload in self._store.list_uploads_all(keys.own_object_prefix(tenant, session), deadline):
            await abort_confirmed(self._store, upload.key, upload.upload_id, deadline, removed=removed)
        decision = keys.record(tenant, session, keys.DECISION)
        prefix = keys.session_prefix(tenant, session)
        await delete_all_confirmed(self._store, prefix, deadline, but=decision, removed=removed)
        await delete_confirmed(self._store, decision, deadline, removed=removed)
        self._statistics.swept["purged"] += 1
        self._events.note("records purged", tenant=tenant, session_id=session)

    async def _object(self, tenant: Tenant, record: SessionRecord, deadline: Deadline, removed: Removed | None) -> None:
        """⚠ Only at a key of its own, which nobody else ever writes to: a DELETE has no fence, and may land late."""
        session = SessionId(record.session_id)
        if not record.key.startswith(keys.own_object_prefix(tenant, session)):
            return
        try:
            head = await self._store.head(record.key, deadline)
        except NoSuchKey:
            return
        if head.metadata.get(keys.TOKEN_METADATA) != record.token:
            self._events.alarm("the object of a deleted session is another's", tenant=tenant, session_id=session)
            return
        await delete_confirmed(self._store, record.key, deadline, removed=removed, kind=Kind.OBJECT)
        self._events.note("object deleted", tenant=tenant, session_id=session, size=head.size)

    async def _named_upload(
        self, tenant: Tenant, session: SessionId, deadline: Deadline, removed: Removed | None
    ) -> None:
        try:
            multipart = await self._records.multipart(tenant, session, deadline)
        except BadRecord:
            return  # it goes with the rest
        if multipart is not None and keys.parse_chosen_key(multipart.record.key, tenant) is not None:
            record = multipart.record
            await abort_confirmed(self._store, record.key, record.upload_id, deadline, removed=removed)

    async def _receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline, removed: Removed | None) -> int:
        prefix = keys.receipts_prefix(tenant, session)
        return await delete_all_confirmed(self._store, prefix, deadline, removed=removed)

    async def _delete(
        self, tenant: Tenant, session: SessionId, name: str, deadline: Deadline, removed: Removed | None
    ) -> None:
        await delete_confirmed(self._store, keys.record(tenant, session, name), deadline, removed=removed)
