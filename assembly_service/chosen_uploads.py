"""W6 at keys that callers chose: which multipart uploads no session can still finish (protocol.md section 7).

Many sessions may name one key, so the key says nothing of whose an upload is; and a session whose multipart.json is not
there yet may be about to write it. Therefore ⚠: **list the uploads first, then read every session that names the key**;
an upload goes only if each of them has a multipart.json that names another, or a decision other than COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from assembly_service.retention import Retention
from sealane.domain.decision import Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedUpload
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords

MAX_UPLOADS = 10_000
"""Judged in one pass, as they are kept in memory, some 500 bytes each; the next pass begins behind them."""


class ChosenUploads:
    """One pass over the uploads at chosen keys: :meth:`list`, then :meth:`session` for **every** session that a LIST
    begun after that shows without done.json, then :meth:`orphans`.

    A session with done.json can finish nothing any more: its own upload was completed, or was lost. A session that is
    purged meanwhile can't either. A session.json is older than its uploads, so the later LIST shows it (R1).
    """

    def __init__(self, store: RetryingStore, records: SessionRecords, *, retention: Retention) -> None:
        self._store = store
        self._records = records
        self._retention = retention
        self._uploads: dict[str, dict[str, ListedUpload]] = {}

    async def list(
        self, prefix: str, *, page_seconds: float, min_age: timedelta | None = None, after: str | None = None
    ) -> str | None:
        """The uploads under ``prefix`` at keys that callers may have chosen, from the cursor ``after`` on. Answers the
        cursor behind the last, to begin the next pass with; None at the end.

        Those younger than ``min_age`` (or the grace) are left for another pass: their sessions have hardly begun. No
        safety rests on that.
        """
        min_age = self._retention.grace if min_age is None else min_age
        cursor = after
        count = 0
        while count < MAX_UPLOADS:
            page = await self._store.list_uploads(prefix, Deadline.after(page_seconds), cursor=cursor)
            ripe = self._store.now() - min_age
            for upload in page.uploads:
                if upload.initiated <= ripe and keys.parse_chosen_key(upload.key) is not None:
                    self._uploads.setdefault(upload.key, {})[upload.upload_id] = upload
                    count += 1
            cursor = page.cursor
            if cursor is None:
                return None
        return cursor

    def __bool__(self) -> bool:
        """Whether there is anything left to judge."""
        return bool(self._uploads)

    async def session(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> None:
        """Spare what this session may still finish. A session that can't be read spares its tenant's uploads, all."""
        try:
            await self._session(tenant, session, deadline)
        except Exception:  # re-raised; a bug, too, or want of memory: whoever goes on behind it must not abort ⚠
            for key in [key for key in self._uploads if key.startswith(f"{tenant}/")]:
                del self._uploads[key]
            raise

    async def _session(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> None:
        found = await self._records.session(tenant, session, deadline)
        if found is None or found.record.key not in self._uploads:
            return
        decision = await self._records.decision(tenant, session, deadline)
        if decision is not None and decision.record.outcome is not Outcome.COMMIT:
            return
        multipart = await self._records.multipart(tenant, session, deadline)
        if multipart is None:
            self._uploads.pop(found.record.key, None)  # absent proves nothing: it may come to name any of them
        else:
            self._uploads.get(found.record.key, {}).pop(multipart.record.upload_id, None)

    def orphans(self) -> Iterator[tuple[Tenant, ListedUpload]]:
        """What no session can finish."""
        for key, uploads in self._uploads.items():
            chosen = keys.parse_chosen_key(key)
            if chosen is not None:
                for upload in uploads.values():
                    yield chosen[0], upload
