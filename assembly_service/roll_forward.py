"""C5–C7: finish what a COMMIT decided. Any replica may, at any time, side by side with others (protocol.md section 5).

The decision carries all that is needed; not one byte of data is read or copied. What CompleteMultipartUpload (CMU) may
answer, and what follows from it, is the table of protocol.md section 6: :meth:`RollForward.finish` is that table.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from assembly_service.confirmed import abort_confirmed, upload_exists
from assembly_service.events import Events
from assembly_service.mend import Mending, mend, part_list
from assembly_service.retention import Retention
from assembly_service.statistics import Ending, Statistics
from sealane.domain.chunks import ChunkDigests
from sealane.domain.decision import CommitParameters, DecidedPart, Decision
from sealane.domain.errors import (
    ChunkNeeded,
    DeleteUnsupported,
    InternalError,
    OutcomeUnknown,
    SessionLost,
    SessionNotFound,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, LostRecord, SessionRecord
from sealane.store import keys, port
from sealane.store.backoff import RetryPolicy
from sealane.store.deadline import Deadline
from sealane.store.port import ObjectHead, Part, StoreError
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Stored

HEADS_BEFORE_LOST = 4
"""A CMU that another replica sent may be answered NoSuchUpload here before its object shows: look a few times."""
LOOK_SECONDS = 0.1
"""Between two of these looks, at least: full jitter alone could make all of them in one moment."""
_OTHER = (port.InvalidPart, port.ChecksumMismatch)
_GONE_OR_OTHER = (port.NoSuchUpload, *_OTHER)
_UNKNOWN = (port.OutcomeUnknown, port.WriteConflict, port.PreconditionFailed)
EMPTY_SHA256 = hashlib.sha256(b"").digest()


def composite_sha256(parts: Sequence[DecidedPart]) -> str:
    """The composite checksum that HEAD must show: of the parts' SHA-256, with their number."""
    whole = hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()
    return f"{base64.b64encode(whole).decode('ascii')}-{len(parts)}"


@dataclass(frozen=True, slots=True)
class _Work:
    """One session being finished. ``session`` was read after ``decision`` (C5)."""

    tenant: Tenant
    session: SessionRecord
    decision: Stored[Decision]
    parameters: CommitParameters
    deadline: Deadline

    @property
    def session_id(self) -> SessionId:
        return SessionId(self.session.session_id)

    @property
    def decided(self) -> Sequence[DecidedPart]:
        return self.decision.record.parts

    @property
    def upload_id(self) -> str:
        return self.decision.record.upload_id

    @property
    def key(self) -> str:
        return self.session.key


class TombstoneFinisher(Protocol):
    """What finishes a delete at a chosen key, in place of C6 and C7 (section 7)."""

    async def finish(
        self, tenant: Tenant, session: SessionRecord, decision: Stored[Decision], deadline: Deadline
    ) -> DoneRecord:
        """Answers once the object is gone and the tombstone's done.json is durable."""
        ...


