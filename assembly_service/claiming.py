"""Taking the next generation of a chosen key: between C4's checks and the decision (protocol.md section 8).

Nothing is locked: a claimant who finds another before it finishes the other's commit and comes again. So a claim that
is lost to a race was lost to somebody's progress, and a claimant that crashed or stalls holds nobody up.
"""

from __future__ import annotations

import asyncio
import hmac
import random
from dataclasses import dataclass, replace

from assembly_service.claims import Claim, Claims, cooling_of, foreign_holder, is_of, with_object
from assembly_service.names import Names
from assembly_service.roll_forward import RollForward
from sealane.bounded_cache import BoundedCache
from sealane.domain.claims import ClaimRecord, Standing, Verdict, may_be_own, verdict
from sealane.domain.decision import CommitParameters, Decision, DuplicateAnswer, Outcome
from sealane.domain.errors import (
    ChunkNeeded,
    GenerationMismatch,
    InternalError,
    KeyCooling,
    OutcomeUnknown,
    SessionLost,
    SessionNotFound,
)
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.precondition import VACANT, Precondition
from sealane.domain.records import SessionRecord
from sealane.store import port
from sealane.store.backoff import RetryPolicy
from sealane.store.deadline import Deadline
from sealane.store.key_claims import ClaimLog, KeyClaims
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Stored

ATTEMPTS = 64
"""How often a claimant starts over; each time, somebody else got somewhere."""
_READS_AT_ONCE = 8
_OWNERS_KEPT = 4096
_STEPS = 4
"""UNDECIDED → UNDONE → DONE, and one more look at whoever came between."""


class _Moved(Exception):
    """The log has grown since it was read: start over."""


@dataclass(slots=True)
class _Read:
    """How much of the log one call has read. Numbers are taken in order, so below ``upto`` nothing ever comes new."""

    upto: int = 0
    """No claim up to this number is the session's own."""


