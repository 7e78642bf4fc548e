"""What the services answer about a session, before it is put into protos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sealane.domain.coverage import Coverage
from sealane.domain.decision import DuplicateAnswer
from sealane.domain.limits import ChunkPlan
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState


@dataclass(frozen=True, slots=True)
class CommittedObject:
    """The answer of a finished commit: equal for every caller but for ``replayed`` (I6).

    ``blake3`` is 32 raw bytes, ``etag`` without quotes, ``commit_time`` aware and by the store's clock. ``generation``
    is 0 at a key of the session's own. ``duplicate``: the object is another session's, with the same bytes.
    """

    bucket: str
    key: str
    etag: str
    size: int
    blake3: bytes
    commit_time: datetime
    replayed: bool = False
    generation: int = 0
    duplicate: bool = False

    @classmethod
    def of(cls, bucket: str, key: str, done: DoneRecord, *, replayed: bool) -> CommittedObject:
        """The answer that done.json stands for."""
        return cls(bucket, key, done.etag, done.size, done.blake3, done.committed_at, replayed, done.generation)

    @classmethod
    def of_duplicate(cls, bucket: str, key: str, answer: DuplicateAnswer, *, replayed: bool) -> CommittedObject:
        """The answer of a session whose key held the same bytes already: the holder's object (section 8, step 4)."""
        return cls(
            bucket,
            key,
            answer.etag,
            answer.size,
            answer.blake3,
            answer.committed_at,
            replayed,
            answer.generation,
            duplicate=True,
        )


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who holds a key that callers chose: true at the moment it was read (section 8).

    ``state``: COMMITTED, COMMITTING while its commit is being finished, OPEN while it is not decided; DELETED while its
    deletion is decided and not finished. ``foreign``: an object is there that sealane did not write; ``session_id`` and
    ``blake3`` are then empty, and ``commit_time`` is when it was last modified.
    """

    object_key: str
    generation: int
    session_id: str
    state: SessionState
    size: int
    blake3: bytes
    commit_time: datetime
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session as GetSession, ListSessions and WatchSession show it."""

    record: SessionRecord
    create_time: datetime
    """session.json's Last-Modified."""
    state: SessionState
    plan: ChunkPlan
    coverage: Coverage | None = None
    """None in lists, and once the receipts are gone."""
    committed: CommittedObject | None = None
    outcome_unavailable: bool = False
    """Assembly did not answer: ``state`` is what the records that ingest reads by itself say."""

    @property
    def expire_time(self) -> datetime:
        return self.create_time + timedelta(seconds=self.record.ttl)
