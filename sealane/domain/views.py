"""What the services answer about a session, before it is put into protos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sealane.domain.coverage import Coverage
from sealane.domain.limits import ChunkPlan
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState


@dataclass(frozen=True, slots=True)
class CommittedObject:
    """The answer of a finished commit: equal for every caller but for ``replayed`` (I6).

    ``blake3`` is 32 raw bytes, ``etag`` without quotes, ``commit_time`` aware and by the store's clock.
    """

    bucket: str
    key: str
    etag: str
    size: int
    blake3: bytes
    commit_time: datetime
    replayed: bool = False

    @classmethod
    def of(cls, bucket: str, key: str, done: DoneRecord, *, replayed: bool) -> CommittedObject:
        """The answer that done.json stands for."""
        return cls(bucket, key, done.etag, done.size, done.blake3, done.committed_at, replayed)


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