class Claimant:
    """Claims generations for sessions whose checks have passed."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        claims: Claims,
        names: Names,
        roll_forward: RollForward,
        rng: random.Random,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._claims = claims
        self._written = KeyClaims(store)
        self._names = names
        self._roll_forward = roll_forward
        self._rng = rng
        self._owners: BoundedCache[tuple[Tenant, str, int], str] = BoundedCache(_OWNERS_KEPT)
        self._policy = policy or RetryPolicy()

    async def decision(
        self, tenant: Tenant, session: Stored[SessionRecord], proposal: Decision, deadline: Deadline
    ) -> Decision:
        """What to write as decision.json: ``proposal`` with the generation that it was given by a claim, this
        session's own claim of before, or DUPLICATE. **Obey what is there** once it is written.

        ``proposal`` is a COMMIT; that of a tombstone session is no duplicate of anything, and waits for no cooling.
        Raises GenerationMismatch (the session stays OPEN), InvalidObjectKey, KeyCooling, StoreUnavailable,
        InternalError, BadRecord; OutcomeUnknown: repeat the same request.
        """
        failures, read = 0, _Read()
        try:
            while True:
                try:
                    return await self._once(tenant, session, proposal, read, deadline)
                except (_Moved, port.PreconditionFailed, port.OutcomeUnknown) as error:
                    failures += 1
                    pause = self._policy.pause(min(failures, 4), port.OutcomeUnknown(), self._rng)
                    if failures >= ATTEMPTS or pause >= deadline.remaining():
                        why = "claims of others came first, or an answer was lost, to the end"
                        raise OutcomeUnknown(private=f"{proposal.session_id}: {why}") from error
                await asyncio.sleep(pause)
        except port.OutcomeUnknown as error:
            raise OutcomeUnknown(private=f"{proposal.session_id}: {error.detail}") from error

    async def _once(
        self, tenant: Tenant, session: Stored[SessionRecord], proposal: Decision, read: _Read, deadline: Deadline
    ) -> Decision:
        """Section 8 from the start. Whatever it reads is younger than ``log``, whose end the PUT of step 5 proves."""
        key = session.record.chosen_key
        log = await self._claims.log(tenant, key, deadline)
        if log.is_torn(lambda claim: may_be_own(claim.written, session.last_modified)):
            raise _Moved  # ⚠ a LIST need not be of one moment, and it may be our own claim that is missing
        own = await self._own(tenant, session, log, read, deadline)
        if own is not None:  # ⚠ a session never claims twice
            return own.decision
        holder = await self._settled(tenant, key, log, deadline)
        duplicate = await self._weigh(tenant, session.record, proposal, log, holder, deadline)
        if duplicate is not None:
            return duplicate
        if with_object(holder) is None:
            await self._names.take(tenant, key, deadline)
        claim = ClaimRecord(key, replace(proposal, generation=log.next_number))  # ⚠ void or not
        await self._written.put_claim(tenant, claim, deadline)
        return claim.decision

    async def _own(
        self, tenant: Tenant, session: Stored[SessionRecord], log: ClaimLog, read: _Read, deadline: Deadline
    ) -> ClaimRecord | None:
        """Step 1: this session's claim, if it has one. Older claims than the session are not read, none is read twice:
        on a busy key whoever reads all of an hour's claims again after each lost race loses the next one, too."""
        key = session.record.chosen_key
        young = [claim.number for claim in log.claims if may_be_own(claim.written, session.last_modified)]
        numbers = [number for number in young if number > read.upto]
        for start in range(0, len(numbers), _READS_AT_ONCE):
            some = numbers[start : start + _READS_AT_ONCE]
            owners = await asyncio.gather(*(self._owner(tenant, key, number, deadline) for number in some))
            for number, owner in zip(some, owners, strict=True):
                if owner == session.record.session_id:
                    stored = await self._written.claim(tenant, key, number, deadline)
                    return None if stored is None else stored.record
        read.upto = log.highest
        return None

    async def _owner(self, tenant: Tenant, key: str, number: int, deadline: Deadline) -> str:
        """Whose claim it is. Claims never change, so a key that is replaced every second costs one read each time."""
        name = (tenant, key, number)
        known = self._owners.get(name)
        if known is None:
            stored = await self._written.claim(tenant, key, number, deadline)
            known = "" if stored is None else stored.record.session_id
            self._owners.put(name, known)
        return known

    async def _settled(self, tenant: Tenant, key: str, log: ClaimLog, deadline: Deadline) -> Claim | None:
        """Steps 2 and 3: the newest claim that is not void, decided and done; None if all are void."""
        for listed in reversed(log.claims):
            for _ in range(_STEPS):
                claim = await self._claims.claim(tenant, key, listed.number, deadline)
                if claim.standing in (Standing.VOID, Standing.DONE):
                    break
                await self._help(tenant, claim, deadline)
            else:
                raise OutcomeUnknown(private=f"claim {listed.number} of {key!r} comes to no end")
            if claim.standing is Standing.DONE:
                return claim
        return None

    async def _help(self, tenant: Tenant, claim: Claim, deadline: Deadline) -> None:
        """Write the decision that the claimant could not, or finish what it decided. The next look says what came."""
        if claim.standing is Standing.UNDECIDED:
            await self._records.settle_decision(tenant, claim.session_id, claim.record.decision, deadline)
            return
        if claim.session is None or claim.found.decision is None:
            raise InternalError(private=f"session {claim.session_id} is COMMITTING without a decision")
        try:
            await self._roll_forward.finish(tenant, claim.session, claim.found.decision, deadline)
        except (SessionLost, SessionNotFound):
            return  # void by now
        except ChunkNeeded as error:  # of the holder's client, not of this one
            raise OutcomeUnknown(
                f"The commit of generation {claim.generation} waits for its client to mend a chunk. Repeat this one.",
                retry_after=5.0,
                private=error.message,
            ) from error

    async def _weigh(
        self,
        tenant: Tenant,
        record: SessionRecord,
        proposal: Decision,
        log: ClaimLog,
        holder: Claim | None,
        deadline: Deadline,
    ) -> Decision | None:
        """Step 4: None to claim, or the decision DUPLICATE. GenerationMismatch, KeyCooling, _Moved."""
        key, wanted = record.chosen_key, record.precondition or VACANT
        present = with_object(holder)
        head = None if proposal.tombstone else await self._claims.object(tenant, key, deadline)
        foreign = head is not None and not is_of(head, present)
        judged = judge(record, wanted, proposal.parameters, present, present_object=is_of(head, present))
        if (foreign or judged is not Verdict.CLAIM) and await self._claims.moved(tenant, key, log, deadline):
            raise _Moved
        if foreign and head is not None:
            shown = foreign_holder(key, present.generation if present else 0, head)
            raise GenerationMismatch.of(key, wanted.if_generation_match, shown)
        if judged is Verdict.MISMATCH:
            shown_holder = present.holder(key) if present else None
            raise GenerationMismatch.of(key, wanted.if_generation_match, shown_holder)
        if judged is Verdict.DUPLICATE and present is not None and present.done is not None:
            return duplicate_of(SessionId(record.session_id), proposal, present)
        if not proposal.tombstone:
            self._require_cool(holder)
        return None

    def _require_cool(self, holder: Claim | None) -> None:
        """⚠ A DELETE that stalled could hit the next generation's object, until no store takes it any more (R6)."""
        now = self._store.now()
        until = cooling_of(holder, now)
        if until is not None:
            raise KeyCooling(retry_after=(until - now).total_seconds())

    async def rehearse(
        self, tenant: Tenant, session: Stored[SessionRecord], parameters: CommitParameters, deadline: Deadline
    ) -> None:
        """What :meth:`decision` would raise, writing nothing: neither for this session nor for the holder.

        A claim that is not decided yet is judged as the holder that it will most likely be; GenerationMismatch then
        shows it as OPEN, or as COMMITTING.
        """
        key, wanted = session.record.chosen_key, session.record.precondition or VACANT
        read = _Read()
        for _ in range(ATTEMPTS):
            log = await self._claims.log(tenant, key, deadline)
            if await self._own(tenant, session, log, read, deadline) is not None:
                return
            holder = await self._claims.newest(tenant, key, log, deadline)
            present = with_object(holder)
            head = await self._claims.object(tenant, key, deadline)
            settled = holder is None or holder.standing is Standing.DONE
            foreign = settled and head is not None and not is_of(head, present)
            there = is_of(head, present) or not settled
            judged = judge(session.record, wanted, parameters, present, present_object=there)
            if await self._claims.moved(tenant, key, log, deadline):
                continue
            if foreign and head is not None:
                shown = foreign_holder(key, present.generation if present else 0, head)
                raise GenerationMismatch.of(key, wanted.if_generation_match, shown)
            if judged is Verdict.MISMATCH:
                raise GenerationMismatch.of(key, wanted.if_generation_match, present.holder(key) if present else None)
            self._require_cool(holder)
            if present is None:
                await self._names.check(tenant, key, deadline)
            return
        raise OutcomeUnknown(private=f"claims of {key!r} grow faster than they can be read")


