"""The decision: the one immutable record whose writing **is** a session's outcome, and what follows from it.

Protocol.md sections 3 and 5. All after the decision is roll-forward by anyone; so a COMMIT carries everything that
finishing it needs: parameters, upload id, and the whole part list.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sealane.domain.chunks import Receipt
from sealane.domain.errors import (
    InternalError,
    SealaneError,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.limits import MAX_PARTS, ChunkPlan
from sealane.domain.record_fields import (
    MAX_CHUNK_BYTES,
    MAX_GENERATION,
    MAX_OBJECT_BYTES,
    Fields,
    b64,
    digest32,
    encode,
    sound_text,
    time_text,
    versioned,
)
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord, SessionRecord
from sealane.domain.states import SessionState


class Outcome(StrEnum):
    """What a decision says."""

    COMMIT = "COMMIT"
    ABORT = "ABORT"
    EXPIRE = "EXPIRE"
    DUPLICATE = "DUPLICATE"


@dataclass(frozen=True, slots=True)
class CommitParameters:
    """What the client itself knows of its object; "the same parameters" means these three (section 5)."""

    chunk_count: int
    size: int
    blake3: bytes

    def same(self, other: CommitParameters) -> bool:
        """Equal, digests in constant time."""
        return (
            self.chunk_count == other.chunk_count
            and self.size == other.size
            and hmac.compare_digest(self.blake3, other.blake3)
        )


@dataclass(frozen=True, slots=True)
class DecidedPart:
    """One chunk as the decision names it: part ``index + 1`` must have this ETag and SHA-256."""

    etag: str
    sha256: bytes
    blake3: bytes
    length: int


@dataclass(frozen=True, slots=True)
class DuplicateAnswer:
    """What a session answers whose key held the same bytes already: the holder's object, durable since (section 8)."""

    session_id: str
    """The holder."""
    generation: int
    etag: str
    size: int
    blake3: bytes
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """decision.json. ``upload_id`` and ``parts`` only with COMMIT, one part per chunk in order.

    An object without chunks has one empty part: ``parts`` then has one row and ``parameters.chunk_count`` is 0.
    ``parameters`` with COMMIT and DUPLICATE. At a chosen key a COMMIT is generation ``generation`` of it, as the
    session's claim says. A COMMIT of a tombstone session has no parameters and no parts.
    """

    session_id: str
    outcome: Outcome
    parameters: CommitParameters | None = None
    upload_id: str = ""
    parts: Sequence[DecidedPart] = ()
    generation: int = 0
    answer: DuplicateAnswer | None = None
    """With DUPLICATE."""
    tombstone: bool = False

    def accepts(self, index: int, length: int, blake3: bytes) -> bool:
        """True if this chunk is the decision's own: it may be sent again to mend an overwritten part (section 4, 1)."""
        if self.outcome is not Outcome.COMMIT or self.parameters is None:
            return False
        if not 0 <= index < self.parameters.chunk_count:
            return False
        part = self.parts[index]
        return part.length == length and hmac.compare_digest(part.blake3, blake3)

    def values(self) -> dict[str, object]:
        """As decision.json has them, and as a claim proposes them (section 8)."""
        values: dict[str, object] = {"session_id": self.session_id, "outcome": self.outcome.value}
        if self.parameters is not None:
            values |= {
                "chunk_count": self.parameters.chunk_count,
                "size": self.parameters.size,
                "blake3": b64(self.parameters.blake3),
            }
        if self.outcome is Outcome.COMMIT and not self.tombstone:
            values |= {
                "upload_id": self.upload_id,
                # [etag, sha256, blake3, length] of part 1, 2, …: a row each keeps 10,000 parts under 2 MB.
                "parts": [[p.etag, b64(p.sha256), b64(p.blake3), p.length] for p in self.parts],
            }
        if self.generation:
            values["generation"] = self.generation
        if self.tombstone:
            values["tombstone"] = True
        if self.answer is not None:
            values["answer"] = {
                "session_id": self.answer.session_id,
                "generation": self.answer.generation,
                "etag": self.answer.etag,
                "committed_at": time_text(self.answer.committed_at),
            }
        return values

    def encode(self) -> bytes:
        return encode("decision", self.values())

    @classmethod
    def parse(cls, body: bytes | Mapping[str, Any]) -> Decision:
        f = Fields("decision", body)
        try:
            outcome = Outcome(f.text("outcome"))
        except ValueError as error:
            raise f.bad("outcome") from error
        if outcome in (Outcome.ABORT, Outcome.EXPIRE):
            return cls(session_id=f.text("session_id"), outcome=outcome)
        generation = f.whole("generation", minimum=1, maximum=MAX_GENERATION) if f.has("generation") else 0
        if f.true("tombstone"):
            if outcome is not Outcome.COMMIT or not generation:
                raise f.bad("tombstone")
            return cls(f.text("session_id"), outcome, generation=generation, tombstone=True)
        parameters = CommitParameters(
            chunk_count=f.whole("chunk_count", maximum=MAX_PARTS),
            size=f.whole("size", maximum=MAX_OBJECT_BYTES),
            blake3=f.digest("blake3"),
        )
        if outcome is Outcome.DUPLICATE:
            return cls(f.text("session_id"), outcome, parameters, answer=_answer(f, parameters))
        parts: list[DecidedPart] = []
        for row in f.items("parts"):
            try:
                etag, sha256, blake3, length = row
                part = DecidedPart(etag=etag, sha256=digest32(sha256), blake3=digest32(blake3), length=length)
            except (TypeError, ValueError) as error:
                raise f.bad("parts") from error
            if type(length) is not int or not 0 <= length <= MAX_CHUNK_BYTES or not sound_text(etag):
                raise f.bad("parts")
            parts.append(part)
        if len(parts) != max(1, parameters.chunk_count) or sum(p.length for p in parts) != parameters.size:
            raise f.bad("parts")
        return cls(f.text("session_id"), outcome, parameters, f.text("upload_id"), tuple(parts), generation)

    @classmethod
    def commit(
        cls, session_id: str, parameters: CommitParameters, upload_id: str, receipts: Sequence[Receipt]
    ) -> Decision:
        """The decision to commit ``receipts``, one per chunk, in order of their indexes."""
        parts = tuple(DecidedPart(r.etag, r.sha256, r.blake3, r.length) for r in receipts)
        return cls(session_id, Outcome.COMMIT, parameters, upload_id, parts)


