"""W6: what belongs to no session - uploads that nobody completes, and what the probe of a killed process left.

Records without a session.json are the other half of W6; the patrol meets them in its listing (:mod:`.patrol`).
An object is never deleted here, whatever its records ⚠.
"""

from __future__ import annotations

from datetime import datetime

from assembly_service.chosen_uploads import ChosenUploads
from assembly_service.confirmed import abort_confirmed, delete_confirmed
from assembly_service.events import Events
from assembly_service.retention import Retention
from assembly_service.statistics import Statistics
from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedUpload, NoSuchUpload
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


class Orphans:
    """Judges single uploads, and single objects of probes."""

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

    async def upload(self, upload: ListedUpload, deadline: Deadline) -> bool:
        """Abort ``upload`` if it is certain that no commit can ever name it; answer whether it was.

        At a key of its own: session.json gone → aborted. Else only if multipart.json **is there and names another**:
        absent proves nothing, for its writer may be about to write it ⚠. A probe's, once no probe can still run.
        At a chosen key: see :mod:`.chosen_uploads`. Other keys are not ours to judge.
        """
        if upload.key.startswith(keys.PROBE):
            if not self._left_behind(upload.initiated):
                return False
            await self._abort(upload, deadline)
            return True
        owner = keys.parse_object_key(upload.key)
        if owner is None or not await self.is_orphan(owner.tenant, owner.session, upload.upload_id, deadline):
            return False
        await self._abort(upload, deadline)
        self._events.note("orphaned upload aborted", tenant=owner.tenant, session_id=owner.session)
        return True

    def at_chosen_keys(self) -> ChosenUploads:
        """A new pass over those."""
        return ChosenUploads(self._store, self._records, retention=self._retention)

    async def chosen(self, tenant: Tenant, upload: ListedUpload, deadline: Deadline) -> None:
        """Abort an upload that a whole pass has found no session for."""
        await self._abort(upload, deadline)
        self._events.note("orphaned upload at a chosen key aborted", tenant=tenant, key=upload.key)

    async def scratch(self, key: str, last_modified: datetime, deadline: Deadline) -> bool:
        """Delete an object under :data:`keys.PROBE` that its probe left behind; answer whether it was.

        A probe removes what it wrote, unless its process is killed; nobody else knows the random name in its keys.
        """
        if not self._left_behind(last_modified):
            return False
        self._statistics.orphans_found["scratch"] += 1
        await delete_confirmed(self._store, key, deadline)
        self._statistics.orphans_removed["scratch"] += 1
        return True

    async def _abort(self, upload: ListedUpload, deadline: Deadline) -> None:
        """How much it held is counted before, so that what can't be removed shows."""
        try:
            parts = await self._store.list_parts_all(upload.key, upload.upload_id, deadline)
        except NoSuchUpload:
            parts = []
        size = sum(part.size for part in parts)
        counted = self._statistics
        counted.orphans_found["upload"] += 1
        counted.orphan_bytes += size
        await abort_confirmed(self._store, upload.key, upload.upload_id, deadline)
        counted.orphans_removed["upload"] += 1
        counted.orphan_bytes_removed += size
        counted.orphan_bytes = max(0, counted.orphan_bytes - size)

    def _left_behind(self, written: datetime) -> bool:
        return self._store.now() > written + self._retention.probe

    async def is_orphan(self, tenant: Tenant, session: SessionId, upload_id: str, deadline: Deadline) -> bool:
        """W6, of an upload at this session's own key."""
        multipart = await self._records.multipart(tenant, session, deadline)
        if await self._records.session(tenant, session, deadline) is None:
            return True
        return multipart is not None and multipart.record.upload_id != upload_id
