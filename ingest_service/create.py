"""CreateSession: one session for one request, however often it is asked (protocol.md section 4).

session.json is written first of all; the requests/ record only makes the second call find it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest_service.quota_guard import QuotaGuard
from ingest_service.sessions import view_of
from ingest_service.statistics import Statistics
from sealane.domain import ids
from sealane.domain.decision import plan_of
from sealane.domain.errors import InvalidRequest, OutcomeUnknown, RequestIdUsed
from sealane.domain.ids import Entropy, SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.domain.precondition import Precondition
from sealane.domain.records import RequestRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import SessionView
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords

CREATE_ATTEMPTS = 5
"""Ids tried for one session. An unanswered write may leave a session without chunks, which expires (W1)."""
FIRST_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class NewSession:
    """What CreateSession asks for, each field valid by itself; 0 and None mean "the server decides"."""

    filename: str = ids.DEFAULT_FILENAME
    size: int | None = None
    chunk_size: int = 0
    content_type: str = ids.DEFAULT_CONTENT_TYPE
    metadata: Mapping[str, str] = field(default_factory=dict)
    ttl: float | None = None
    request_id: str = ""
    object_key: str = ""
    """The key that the caller chose; ``filename`` is then a name for people, by default the key's last segment."""
    precondition: Precondition | None = None
    """With ``object_key``, and only then."""

    def fingerprint(self) -> bytes:
        """32 bytes that are equal for equal requests, and for no others; ``request_id`` is not part of it."""
        values: list[object] = [
            self.filename,
            self.size,
            self.chunk_size,
            self.content_type,
            sorted(self.metadata.items()),
            None if self.ttl is None else float(self.ttl),
        ]
        if self.precondition is not None:  # requests without a chosen key have the fingerprints that they always had
            values += [self.object_key, self.precondition.if_generation_match]
        return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).digest()


class SessionCreator:
    """Store errors are the port's."""

    def __init__(
        self,
        *,
        records: SessionRecords,
        limits: Limits,
        entropy: Entropy,
        statistics: Statistics,
        quotas: QuotaGuard,
        bucket: str,
    ) -> None:
        self._records = records
        self._limits = limits
        self._entropy = entropy
        self._statistics = statistics
        self._quotas = quotas
        self._bucket = bucket

    async def create(self, tenant: Tenant, owner: str, request: NewSession, deadline: Deadline) -> SessionView:
        """A session for this request: a fresh one, or that of the request_id.

        InvalidSize, InvalidRequest (also: the request_id was used for another request), RequestIdUsed, QuotaExceeded,
        store errors.
        """
        plan = self._limits.plan(request.size, request.chunk_size)
        ttl = self._limits.ttl(request.ttl)
        if request.request_id:  # a repeated request then leaves no second session behind
            known = await self._records.request(tenant, request.request_id, deadline)
            if known is not None:
                return await self._recorded(tenant, request, known.record, deadline)
        record = await self._put_session(tenant, owner, request, plan.chunk_size, ttl, deadline)
        self._statistics.sessions_created += 1
        session = SessionId(record.session_id)
        if request.request_id:
            ours = RequestRecord(session, request.fingerprint())
            standing = await self._settle_request(tenant, request.request_id, ours, deadline)
            if standing.session_id != session:  # another call of this request_id was faster; W1 takes ours
                return await self._recorded(tenant, request, standing, deadline)
        found = await self._records.session(tenant, session, deadline)
        if found is None:
            raise port.OutcomeUnknown(f"session.json of {session} was written and can't be read")
        plan = plan_of(found.record, self._limits.max_chunks)
        return SessionView(found.record, found.last_modified, SessionState.OPEN, plan)

    async def _put_session(
        self, tenant: Tenant, owner: str, request: NewSession, chunk_size: int, ttl: int, deadline: Deadline
    ) -> SessionRecord:
        """session.json, under an id that nobody has seen. After an unknown outcome: another id, never the same ⚠.

        (Were the first write to land after its session was expired and purged, it would rise from the dead.)
        """
        counted = await self._quotas.session(tenant, request.size, deadline)
        attempt = 0
        while True:
            attempt += 1
            session = ids.new_session_id(self._entropy)
            record = SessionRecord(
                session_id=session,
                key=keys.chosen_object_key(tenant, request.object_key)
                if request.object_key
                else keys.object_key(tenant, session, request.filename),
                filename=request.filename,
                chunk_size=chunk_size,
                size=request.size,
                token=ids.new_token(self._entropy),
                ttl=ttl,
                content_type=request.content_type,
                metadata=request.metadata,
                owner=owner,
                chosen_key=request.object_key,
                precondition=request.precondition,
            )
            try:
                with counted(session):
                    await self._records.put_session(tenant, record, deadline)
            except (port.OutcomeUnknown, port.PreconditionFailed):
                pause = FIRST_PAUSE_SECONDS * 2**attempt
                if attempt >= CREATE_ATTEMPTS or pause >= deadline.remaining():
                    raise
                await asyncio.sleep(pause)
                continue
            return record

    async def _settle_request(
        self, tenant: Tenant, request_id: str, ours: RequestRecord, deadline: Deadline
    ) -> RequestRecord:
        """Write requests/…json, then read what stands: after 412 or an unknown outcome only reading tells."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._records.put_request(tenant, request_id, ours, deadline)
            except (port.PreconditionFailed, port.OutcomeUnknown):
                standing = await self._records.request(tenant, request_id, deadline)
                if standing is not None:
                    return standing.record
            else:
                return ours
            if pause >= deadline.remaining():
                raise OutcomeUnknown(private="the request's record is neither written nor refused")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _recorded(
        self, tenant: Tenant, request: NewSession, standing: RequestRecord, deadline: Deadline
    ) -> SessionView:
        """The session that a request_id made, whatever its state, while its session.json exists."""
        if standing.fingerprint != request.fingerprint():
            raise InvalidRequest(
                "This request_id was used for a session with other parameters. Use a new one.", field="request_id"
            )
        snapshot = await self._records.snapshot(tenant, ids.session_id(standing.session_id), deadline, state_only=True)
        view = view_of(snapshot, self._bucket, self._limits)
        if view is None:
            raise RequestIdUsed()
        return view