class RollForward:
    """Finishes sessions whose decision is COMMIT."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        rng: random.Random,
        events: Events,
        retention: Retention,
        policy: RetryPolicy | None = None,
        tombstones: TombstoneFinisher | None = None,
        statistics: Statistics,
    ) -> None:
        self._statistics = statistics
        self._store = store
        self._records = records
        self._rng = rng
        self._events = events
        self._retention = retention
        self._policy = policy or RetryPolicy()
        self._tombstones = tombstones

    async def finish(
        self, tenant: Tenant, session: SessionRecord, decision: Stored[Decision], deadline: Deadline
    ) -> DoneRecord:
        """C6 and C7; answers once done.json is durable (I7).

        C5 is the caller's: ``session`` must have been read **after** ``decision`` ⚠, as
        :meth:`SessionRecords.snapshot` does.
        Raises ChunkNeeded (a part was overwritten: the client can mend it), SessionLost, SessionNotFound (purged
        meanwhile), OutcomeUnknown (at the deadline, or the store is away), StoreUnavailable (refused credentials),
        InternalError (alarmed).
        """
        if decision.record.tombstone:
            if self._tombstones is None:
                raise DeleteUnsupported
            return await self._tombstones.finish(tenant, session, decision, deadline)
        parameters = decision.record.parameters
        if parameters is None:
            raise InternalError(private=f"roll-forward of {session.session_id}, whose decision is no COMMIT")
        try:
            return await self._finish(_Work(tenant, session, decision, parameters, deadline))
        except port.OutcomeUnknown as error:  # never "failed": the decision stands, and anyone can go on
            raise OutcomeUnknown(private=f"{session.session_id}: {error.detail}") from error

    async def _finish(self, work: _Work) -> DoneRecord:
        parts = part_list(work.decided)
        tried = {parts}
        failures = unexplained = 0
        while True:
            # ⚠ Read before CMU is asked: what the client mended in time, CMU has seen, or the next one sees.
            too_late = self._time_to_mend_is_over(work)
            refused = await self._complete(work, parts)
            head = await self._own_head(work)  # always: CMU's answer alone is no proof
            if head is not None:
                return await self._settle(work, head)
            failures += 1
            if isinstance(refused, port.NoSuchUpload):
                for look in range(1, HEADS_BEFORE_LOST):
                    await self._pause(work, failures + look, refused, least=LOOK_SECONDS)
                    if (head := await self._own_head(work)) is not None:
                        return await self._settle(work, head)
                # ⚠ SeaweedFS says NoSuchUpload of a living upload without parts, too: ListParts must agree.
                if not await upload_exists(self._store, work.key, work.upload_id, work.deadline):
                    # ⚠ Gone, then HEAD: the upload may have lived until after the looks, and another's CMU ended it.
                    if (head := await self._own_head(work)) is not None:
                        return await self._settle(work, head)
                    return await self._lost(work, "the store lost the multipart upload")
            if isinstance(refused, _GONE_OR_OTHER) and (mending := await self._mending(work)) is not None:
                if not mending.differing and mending.parts not in tried:
                    parts = mending.parts
                    tried.add(parts)
                    continue
                # ⚠ Nothing differs: mended meanwhile, or a NoSuchUpload of a living upload. Only a CMU that refuses the
                # parts behind such a look has found what ETags don't show.
                unexplained = 0 if mending.differing else unexplained + isinstance(refused, _OTHER)
                if mending.differing or unexplained > 1:
                    if work.parameters.chunk_count or too_late:
                        return await self._unmended(work, mending.differing, too_late=too_late)
                    parts = await self._empty_part_again(work)
            await self._pause(work, failures, refused or port.OutcomeUnknown("completed, but not there"))

    async def _complete(self, work: _Work, parts: Sequence[Part]) -> StoreError | None:
        """One CMU, no precondition. Answers how it was refused; raises if nothing can follow from the refusal."""
        try:
            await self._store.complete_multipart(work.key, work.upload_id, parts, work.deadline)
        except (*_GONE_OR_OTHER, *_UNKNOWN) as error:
            return error
        except port.AccessDenied as error:
            self._alarm("commit refused by the store: 403", work, detail=error.detail)
            raise StoreUnavailable(private=f"CMU of {work.session_id}: 403: {error.detail}") from error
        except StoreError as error:
            self._alarm("commit refused by the store", work, kind=type(error).__name__, detail=error.detail)
            raise InternalError(private=f"CMU of {work.session_id}: {type(error).__name__}: {error.detail}") from error
        return None

    async def _own_head(self, work: _Work) -> ObjectHead | None:
        """The object, if it is there and its token is ours. InternalError if it is ours and not what was decided."""
        try:
            head = await self._store.head(work.key, work.deadline)
        except port.NoSuchKey:
            return None
        if head.metadata.get(keys.TOKEN_METADATA) != work.session.token:
            return None
        expected = composite_sha256(work.decided)
        if head.size != work.parameters.size or head.sha256_composite != expected:
            self._alarm(
                "the committed object is not what was decided",
                work,
                size=head.size,
                expected_size=work.parameters.size,
                composite=head.sha256_composite,
                expected_composite=expected,
            )
            raise InternalError(private=f"object of {work.session_id}: size or composite SHA-256 differ")
        return head

    async def _settle(self, work: _Work, head: ObjectHead) -> DoneRecord:
        """C7: done.json, once; whoever wrote it, it must be equal."""
        done = DoneRecord(
            session_id=work.session_id,
            etag=head.etag,
            size=work.parameters.size,
            blake3=work.parameters.blake3,
            committed_at=work.decision.last_modified,
            generation=work.decision.record.generation,
        )
        standing = await self._records.settle_done(work.tenant, work.session_id, done, work.deadline)
        if standing.record != done:
            self._alarm("done.json differs from the object", work)
            raise InternalError(private=f"done.json of {work.session_id} differs: {standing.record!r}, not {done!r}")
        return done

    async def _mending(self, work: _Work) -> Mending | None:
        """What to name in the next CMU; None if the upload is gone since: the next CMU says so."""
        try:
            rows = await self._store.list_parts_all(work.key, work.upload_id, work.deadline)
        except port.NoSuchUpload:
            return None
        return mend(work.decided, rows)

    async def _empty_part_again(self, work: _Work) -> tuple[Part, ...]:
        """An object without chunks has one empty part, which is assembly's own: no client can mend it."""
        try:
            etag = await self._store.upload_part(work.key, work.upload_id, 1, b"", work.deadline, sha256=EMPTY_SHA256)
        except port.NoSuchUpload:
            return part_list(work.decided)
        return (Part(1, etag, EMPTY_SHA256),)

    def _time_to_mend_is_over(self, work: _Work) -> bool:
        """By the store's clock: decision.json's Last-Modified + ttl + grace."""
        given = timedelta(seconds=work.session.ttl) + self._retention.grace
        return self._store.now() >= work.decision.last_modified + given

    async def _unmended(self, work: _Work, differing: Sequence[int], *, too_late: bool) -> DoneRecord:
        """Only the client can help: CHUNK_NEEDED, until the time for that is over."""
        if too_late:
            return await self._give_up(work)
        if (done := await self._done_meanwhile(work)) is not None:
            return done
        needed = differing or range(work.parameters.chunk_count)
        raise ChunkNeeded.of([ChunkDigests(index, expected=work.decided[index].blake3) for index in needed])

    async def _give_up(self, work: _Work) -> DoneRecord:
        """⚠ Not mended in time: abort until gone, HEAD; ours → success, else LOST. The only abort of a COMMIT (I10)."""
        await abort_confirmed(self._store, work.key, work.upload_id, work.deadline)
        head = await self._own_head(work)
        if head is not None:
            return await self._settle(work, head)
        return await self._lost(work, "a part was overwritten, and not mended in time")

    async def _lost(self, work: _Work, why: str) -> DoneRecord:
        """⚠ Before LOST: done.json first, then session.json; then PUT done.json{LOST}, and obey what is there."""
        if (done := await self._done_meanwhile(work)) is not None:
            return done
        lost = LostRecord(session_id=work.session_id, why=why)
        standing = await self._records.settle_done(work.tenant, work.session_id, lost, work.deadline)
        if isinstance(standing.record, DoneRecord):
            return standing.record
        self._statistics.ended[Ending.LOST] += 1
        self._alarm("a committed session is lost", work, why=standing.record.why)
        raise SessionLost(private=standing.record.why)

    async def _done_meanwhile(self, work: _Work) -> DoneRecord | None:
        """done.json, then deleted.json, then session.json: what must be asked before a negative answer."""
        done = await self._records.done(work.tenant, work.session_id, work.deadline)
        deleted = await self._records.deleted(work.tenant, work.session_id, work.deadline)
        if deleted is not None or await self._records.session(work.tenant, work.session_id, work.deadline) is None:
            raise SessionNotFound
        if done is None:
            return None
        if isinstance(done.record, LostRecord):
            raise SessionLost(private=done.record.why)
        return done.record

    async def _pause(self, work: _Work, failures: int, error: StoreError, *, least: float = 0.0) -> None:
        pause = max(least, self._policy.pause(failures, error, self._rng))
        if pause >= work.deadline.remaining():
            raise OutcomeUnknown(private=f"{work.session_id}: {type(error).__name__}: {error.detail}") from error
        await asyncio.sleep(pause)

    def _alarm(self, event: str, work: _Work, **facts: object) -> None:
        self._events.alarm(event, tenant=work.tenant, session_id=work.session_id, **facts)
