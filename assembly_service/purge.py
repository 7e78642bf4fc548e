"""What goes, and in which order (protocol.md section 7, W2, W3, W6). Each step is confirmed before the next ⚠.

No object is deleted here: an aborted or expired session has none, and an object without records is left alone ⚠.
"""

from __future__ import annotations

from datetime import datetime

from assembly_service.confirmed import abort_confirmed, delete_all_confirmed, delete_confirmed
from assembly_service.events import Events
from assembly_service.retention import Retention
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import SessionRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


class Purge:
    """Removes what is left of sessions that came to nothing."""

    def __init__(self, store: RetryingStore, records: SessionRecords, *, events: Events, retention: Retention) -> None:
        self._store = store
        self._records = records
        self._events = events
        self._retention = retention

    async def undone(
        self, tenant: Tenant, record: SessionRecord, since: datetime, deadline: Deadline
    ) -> datetime | None:
        """W2, and then W3: a session whose decision is not COMMIT, or whose commit is LOST.

        Parts and receipts go at once; the records that answer for the outcome once ``since`` (Last-Modified of
        decision.json, or of a LOST's done.json) is older than the outcome retention. Answers that moment while it is
        still to come, None when all is gone.
        """
        session = SessionId(record.session_id)
        multipart = await self._records.multipart(tenant, session, deadline)
        if multipart is not None:
            await abort_confirmed(self._store, record.key, multipart.record.upload_id, deadline)
        receipts = await delete_all_confirmed(self._store, keys.receipts_prefix(tenant, session), deadline)
        if receipts:
            self._events.note("parts and receipts purged", tenant=tenant, session_id=session, receipts=receipts)
        due = since + self._retention.outcome
        if self._store.now() <= due:
            return due
        for name in (keys.MULTIPART, keys.SESSION, keys.DONE):  # ⚠ in this order: see SessionRecords.snapshot
            await delete_confirmed(self._store, keys.record(tenant, session, name), deadline)
        await self.gone(tenant, session, deadline)
        return None

    async def gone(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> None:
        """W3 and W6: whatever there is of a session whose session.json is gone; the decision last of all ⚠ (I11).

        session.json is written first and never again, so nothing of this can ever count. What is left is a purge cut
        short, or what a writer who had stalled left behind one. Its key was the session's own: every upload goes.
        """
        async for upload in self._store.list_uploads_all(keys.own_object_prefix(tenant, session), deadline):
            await abort_confirmed(self._store, upload.key, upload.upload_id, deadline)
        decision = keys.record(tenant, session, keys.DECISION)
        await delete_all_confirmed(self._store, keys.session_prefix(tenant, session), deadline, but=decision)
        await delete_confirmed(self._store, decision, deadline)
        self._events.note("records purged", tenant=tenant, session_id=session)
