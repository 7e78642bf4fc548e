"""What the model knows of one session."""

from __future__ import annotations

from dataclasses import dataclass, field

from sealane.domain.decision import Decision, Outcome
from sealane.domain.ids import SessionId
from sealane.domain.records import DoneRecord, LostRecord, SessionRecord


@dataclass
class SessionFacts:
    """What has become of one session. ``decision`` is the one that was written while session.json was there."""

    id: SessionId
    record: SessionRecord
    created: float
    alive: bool = True
    """session.json is there."""
    gone: float = 0.0
    """When it went."""
    upload_id: str = ""
    upload_named: float = 0.0
    """When multipart.json was written."""
    decision: Decision | None = None
    decided: float = 0.0
    done: DoneRecord | LostRecord | None = None
    done_at: float = 0.0
    deleted: bool = False
    refused: str = ""
    """A negative answer that was given: it must stay true."""
    answers: set[tuple[object, ...]] = field(default_factory=set)
    """The successful answers to commits."""
    may_be_lost: bool = False
    """The store was told to lose its upload, or a client has sent other bytes for a chunk."""

    sent_other_bytes: bool = False
    """A client has sent other bytes for a chunk."""

    delete_asked: bool = False
    """A client has asked for its deletion."""

    @property
    def generation(self) -> int:
        """Of its key, once decided; 0 at a key of its own."""
        return 0 if self.decision is None else self.decision.generation

    @property
    def committed(self) -> bool:
        return isinstance(self.done, DoneRecord)

    @property
    def outcome(self) -> Outcome | None:
        return None if self.decision is None else self.decision.outcome

    @property
    def lost(self) -> bool:
        return isinstance(self.done, LostRecord)

    @property
    def undone(self) -> bool:
        """Decided, and there is no object and will be none."""
        return self.lost or self.outcome in {Outcome.ABORT, Outcome.EXPIRE, Outcome.DUPLICATE}
