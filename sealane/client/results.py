"""What the SDK answers: plain frozen dataclasses, no protos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealane.domain.chunks import ChunkRange
from sealane.domain.coverage import Coverage
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, KeyHolder


@dataclass(frozen=True, slots=True)
class Session:
    """One session as ingest shows it. Sizes in bytes, times aware, by the store's clock."""

    session_id: str
    filename: str
    object_key: str
    """Empty until it is committed."""
    size: int | None
    chunk_size: int
    chunk_count: int | None
    content_type: str
    metadata: dict[str, str]
    create_time: datetime
    expire_time: datetime
    ttl: float
    """Seconds."""
    state: SessionState
    outcome_unavailable: bool
    """Assembly did not answer: ``state`` is what ingest itself could read."""
    coverage: Coverage | None
    """None in lists and once the receipts are gone."""
    missing_truncated: bool
    """``coverage.missing`` is only the beginning of what is missing."""
    committed_object: CommittedObject | None
    chosen_key: str = ""
    """The key that the caller chose, as given at create; empty for a key of the session's own."""
    if_generation_match: int | None = None
    """With a chosen key: the generation that the commit replaces, 0 for none; None with ``overwrite``."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a session."""

    state: SessionState
    committed_object: CommittedObject | None


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """A commit with these parameters would be accepted now (or has been: see ``state``)."""

    state: SessionState
    chunk_count: int
    size: int
    blake3: bytes

    @property
    def digest(self) -> str:
        """BLAKE3 in hex, as `b3sum` prints it."""
        return self.blake3.hex()


@dataclass(frozen=True, slots=True)
class VerifiedObject:
    """The object was read back whole, and is what was committed."""

    size: int
    blake3: bytes

    @property
    def digest(self) -> str:
        """BLAKE3 in hex, as `b3sum` prints it."""
        return self.blake3.hex()


@dataclass(frozen=True, slots=True)
class KeyState:
    """Who holds a key, at the moment it was read."""

    object_key: str
    generation: int
    """What ``if_generation_match`` must say to replace the holder; 0 if the key is vacant."""
    holder: KeyHolder | None
    cooling_until: datetime | None
    """Of a vacant key whose object was deleted a short while ago: from when on it can be used again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed of one kind."""

    kind: str
    """"object", "upload", "part", "receipt" or "record"."""
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DeletedSession:
    """A session of which nothing is left."""

    session_id: str
    state: SessionState
    """What it became: DELETED, ABORTED, EXPIRED, DUPLICATE or LOST."""
    removed: tuple[Removal, ...]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One thing that happened to a session, as the store remembers it."""

    time: datetime | None
    """By the store's clock; None if it has not happened (yet), or the store does not say."""
    event: str
    """"created", "chunks_stored", "decided", …"""
    text: str
    fields: dict[str, str]
    chunks: tuple[ChunkRange, ...]


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """What a replica found of one guarantee (R1…R6) of its object store."""

    guarantee: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Counts of one replica since its start; bytes for memory."""

    sessions_created: int
    chunks_stored: int
    chunks_duplicate: int
    bytes_stored: int
    errors_by_reason: dict[str, int]
    open_streams: int
    memory_in_use: int
    memory_budget: int


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What requests are held to: bytes, and seconds for the ttl."""

    max_frame_bytes: int
    min_chunk_bytes: int
    max_chunk_bytes: int
    max_chunks: int
    max_object_bytes: int
    max_metadata_bytes: int
    default_ttl: float
    max_ttl: float
    chunks_per_stream: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What one ingest replica says of itself."""

    version: str
    limits: ServerLimits
    store_probe: tuple[ProbeVerdict, ...]
    """Empty until the probe has answered."""
    statistics: ServerStatistics
    start_time: datetime


@dataclass(frozen=True, slots=True)
class BrokenStream:
    """An upload stream that ended with an error, and what that cost."""

    reason: str
    """The error's: "DRAINING", "PEER_UNAVAILABLE", …"""
    chunks_sent_again: int
    """Of the chunks that it had sent, whole or in part, those that another stream then sent from their beginning. The
    others had arrived."""


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A committed upload, and what it took."""

    session_id: str
    committed_object: CommittedObject
    chunk_size: int
    chunk_count: int
    bytes_sent: int
    """Bytes of chunks put on the wire by this run, those that had to be sent again included."""
    bytes_resumed: int
    """Bytes that the server had before this run."""
    streams: int
    retries: int
    chunks_sent_again: int = 0
    """Times that a chunk was sent from its beginning although it had been sent before, whole or in part."""
    broken_streams: tuple[BrokenStream, ...] = ()
    """In the order in which they broke."""

    @property
    def digest(self) -> str:
        """BLAKE3 of the object in hex, as `b3sum` prints it."""
        return self.committed_object.blake3.hex()

    @property
    def size(self) -> int:
        return self.committed_object.size

    @property
    def bucket(self) -> str:
        return self.committed_object.bucket

    @property
    def key(self) -> str:
        return self.committed_object.key

    @property
    def generation(self) -> int:
        """Of the key, from 1 on; 0 at a key of the session's own."""
        return self.committed_object.generation

    @property
    def duplicate(self) -> bool:
        """The key held these very bytes already: nothing was replaced, and the object is an earlier session's."""
        return self.committed_object.duplicate

    @property
    def bytes_sent_again(self) -> int:
        """Bytes that were sent more often than once."""
        return max(0, self.bytes_sent - (self.size - self.bytes_resumed))
