"""The audit of multipart uploads: which of them can no session finish any more?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta

from assembly_service.audit_findings import AuditKind, Finding
from assembly_service.audit_walk import PAGE_SECONDS
from assembly_service.chosen_uploads import ChosenUploads
from assembly_service.orphans import Orphans
from sealane.domain.errors import BadRecord, SealaneError
from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedUpload, NoSuchUpload
from sealane.store.retry import RetryingStore


class UploadAudit:
    """One audit's look at the uploads. Made before the records are listed ⚠ (W6 at chosen keys)."""

    def __init__(self, store: RetryingStore, orphans: Orphans, tenant: Tenant) -> None:
        self._store = store
        self._orphans = orphans
        self._tenant = tenant
        self._chosen: ChosenUploads = orphans.at_chosen_keys()

    async def begin(self, deadline: Deadline) -> None:
        """List the uploads at chosen keys, before any session is listed."""
        page_seconds = deadline.cap(PAGE_SECONDS)
        await self._chosen.list(f"{self._tenant}/", page_seconds=page_seconds, min_age=timedelta(0))

    async def session(self, session: SessionId, deadline: Deadline) -> None:
        """A session without done.json: what it may still finish is no ghost."""
        if self._chosen:
            with suppress(SealaneError):  # told by the session's own audit; the uploads of its tenant are spared
                await self._chosen.session(self._tenant, session, deadline)

    async def findings(self, deadline: Deadline) -> AsyncGenerator[Finding, None]:
        """Every upload that is no living session's, once all sessions were seen."""
        async for upload in self._store.list_uploads_all(f"{self._tenant}/", deadline):
            if keys.parse_chosen_key(upload.key) is None and await self._is_ghost(upload, deadline):
                async for finding in self._there(upload, deadline):
                    yield finding
        for _, upload in self._chosen.orphans():
            async for finding in self._there(upload, deadline):
                yield finding

    async def abort(self, finding: Finding, deadline: Deadline) -> bool:
        """Abort it, if the sweeper may."""
        if finding.upload is None:
            return False
        if keys.parse_chosen_key(finding.upload.key) is not None:
            await self._orphans.chosen(self._tenant, finding.upload, deadline)
            return True
        return await self._orphans.upload(finding.upload, deadline)

    async def _is_ghost(self, upload: ListedUpload, deadline: Deadline) -> bool:
        """At a key of its own; any other key is nobody's."""
        owner = keys.parse_object_key(upload.key)
        if owner is None:
            return True
        try:
            return await self._orphans.is_orphan(owner.tenant, owner.session, upload.upload_id, deadline)
        except BadRecord:
            return False  # the session's own audit says that it can't be read

    async def _there(self, upload: ListedUpload, deadline: Deadline) -> AsyncGenerator[Finding, None]:
        """The finding, if the upload has not gone with its session since it was listed."""
        owner = keys.parse_object_key(upload.key)
        try:
            parts = await self._store.list_parts_all(upload.key, upload.upload_id, deadline)
        except NoSuchUpload:
            return
        yield Finding(
            AuditKind.UPLOAD_WITHOUT_SESSION,
            "A multipart upload that no session can finish: the sweeper aborts it.",
            upload.initiated,
            session=owner.session if owner else "",
            key=upload.key,
            size=sum(part.size for part in parts),
            upload=upload,
        )
