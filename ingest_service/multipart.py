"""The session's one multipart upload: made at its first chunk, by whoever wins the race to write multipart.json.

Protocol.md section 4, step 5.
"""

from __future__ import annotations

import asyncio

from ingest_service.standing import UploadTarget
from sealane.bounded_cache import BoundedCache
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import MultipartRecord
from sealane.logs import get_logger
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import OutcomeUnknown, StoreError
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords

_log = get_logger(__name__)

CREATE_ATTEMPTS = 3
"""Each unanswered one may leave an upload without a record behind, which the sweeper aborts (W6)."""
FIRST_PAUSE_SECONDS = 0.25


class MultipartUploads:
    """Answers upload ids; the ``cached`` used last without a call."""

    def __init__(self, store: RetryingStore, records: SessionRecords, *, cached: int) -> None:
        self._store = store
        self._records = records
        self._ids: BoundedCache[tuple[Tenant, SessionId], str] = BoundedCache(cached)
        self._making: dict[tuple[Tenant, SessionId], asyncio.Lock] = {}

    async def ensure(self, target: UploadTarget, deadline: Deadline) -> str:
        """The id that multipart.json names. Store errors are the port's, or OutcomeUnknown of the domain."""
        key = (target.tenant, target.session)
        known = self._ids.get(key)
        if known is not None:
            return known
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:  # the chunks that arrive together in this process make one upload, not four
                return self._ids.get(key) or await self._find_or_make(target, deadline)
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    async def _find_or_make(self, target: UploadTarget, deadline: Deadline) -> str:
        key = (target.tenant, target.session)
        standing = await self._records.multipart(*key, deadline)
        if standing is None:
            ours = await self._create(target, deadline)
            record = MultipartRecord(target.session, ours, target.record.key if target.record.chosen_key else "")
            # After 412 or an unknown outcome this has READ what stands; if it can't, it raises, and ours is left ⚠.
            standing = await self._records.settle_multipart(*key, record, deadline)
            if standing.record.upload_id != ours:
                await self._abort_own(target, ours, deadline)
        self._ids.put(key, standing.record.upload_id)
        return standing.record.upload_id

    async def _create(self, target: UploadTarget, deadline: Deadline) -> str:
        record = target.record
        metadata = {**record.metadata, keys.TOKEN_METADATA: record.token}
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._store.create_multipart(
                    record.key, deadline, metadata=metadata, content_type=record.content_type
                )
            except OutcomeUnknown:
                pause = FIRST_PAUSE_SECONDS * 2**attempt
                if attempt >= CREATE_ATTEMPTS or pause >= deadline.remaining():
                    raise
            await asyncio.sleep(pause)

    async def _abort_own(self, target: UploadTarget, ours: str, deadline: Deadline) -> None:
        """Ours lost the race, and multipart.json was read and names another: the one abort that is ingest's ⚠."""
        try:
            await self._store.abort_multipart(target.record.key, ours, deadline)
        except StoreError as error:
            _log.warning("an upload that lost the race stays for the sweeper", error=type(error).__name__)
