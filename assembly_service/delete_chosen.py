"""Deleting the object at a key that a caller chose: by a session of its own that claims the next generation.

A DELETE has no fence, so at a key that others may write to it is put into the key's log of claims like a replace
(protocol.md section 7): a **tombstone session**, with the target's generation as precondition, whose commit deletes.
Nobody knows its id: a caller who comes again makes another, which finishes the first (section 8, steps 2 and 3), finds
that the target holds the key no more, and is removed.
"""

from __future__ import annotations

import asyncio
import contextlib

from assembly_service.claiming import Claimant
from assembly_service.claims import Claims
from assembly_service.events import Events
from assembly_service.purge import Purge
from assembly_service.removal import Kind, Removed
from assembly_service.roll_forward import RollForward
from sealane.domain import ids
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import GenerationMismatch, InternalError, OutcomeUnknown
from sealane.domain.ids import Entropy, SessionId, Tenant
from sealane.domain.precondition import Precondition
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot, Stored

TTL_SECONDS = 3600
"""A tombstone that nobody finished and nobody needs is expired after so long (W1)."""
PAUSE_SECONDS = 0.2
CREATE_ATTEMPTS = 5
"""Ids tried for one tombstone. An unanswered write may leave one that nobody uses, which expires (W1)."""
ATTEMPTS = 8
"""Tombstones that one call makes, at most: each of them found that the key had moved, or was expired under way."""


class TombstoneRelease:
    """Deletes objects at chosen keys; any number of calls at once, beside commits of the same key."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        claims: Claims,
        claimant: Claimant,
        roll_forward: RollForward,
        purge: Purge,
        events: Events,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._records = records
        self._claims = claims
        self._claimant = claimant
        self._roll_forward = roll_forward
        self._purge = purge
        self._events = events
        self._entropy = entropy

    async def release(self, tenant: Tenant, target: Snapshot, removed: Removed, deadline: Deadline) -> None:
        """Return once a later generation of the key is done, so that the target's object is gone for good.

        Raises OutcomeUnknown: repeat the request; StoreUnavailable, InternalError, BadRecord.
        """
        done = target.done.record if target.done else None
        if target.session is None or not isinstance(done, DoneRecord):
            raise InternalError(private="a release of what is not committed")
        record = target.session.record
        for _ in range(ATTEMPTS):
            if await self._claims.replaced(tenant, record.chosen_key, done.generation, deadline) is not None:
                return
            if await self._records.session(tenant, SessionId(record.session_id), deadline) is None:
                return  # deleted, or replaced, and purged meanwhile: the caller looks again
            size = await self._size(record, deadline)
            if await self._bury(tenant, record, done.generation, deadline) and size is not None:
                removed.add(Kind.OBJECT, record.key, size)
        raise OutcomeUnknown(private=f"{record.session_id}: the key moved under {ATTEMPTS} tombstones")

    async def _size(self, record: SessionRecord, deadline: Deadline) -> int | None:
        """Of the target's object; None if it is not there."""
        with contextlib.suppress(port.NoSuchKey):
            head = await self._store.head(record.key, deadline)
            if head.metadata.get(keys.TOKEN_METADATA) == record.token:
                return head.size
        return None

    async def _bury(self, tenant: Tenant, target: SessionRecord, generation: int, deadline: Deadline) -> bool:
        """One tombstone, from its session.json to its done.json; False if it came to nothing, and was removed."""
        tombstone = await self._create(tenant, target, generation, deadline)
        session = SessionId(tombstone.record.session_id)
        proposal = Decision(session, Outcome.COMMIT, tombstone=True)
        try:
            decision = await self._claimant.decision(tenant, tombstone, proposal, deadline)
        except GenerationMismatch:  # the target holds the key no more
            decision = Decision(session, Outcome.ABORT)
        standing = await self._records.settle_decision(tenant, session, decision, deadline)
        found = await self._records.session(tenant, session, deadline)
        if found is None:  # ⚠ a decision counts only if session.json is read after it
            return False
        if standing.record.outcome is not Outcome.COMMIT:
            since = standing.last_modified
            await self._purge.undone(tenant, found.record, since, deadline, at_once=True)
            return False
        await self._roll_forward.finish(tenant, found.record, standing, deadline)
        self._events.note(
            "a tombstone took the key",
            tenant=tenant,
            session_id=target.session_id,
            tombstone=session,
            generation=standing.record.generation,
        )
        return True

    async def _create(
        self, tenant: Tenant, target: SessionRecord, generation: int, deadline: Deadline
    ) -> Stored[SessionRecord]:
        """session.json of a tombstone. Unknown outcome → another fresh id, never a second PUT of the same ⚠."""
        for _ in range(CREATE_ATTEMPTS):
            session = ids.new_session_id(self._entropy)
            record = SessionRecord(
                session_id=session,
                key=target.key,
                filename=target.filename,
                chunk_size=target.chunk_size,
                size=0,
                token=target.token,  # whose object it deletes: no other is ever touched
                ttl=TTL_SECONDS,
                content_type=target.content_type,
                owner=target.owner,
                chosen_key=target.chosen_key,
                precondition=Precondition(generation),
                tombstone=generation,
            )
            with contextlib.suppress(port.PreconditionFailed, port.OutcomeUnknown):
                await self._records.put_session(tenant, record, deadline)
                stored = await self._records.session(tenant, session, deadline)
                if stored is not None:
                    return stored
            if deadline.remaining() <= PAUSE_SECONDS:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        raise OutcomeUnknown(private=f"no session.json for a tombstone of {target.session_id}")