def judge(
    record: SessionRecord,
    wanted: Precondition,
    parameters: CommitParameters | None,
    present: Claim | None,
    *,
    present_object: bool,
) -> Verdict:
    """Step 4, of a session against the holder ``present``. A duplicate's bytes must be there, not only said to be."""
    held = present.record.decision.parameters if present else None
    same_bytes = (
        parameters is not None
        and held is not None
        and present_object
        and held.size == parameters.size
        and hmac.compare_digest(held.blake3, parameters.blake3)
    )
    described = present.session if present else None
    same_description = (
        described is not None
        and described.content_type == record.content_type
        and dict(described.metadata) == dict(record.metadata)
    )
    return verdict(
        wanted,
        present.generation if present else 0,
        same_bytes=same_bytes,
        same_description=same_description,
    )


def duplicate_of(session: SessionId, proposal: Decision, holder: Claim) -> Decision:
    """decision=DUPLICATE: the answer is the holder's, which is done and so never changes."""
    done = holder.done
    if done is None:
        raise InternalError(private=f"a duplicate of claim {holder.generation}, which is not done")
    answer = DuplicateAnswer(holder.session_id, holder.generation, done.etag, done.size, done.blake3, done.committed_at)
    return Decision(session, Outcome.DUPLICATE, proposal.parameters, answer=answer)