def _answer(f: Fields, parameters: CommitParameters) -> DuplicateAnswer:
    answer = Fields("answer", versioned("answer", {**f.record("answer")}))
    return DuplicateAnswer(
        session_id=answer.text("session_id"),
        generation=answer.whole("generation", minimum=1, maximum=MAX_GENERATION),
        etag=answer.text("etag"),
        size=parameters.size,
        blake3=parameters.blake3,
        committed_at=answer.time("committed_at"),
    )


@dataclass(frozen=True, slots=True)
class Records:
    """What was read of one session, in C1's order: session, deleted, done, decision. None: it is not there.

    A decision counts only if session.json was read after it and is there ⚠: whoever fills this in with a decision
    has read session.json again after decision.json (or passes ``session=None``).
    """

    session: SessionRecord | None
    deleted: DeletedRecord | None = None
    done: DoneRecord | LostRecord | None = None
    decision: Decision | None = None

    @property
    def state(self) -> SessionState | None:
        """The derived state; None if there is no such session."""
        if self.session is None:
            return None
        if self.deleted is not None:
            return SessionState.DELETED
        if isinstance(self.done, LostRecord):
            return SessionState.LOST
        if self.done is not None:
            return SessionState.COMMITTED
        if self.decision is None:
            return SessionState.OPEN
        return {
            Outcome.COMMIT: SessionState.COMMITTING,
            Outcome.ABORT: SessionState.ABORTED,
            Outcome.EXPIRE: SessionState.EXPIRED,
            Outcome.DUPLICATE: SessionState.DUPLICATE,
        }[self.decision.outcome]


def refusal(state: SessionState | None) -> SealaneError:
    """The error for a request that needs an OPEN session, and found this instead."""
    match state:
        case None | SessionState.DELETED:
            return SessionNotFound()
        case SessionState.ABORTED:
            return SessionAborted()
        case SessionState.EXPIRED:
            return SessionExpired()
        case SessionState.LOST:
            return SessionLost()
        case SessionState.COMMITTING | SessionState.COMMITTED | SessionState.DUPLICATE:
            return SessionSealed(state=state)
        case SessionState.OPEN:
            return InternalError(private="refusal() of an OPEN session")


def plan_of(record: SessionRecord, max_chunks: int) -> ChunkPlan:
    return ChunkPlan(chunk_size=record.chunk_size, size=record.size, max_chunks=max_chunks)
