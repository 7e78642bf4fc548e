"""The multipart upload that a commit is going to complete: which one, and by which parts (C3, C4)."""

from __future__ import annotations

from collections.abc import Sequence

from assembly_service.confirmed import abort_confirmed
from assembly_service.mend import choose_receipt
from assembly_service.roll_forward import EMPTY_SHA256
from sealane.domain.blake3_tree import EMPTY_DIGEST
from sealane.domain.chunks import Receipt
from sealane.domain.errors import InternalError, SessionLost
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import MultipartRecord, SessionRecord
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


class Uploads:
    """Finds, or for an object without chunks makes, what the decision will name."""

    def __init__(self, store: RetryingStore, records: SessionRecords) -> None:
        self._store = store
        self._records = records

    async def to_complete(
        self, tenant: Tenant, record: SessionRecord, groups: Sequence[Sequence[Receipt]], deadline: Deadline
    ) -> tuple[str, list[Receipt]]:
        """(upload id, one receipt a part). ``groups`` are the receipts of each chunk, as C2–C4 let them pass.

        Raises SessionLost if the upload of an empty object is gone, InternalError if receipts stand without
        multipart.json: both are negative answers, to be confirmed before they are given.
        """
        if not groups:
            return await self._empty(tenant, record, deadline)
        stored = await self._records.multipart(tenant, SessionId(record.session_id), deadline)
        if stored is None:
            raise InternalError(private=f"session {record.session_id} has receipts and no multipart.json")
        upload_id = stored.record.upload_id
        receipts = [group[0] for group in groups]
        if any(group[0].etag != other.etag for group in groups for other in group[1:]):
            try:
                rows = await self._store.list_parts_all(record.key, upload_id, deadline)
            except port.NoSuchUpload:
                rows = []  # CMU will say so, and section 6 has the order in which that is believed
            receipts = [choose_receipt(group, rows) for group in groups]
        return upload_id, receipts

    async def _empty(self, tenant: Tenant, record: SessionRecord, deadline: Deadline) -> tuple[str, list[Receipt]]:
        """An object without chunks: one empty part. Never PutObject: that is not fenced by the upload."""
        upload_id = await self._ensure(tenant, record, deadline)
        try:
            etag = await self._store.upload_part(record.key, upload_id, 1, b"", deadline, sha256=EMPTY_SHA256)
        except port.NoSuchUpload as error:
            raise SessionLost(private=f"the upload of empty session {record.session_id} is gone") from error
        # No one reads its chaining value: an object without chunks has nothing to merge.
        return upload_id, [Receipt(0, 0, EMPTY_DIGEST, EMPTY_DIGEST, EMPTY_SHA256, etag)]

    async def _ensure(self, tenant: Tenant, record: SessionRecord, deadline: Deadline) -> str:
        """The upload id of multipart.json, made if need be.

        ⚠ After 412 or an unknown outcome what multipart.json names is used, and the own upload is aborted only when
        the record was **read** and names another.
        """
        session = SessionId(record.session_id)
        stored = await self._records.multipart(tenant, session, deadline)
        if stored is not None:
            return stored.record.upload_id
        own = await self._store.create_multipart(
            record.key,
            deadline,
            metadata={**record.metadata, keys.TOKEN_METADATA: record.token},
            content_type=record.content_type,
        )
        ours = MultipartRecord(session, own, record.key if record.chosen_key else "")
        standing = await self._records.settle_multipart(tenant, session, ours, deadline)
        if standing.record.upload_id != own:
            await abort_confirmed(self._store, record.key, own, deadline)
        return standing.record.upload_id
