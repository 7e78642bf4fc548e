"""The model's one half: every change of the bucket, at the moment at which it happens, against what may be.

It knows nothing of how the services work; see :mod:`tests.simulation.model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.ids import Tenant
from sealane.domain.records import DoneRecord, LostRecord, MultipartRecord, SessionRecord, parse_done
from sealane.store import keys
from sealane.store.simulated_bucket import SimulatedObject
from tests.simulation.chosen_keys import ChosenKeys
from tests.simulation.facts import SessionFacts

if TYPE_CHECKING:
    from tests.simulation.world import World

ROUNDING = 2.0
"""Seconds: the store's times are whole ones."""


class StoreSteps:
    """Facts of all sessions, and what the bucket may become. What is wrong goes to ``world.violate``."""

    def __init__(self, world: World, tenant: Tenant) -> None:
        self._world = world
        self.sessions: dict[str, SessionFacts] = {}
        self.by_token: dict[str, SessionFacts] = {}
        self.keys = ChosenKeys(self)
        self.tenant = tenant
        self.contents: dict[bytes, bytes] = {}
        """Contents that clients upload, by BLAKE3."""
        self.pieces: set[bytes] = set()
        """BLAKE3 of every chunk of them."""
        self.sending: dict[str, bytes] = {}
        """Client -> what it uploads."""
        self.grace = world.retention.grace.total_seconds()
        self.kept = world.retention.outcome.total_seconds()

    def declare(self, content: bytes) -> CommitParameters:
        """A client is going to upload ``content``."""
        digest = blake3(content).digest()
        self.contents[digest] = content
        self.pieces.update(self.chunk_digest(content, index) for index in range(-(-len(content) // self._world.chunk)))
        return CommitParameters(-(-len(content) // self._world.chunk), len(content), digest)

    def violate(self, invariant: str, text: str) -> None:
        self._world.violate(invariant, text)

    # --- steps of the store ---

    def touched(self, key: str) -> None:
        if not self.owns(key):
            self.violate("I12", f"{key} is not {self.tenant}'s")

    def owns(self, key: str) -> bool:
        """Whether ``key`` is one of the tenant's."""
        return key.startswith((f".sealane/{self.tenant}/", f"{self.tenant}/"))

    def has_put(self, key: str, body: bytes, before: bytes | None) -> None:
        self.touched(key)
        if before is not None and key.endswith(".json") and before != body:
            self.violate("I1", f"{key} was written over with other bytes")
        found = keys.parse_session_key(key)
        if found is None:
            if keys.parse_claim_key(key) is not None:
                self.keys.claimed(key, body, new=before is None)
            elif not key.startswith(keys.requests_prefix(self.tenant)):
                self.violate("I12", f"an unknown key was written: {key}")
            return
        facts = self.sessions.get(found.session)
        if found.rest == keys.SESSION:
            if facts is not None and before is None:
                self.violate("I9", f"session.json of {found.session} has risen from the dead")
            elif facts is None:
                record = SessionRecord.parse(body)
                made = SessionFacts(found.session, record, self._world.loop.now)
                self.sessions[found.session] = made
                if not record.tombstone:
                    self.by_token[record.token] = made
            return
        if facts is None:
            self.violate("I9", f"{key} was written before any session.json")
            return
        if not facts.alive or before is not None:
            return  # it must mean nothing: the sweeper's
        if found.rest == keys.DECISION:
            self._decided(facts, Decision.parse(body))
        elif found.rest == keys.DONE:
            self._done(facts, parse_done(body))
        elif found.rest == keys.MULTIPART:
            facts.upload_id = MultipartRecord.parse(body).upload_id
            facts.upload_named = self._world.loop.now
        elif found.rest == keys.DELETED:
            facts.deleted = True
            wanted = facts.delete_asked or (facts.generation and self.keys.replaced(facts))
            if not facts.committed or not wanted:
                self.violate("I10", f"{facts.id} was marked as deleted: {facts.outcome}, generation {facts.generation}")
        else:
            self._receipt(facts, keys.parse_receipt(key))

    def _decided(self, facts: SessionFacts, decision: Decision) -> None:
        now = self._world.loop.now
        if facts.decision is not None:
            self.violate("I1", f"{facts.id} was decided {facts.outcome}, and now {decision.outcome}")
        facts.decision, facts.decided = decision, now
        if decision.outcome is Outcome.EXPIRE and now < facts.created + facts.record.ttl + self.grace - ROUNDING:
            self.violate("I15", f"{facts.id} has expired after {now - facts.created:.0f} s, before its time")
        if decision.outcome is Outcome.COMMIT and facts.record.chosen_key:
            self.keys.decided(facts)
            if not facts.record.tombstone and self._strange(facts.record.key):
                self.violate("I16", f"{facts.id} is decided where, or above where, somebody else's object lies")
        if decision.parameters is None or decision.outcome is not Outcome.COMMIT:
            return
        content = self.contents.get(decision.parameters.blake3)
        if content is None or len(content) != decision.parameters.size:
            self.violate("I4", f"{facts.id}: COMMIT of a digest that no client has declared")
            return
        chunk = facts.record.chunk_size
        for index, part in enumerate(decision.parts):
            if part.blake3 != blake3(content[index * chunk : (index + 1) * chunk]).digest():
                self.violate("I4", f"{facts.id}: the decision names other bytes as chunk {index}")

    def _done(self, facts: SessionFacts, done: DoneRecord | LostRecord) -> None:
        facts.done, facts.done_at = done, self._world.loop.now
        there = self._object_of(facts)
        if facts.outcome is not Outcome.COMMIT:
            self.violate("I2", f"{facts.id} is done, and its decision is {facts.outcome}")
        if isinstance(done, LostRecord):
            if there is not None:
                self.violate("I8", f"{facts.id} is LOST, and its object is there")
            if not facts.may_be_lost:
                self.violate("I3", f"{facts.id} is LOST ({done.why}), and nobody has lost or overwritten anything")
        elif done.tombstone:
            self.keys.done(facts)
        elif there is None or there.head.size != done.size or there.head.etag != done.etag:
            self.violate("I7", f"{facts.id} is done, and its object is not what done.json says")
        elif facts.record.chosen_key:
            self.keys.done(facts)

    def _receipt(self, facts: SessionFacts, receipt: Receipt) -> None:
        if facts.record.tombstone or receipt.blake3 not in self.pieces:
            self.violate("I4", f"{facts.id}: a receipt of chunk {receipt.index}, of bytes that nobody has sent")
        stored = self._world.bucket.part_sha256s(facts.upload_id, receipt.index + 1)
        if stored is not None and receipt.sha256 not in stored and not facts.may_be_lost:
            self.violate("I5", f"{facts.id}: a receipt of chunk {receipt.index}, and no such part")

    def will_delete(self, key: str) -> None:
        self.touched(key)
        found = keys.parse_session_key(key)
        if found is None:
            if keys.parse_claim_key(key) is not None:
                self.violate("I16", f"a claim was deleted: {key}")
            if key in self._world.bucket.strangers:
                self.violate("I16", f"somebody else's object is deleted: {key}")
            facts = self.owner_of(key)
            if facts is not None and facts.record.chosen_key:
                self.keys.will_delete(facts)
            elif facts is not None and not facts.deleted:
                self.violate("I10", f"an object was deleted: {key}")
            return
        facts = self.sessions[found.session]
        now = self._world.loop.now
        rest = found.rest
        if rest == keys.SESSION:
            facts.alive, facts.gone = False, now
            since = facts.done_at if facts.lost else facts.decided
            if facts.deleted:
                if self._object_of(facts) is not None:
                    self.violate("I11", f"{facts.id}: session.json goes before the object")
            elif not facts.undone:
                self.violate("I10", f"{facts.id}: session.json goes, and its decision is {facts.outcome}")
            elif now < since + self.kept - ROUNDING and not (facts.delete_asked or facts.record.tombstone):
                self.violate("I15", f"{facts.id} is purged {now - since:.0f} s after its outcome, before its time")
            # One that a late chunk has made behind the decision goes after the records (W3, W6).
            if facts.upload_id in self._world.bucket.uploads() and facts.upload_named < facts.decided:
                self.violate("I9", f"{facts.id}: session.json goes, and its upload is still open")
        elif not facts.alive:
            return
        elif rest == keys.DECISION:
            self.violate("I11", f"{facts.id}: its decision goes while session.json is there")
        elif rest == keys.DONE:
            self.violate("I11", f"{facts.id}: done.json goes before session.json")
        elif not (facts.undone or facts.deleted or (rest.startswith("receipts/") and facts.done is not None)):
            kind = "I5" if facts.decision is None else "I10"
            self.violate(kind, f"{facts.id}: {rest[:24]} goes, and its decision is {facts.outcome}")

    def will_abort(self, key: str, upload_id: str) -> None:
        self.touched(key)
        facts = self.by_token.get(self._world.bucket.token_of(upload_id))
        if facts is None or not facts.alive or facts.undone or facts.deleted or facts.done is not None:
            return
        if facts.outcome is Outcome.COMMIT:
            assert facts.decision is not None
            late = self._world.loop.now >= facts.decided + facts.record.ttl + self.grace - ROUNDING
            if upload_id == facts.decision.upload_id and not (facts.may_be_lost and late):
                self.violate("I10", f"{facts.id} is decided COMMIT, and its upload is aborted")
        elif upload_id == facts.upload_id or not facts.upload_id:
            self.violate("I5", f"{facts.id} is open, and the upload that it may name is aborted")

    def has_completed(self, key: str, upload_id: str, made: SimulatedObject) -> None:
        self.touched(key)
        facts = self.owner_of(key)
        if facts is None or not facts.alive:
            self.violate("I9", f"an object appears at {key} after its session is gone")
            return
        if facts.record.chosen_key:
            self.keys.appears(facts)
        decision = facts.decision
        if facts.outcome is not Outcome.COMMIT or decision is None or decision.parameters is None:
            self.violate("I2", f"{facts.id}: an object appears, and its decision is {facts.outcome}")
            return
        if facts.lost or facts.refused or facts.deleted:
            self.violate("I8", f"{facts.id}: an object appears after it was answered {facts.refused or 'LOST'}")
        body = b"".join(made.read())
        if body != self.contents.get(decision.parameters.blake3):
            self.violate("I4", f"{facts.id}: the object has other bytes than were committed")

    def owner_of(self, key: str) -> SessionFacts | None:
        """Whose object it is that lies at ``key``."""
        found = self._world.bucket.object(key)
        return None if found is None else self.by_token.get(found.head.metadata.get(keys.TOKEN_METADATA, ""))

    def _strange(self, key: str) -> bool:
        """Whether somebody else's object lies at ``key``, or below it."""
        return any(at == key or at.startswith(f"{key}/") for at in self._world.bucket.strangers)

    def _object_of(self, facts: SessionFacts) -> SimulatedObject | None:
        found = self._world.bucket.object(facts.record.key)
        if found is None or found.head.metadata.get(keys.TOKEN_METADATA) != facts.record.token:
            return None
        return found

    def chunk_digest(self, content: bytes, index: int) -> bytes:
        return blake3(content[index * self._world.chunk : (index + 1) * self._world.chunk]).digest()
