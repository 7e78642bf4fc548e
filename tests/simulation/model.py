"""What must hold: the reference model that every store step and every answer is held against (protocol.md section 9).

It knows nothing of how the services work. It sees what changes in the bucket, at the moment at which it changes
(:mod:`tests.simulation.steps`), what the services answer, and what the clients have declared; and it keeps, for each
session, the few facts that follow (:mod:`tests.simulation.facts`).
"""

from __future__ import annotations

from sealane.domain.decision import Outcome
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.domain.views import KeyHolder
from sealane.store import keys
from tests.simulation.steps import StoreSteps

_GIVEN_UP = {"SESSION_ABORTED": Outcome.ABORT, "SESSION_EXPIRED": Outcome.EXPIRE}


class Model(StoreSteps):
    """What servers say, against the facts: by the time an answer leaves, it must be true."""

    def knows(self, session: str, what: str) -> bool:
        """Whether it is a session of this tenant's; a violation if not: ``what`` has answered of another's."""
        if session not in self.sessions:
            self.violate("I12", f"{what} answers {self.tenant} of {session}, which is not its own")
        return session in self.sessions

    def committed(self, session: str, answer: tuple[object, ...]) -> None:
        """A commit of ``session`` is answered as a success."""
        facts = self.sessions[session]
        if not facts.committed and facts.outcome is not Outcome.DUPLICATE:
            self.violate("I7", f"{facts.id}: a commit is answered, and done.json is not there")
        facts.answers.add(answer)
        if len(facts.answers) > 1:
            self.violate("I6", f"{facts.id}: two answers to its commits: {sorted(map(str, facts.answers))}")

    def refused(self, session: str, reason: str) -> None:
        """``session`` is answered as gone, given up or lost."""
        facts = self.sessions.get(session)
        if facts is None or facts.record.tombstone:
            return  # no caller made a tombstone, and none is told of it
        if reason == "SESSION_NOT_FOUND" and facts.alive and not facts.deleted:
            self.violate("I8", f"{facts.id} is answered as not found, and session.json is there")
        given_up = _GIVEN_UP.get(reason)
        if given_up is not None and facts.outcome is not given_up:
            self.violate("I8", f"{facts.id} is answered {reason}, and its decision was {facts.outcome}")
        if facts.deleted:
            return
        if self._object_of(facts) is not None:
            self.violate("I8", f"{facts.id} is answered {reason}, and its object is there")
        if facts.alive and not (facts.undone or facts.may_be_lost):
            self.violate("I8", f"{facts.id} is answered {reason}, and its decision is {facts.outcome}")
        facts.refused = facts.refused or reason

    def still_open(self, session: str, reason: str, looked: float) -> None:
        """``session`` is refused as one that is OPEN, by receipts that were listed at ``looked``."""
        facts = self.sessions.get(session)
        if facts is not None and facts.decision is not None and facts.decided < looked:
            self.violate(
                "I8", f"{facts.id} is answered {reason}; {facts.outcome} was decided before its receipts were listed"
            )

    def taken(self, session: str, looked: float) -> None:
        """A stream of chunks is answered with success, and the coverage that was listed at ``looked``."""
        facts = self.sessions.get(session)
        if facts is None:
            return
        if not facts.alive and facts.gone < looked:
            self.violate("I8", f"{facts.id}: chunks are acknowledged, and the session was gone")
        if facts.outcome in {Outcome.ABORT, Outcome.EXPIRE} and facts.decided < looked:
            self.violate("I8", f"{facts.id}: chunks are acknowledged after its {facts.outcome}")

    def acknowledged(self, session: str, index: int, content: bytes | None, looked: float) -> None:
        """A chunk of ``content`` is answered as stored, by a server that looked for a decision at ``looked``."""
        facts = self.sessions.get(session)
        if facts is None or not facts.alive or content is None or facts.undone or facts.deleted:
            return
        sent = self.chunk_digest(content, index)
        if facts.decision is not None:
            parts = facts.decision.parts
            excused = facts.sent_other_bytes and facts.decided >= looked  # by the client's own doing, and unknown yet
            if not excused and (index >= len(parts) or parts[index].blake3 != sent):
                self.violate("I5", f"{facts.id}: chunk {index} is acknowledged, and the decision has other bytes")
            return
        prefix = keys.receipts_prefix(self.tenant, facts.id, index)
        if sent not in [keys.parse_receipt(key).blake3 for key in self._world.bucket.keys(prefix)]:
            self.violate("I5", f"{facts.id}: chunk {index} is acknowledged, and has no receipt")

    def shown_committed(self, session: str) -> None:
        """``session`` is shown as COMMITTED."""
        facts = self.sessions.get(session)
        if facts is not None and not facts.committed:
            self.violate("I7", f"{facts.id} is shown as committed, and done.json is not there")

    def key_shown(self, key: str, holder: KeyHolder | None) -> None:
        """A chosen key is shown as held, or vacant (None)."""
        strange = f"{self.tenant}/{key}" in self._world.bucket.strangers
        if strange is not (holder is not None and holder.foreign):
            whose = "somebody else's" if strange else "vacant or sealane's"
            self.violate("I16", f"{key} is {whose}, and is shown as held by {holder}")
        if holder is None or holder.foreign:
            return
        if not self.knows(holder.session_id, "GetKey"):
            return
        facts = self.sessions[holder.session_id]
        if facts.generation != holder.generation or facts.record.chosen_key != key:
            self.violate("I16", f"{key} is shown as held by {holder}; that session's is generation {facts.generation}")
        if holder.state is SessionState.COMMITTED and not facts.committed:
            self.violate("I7", f"{facts.id} is shown as committed, and done.json is not there")
        if holder.state is SessionState.DELETED and not facts.delete_asked:
            self.violate("I8", f"{facts.id} is shown as deleted, and nobody has asked for that")

    def found(self, kind: str, session: str, key: str) -> None:
        """An audit tells of something that does not fit. Nobody has forged anything, and a stranger wrote little."""
        if key and not self.owns(key):
            self.violate("I12", f"an audit tells {self.tenant} of {key}")
        facts = self.sessions.get(session)
        if kind in {"BAD_RECORD", "UNKNOWN_KEY"}:
            self.violate("I12", f"an audit tells of {kind}: {key}")
        elif kind == "OBJECT_WITHOUT_RECORDS" and key not in self._world.bucket.strangers:
            self.violate("I9", f"an audit tells of an object without records: {key}")
        elif facts is None:
            return
        elif kind == "OBJECT_MISSING" and facts.committed and self._object_of(facts) is not None:
            self.violate("I4", f"an audit tells that the object of {facts.id} is missing, and it is there")
        elif kind == "UPLOAD_MISSING" and not facts.may_be_lost and facts.alive and facts.decision is None:
            self.violate("I5", f"an audit tells that the upload of {facts.id} is missing, and nobody has lost it")
        elif kind in {"RECORD_WITHOUT_SESSION", "RECEIPT_WITHOUT_SESSION"} and facts.alive:
            self.violate("I8", f"an audit tells of {kind}: {key}; the session is there: {facts.outcome or 'OPEN'}")

    def proved(self, session: str, digest: bytes, size: int) -> None:
        """The object of ``session`` is answered as read back, with this digest."""
        done = self.sessions[session].done
        if not isinstance(done, DoneRecord) or (done.blake3, done.size) != (digest, size):
            self.violate("I4", f"{session} is answered as read back: {digest.hex()}, and done.json says {done}")
