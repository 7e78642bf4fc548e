"""Who holds a key that callers chose: its claims, read and judged (protocol.md section 8). Nothing here writes.

A claim is worth what its session has become, so whoever judges one reads that session's records, session.json last ⚠.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from assembly_service.standing import read_session_last
from sealane.domain.claims import ClaimRecord, Standing, cooling_until, standing_of
from sealane.domain.decision import Decision
from sealane.domain.errors import BadRecord
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import KeyHolder
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.key_claims import ClaimLog, KeyClaims
from sealane.store.port import NoSuchKey, ObjectHead
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot, Stored


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim, and what it had come to when its session was read."""

    record: ClaimRecord
    written: datetime
    found: Snapshot
    standing: Standing

    @property
    def generation(self) -> int:
        return self.record.generation

    @property
    def session_id(self) -> SessionId:
        return SessionId(self.record.session_id)

    @property
    def tombstone(self) -> bool:
        """Once done, the key is vacant (section 7)."""
        return self.record.decision.tombstone

    @property
    def session(self) -> SessionRecord | None:
        return self.found.session.record if self.found.session else None

    @property
    def done(self) -> DoneRecord | None:
        done = self.found.done.record if self.found.done else None
        return done if isinstance(done, DoneRecord) else None

    @property
    def token(self) -> str | None:
        """What proves that an object is its own."""
        return self.session.token if self.session else None

    def holder(self, object_key: str) -> KeyHolder:
        """As callers are told."""
        decided = self.found.decision.last_modified if self.found.decision else self.written
        parameters = self.record.decision.parameters
        return KeyHolder(
            object_key=object_key,
            generation=self.generation,
            session_id=self.session_id,
            state=self.found.records.state or SessionState.OPEN,
            size=parameters.size if parameters else 0,
            blake3=parameters.blake3 if parameters else bytes(32),
            commit_time=self.done.committed_at if self.done else decided,
        )


class Claims:
    """Reads and judges. BadRecord for claims that contradict their sessions: fail closed (section 11)."""

    def __init__(self, store: RetryingStore, records: SessionRecords) -> None:
        self._store = store
        self._records = records
        self._claims = KeyClaims(store)

    async def log(self, tenant: Tenant, object_key: str, deadline: Deadline) -> ClaimLog:
        """All claims of the key, now."""
        return await self._claims.log(tenant, object_key, deadline)

    async def moved(self, tenant: Tenant, object_key: str, log: ClaimLog, deadline: Deadline) -> bool:
        """True if there are claims that ``log`` does not have: what was concluded from it may be wrong by now ⚠.

        False: whoever was found to be void, was void when ``log`` was read. (A claim whose session is gone may have
        been a generation that a later one has replaced; but then there is that later one.)
        """
        return bool((await self._claims.log(tenant, object_key, deadline, behind=log.highest)).claims)

    async def claim(self, tenant: Tenant, object_key: str, number: int, deadline: Deadline) -> Claim:
        """Claim ``number``, which LIST has shown, and what it has come to."""
        stored = await self._claims.claim(tenant, object_key, number, deadline)
        if stored is None:
            raise BadRecord(private=f"claim {number} of {object_key!r} is gone: claims are never deleted")
        session = SessionId(stored.record.session_id)
        found = await read_session_last(self._records, tenant, session, deadline)
        claim = Claim(stored.record, stored.last_modified, found, standing_of(found.records))
        self._require_sound(object_key, claim)
        return claim

    async def newest(
        self, tenant: Tenant, object_key: str, log: ClaimLog, deadline: Deadline, *, undecided: bool = True
    ) -> Claim | None:
        """The newest claim that is not void; without ``undecided`` ones: the newest of a decided session."""
        void = {Standing.VOID} if undecided else {Standing.VOID, Standing.UNDECIDED}
        for listed in reversed(log.claims):
            claim = await self.claim(tenant, object_key, listed.number, deadline)
            if claim.standing not in void:
                return claim
        return None

    async def replaced(
        self, tenant: Tenant, object_key: str, generation: int, deadline: Deadline
    ) -> Stored[DoneRecord] | None:
        """done.json of a **later** generation that is done and not LOST (W7 ⚠), the newest; None if there is none."""
        later = await self._claims.log(tenant, object_key, deadline, behind=generation)
        for listed in reversed(later.claims):
            claim = await self.claim(tenant, object_key, listed.number, deadline)
            if claim.standing is Standing.DONE and claim.found.done is not None and claim.done is not None:
                return Stored(claim.done, claim.found.done.last_modified)
        return None

    async def object(self, tenant: Tenant, object_key: str, deadline: Deadline) -> ObjectHead | None:
        """What is at the key."""
        try:
            return await self._store.head(keys.chosen_object_key(tenant, object_key), deadline)
        except NoSuchKey:
            return None

    def _require_sound(self, object_key: str, claim: Claim) -> None:
        """The session names the key, and its decision and its answer the claim's number."""
        session, done = claim.session, claim.done
        decision: Decision | None = claim.found.decision.record if claim.found.decision else None
        wrong_key = session is not None and session.chosen_key != object_key
        wrong_number = claim.standing in (Standing.UNDONE, Standing.DONE) and any(
            found is not None and found.generation != claim.generation for found in (decision, done)
        )
        if wrong_key or wrong_number:
            raise BadRecord(private=f"claim {claim.generation} of {object_key!r} is not what its session says")


def with_object(holder: Claim | None) -> Claim | None:
    """The holder, if it is one that has an object at the key: a tombstone has none, the key is vacant."""
    return None if holder is None or holder.tombstone else holder


def is_of(head: ObjectHead | None, claim: Claim | None) -> bool:
    """True if the object is there, and is this claim's."""
    return (
        head is not None
        and claim is not None
        and claim.token is not None
        and head.metadata.get(keys.TOKEN_METADATA) == claim.token
    )


def cooling_of(holder: Claim | None, now: datetime) -> datetime | None:
    """Until when a key that a tombstone holds can't be claimed, if ``now`` (the store's) is before; else None.

    Of a tombstone that is not done yet, that is an hour from now at least.
    """
    if holder is None or not holder.tombstone:
        return None
    until = cooling_until(holder.found.done.last_modified if holder.found.done else now)
    return until if now < until else None


def foreign_holder(object_key: str, generation: int, head: ObjectHead) -> KeyHolder:
    """An object that sealane did not write (best effort: others may write to the bucket at any moment)."""
    return KeyHolder(
        object_key=object_key,
        generation=generation,
        session_id="",
        state=SessionState.COMMITTED,
        size=head.size,
        blake3=b"",
        commit_time=head.last_modified,
        foreign=True,
    )
