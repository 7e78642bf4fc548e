"""What a session looks like: from its records, its receipts, and what assembly says of it (protocol.md section 3).

Ingest reads the records by key for itself, and asks assembly for the outcome by a status call. Whichever knows more
is believed, and coverage never waits for assembly: a resume must not hang on it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from ingest_service.receipts import Receipts
from sealane.domain.coverage import Coverage, PrefixDigest
from sealane.domain.decision import plan_of
from sealane.domain.errors import SealaneError, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, SessionView
from sealane.logs import get_logger
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords, Snapshot

_log = get_logger(__name__)


class OutcomeClient(Protocol):
    """Assembly, as ingest knows it."""

    async def get_commit(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None]:
        """What became of the session. PeerUnavailable if there is no answer in time; SessionNotFound."""
        ...


class Sessions:
    """``outcome_seconds`` is how long assembly may take to say what became of a session."""

    def __init__(
        self,
        *,
        records: SessionRecords,
        receipts: Receipts,
        outcome: OutcomeClient,
        limits: Limits,
        bucket: str,
        outcome_seconds: float,
    ) -> None:
        self._records = records
        self._receipts = receipts
        self._outcome = outcome
        self._limits = limits
        self._bucket = bucket
        self._outcome_seconds = outcome_seconds

    async def get(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> SessionView:
        """Where the session stands and what has arrived, also while assembly is away.

        SessionNotFound, BadRecord, store errors.
        """
        view = await self.glance(tenant, session, deadline)
        if view.state.final:
            return view
        asking = asyncio.create_task(self._ask(tenant, session, deadline.child(self._outcome_seconds)))
        try:
            coverage = await self._receipts.coverage(tenant, session, view.plan, deadline)
            answer = await asking
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])
        if answer is None:
            await self.require(tenant, session, deadline)  # the receipts of a session that is being purged say nothing
            return replace(view, coverage=coverage, outcome_unavailable=True)
        state, committed = answer
        if not state.final:
            # Neither is older than the other in a way that matters; a decision that either has seen stands.
            seen = SessionState.COMMITTING in (state, view.state)
            return replace(view, coverage=coverage, state=SessionState.COMMITTING if seen else state)
        return _ended(replace(view, state=state, committed=committed))

    async def glance(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> SessionView:
        """As the records alone show it, without the coverage of what is not final. SessionNotFound."""
        snapshot = await self._records.snapshot(tenant, session, deadline, state_only=True)
        view = view_of(snapshot, self._bucket, self._limits)
        if view is None:
            raise SessionNotFound()
        return view

    async def require(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> SessionRecord:
        """session.json; SessionNotFound."""
        found = await self._records.session(tenant, session, deadline)
        if found is None or found.record.tombstone:
            raise SessionNotFound()
        return found.record

    async def _ask(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None] | None:
        """Assembly's answer; None if there is none, for whatever reason: it decides nothing here."""
        try:
            return await self._outcome.get_commit(tenant, session, deadline)
        except SealaneError as error:
            _log.info("assembly did not say what became of the session", reason=error.reason, private=error.private)
            return None


def view_of(snapshot: Snapshot, bucket: str, limits: Limits) -> SessionView | None:
    """The view of records read in C1's order; None if there is no session, or none that a caller made (section 7)."""
    found, state = snapshot.session, snapshot.records.state
    if found is None or state is None or found.record.tombstone:
        return None
    done = snapshot.done.record if snapshot.done else None
    decision = snapshot.decision.record if snapshot.decision else None
    committed: CommittedObject | None = None
    if state is SessionState.DUPLICATE and decision is not None and decision.answer is not None:
        committed = CommittedObject.of_duplicate(bucket, found.record.key, decision.answer, replayed=True)
    if state is SessionState.COMMITTED and isinstance(done, DoneRecord):
        committed = CommittedObject.of(bucket, found.record.key, done, replayed=True)
    plan = plan_of(found.record, limits.max_chunks)
    return _ended(SessionView(found.record, found.last_modified, state, plan, committed=committed))


def _ended(view: SessionView) -> SessionView:
    """A committed session is covered, whole: its commit says so, and its receipts may be gone."""
    if view.committed is None:
        return view
    size, chunk_size = view.committed.size, view.record.chunk_size
    count = -(-size // chunk_size)
    whole = Coverage(
        stored_chunks=count,
        stored_bytes=size,
        missing=(),
        conflicting=(),
        prefix=PrefixDigest(count, size, view.committed.blake3),
        complete=True,
    )
    return replace(view, coverage=whole)
