"""The catalogue of everything that can go wrong, as the domain says it.

One class per reason of docs/protocol.md section 10. ``str(error)`` is public: it is built here from typed values only
(indexes, sizes, digests), says what to do next, and goes on the wire as it is. ``private`` is for the log alone.
:mod:`sealane.rpc.status` gives each reason its gRPC code and its detail message, both ways, so that a client raises
the class that the server raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from sealane.domain.chunks import ChunkDigests, ChunkRange
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.domain.views import KeyHolder


class Reason(StrEnum):
    """Machine-readable reason; the same names as ``sealane.v1.ErrorReason`` without its prefix."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_SESSION_ID = "INVALID_SESSION_ID"
    INVALID_FILENAME = "INVALID_FILENAME"
    INVALID_METADATA = "INVALID_METADATA"
    INVALID_DIGEST = "INVALID_DIGEST"
    INVALID_STREAM = "INVALID_STREAM"
    INVALID_SIZE = "INVALID_SIZE"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"  # noqa: S105 - a reason, not a secret
    INVALID_OBJECT_KEY = "INVALID_OBJECT_KEY"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    CHUNK_CORRUPT = "CHUNK_CORRUPT"
    CHUNK_NEEDED = "CHUNK_NEEDED"
    CHUNK_CONFLICT = "CHUNK_CONFLICT"
    CHUNK_OUT_OF_RANGE = "CHUNK_OUT_OF_RANGE"
    COVERAGE_INCOMPLETE = "COVERAGE_INCOMPLETE"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    GENERATION_MISMATCH = "GENERATION_MISMATCH"
    REQUEST_ID_USED = "REQUEST_ID_USED"
    SESSION_SEALED = "SESSION_SEALED"
    SESSION_ABORTED = "SESSION_ABORTED"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    SESSION_NOT_COMMITTED = "SESSION_NOT_COMMITTED"
    DELETE_UNSUPPORTED = "DELETE_UNSUPPORTED"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    DRAINING = "DRAINING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    PEER_UNAVAILABLE = "PEER_UNAVAILABLE"
    KEY_COOLING = "KEY_COOLING"
    SESSION_LOST = "SESSION_LOST"
    OBJECT_CORRUPT = "OBJECT_CORRUPT"
    INTERNAL = "INTERNAL"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"


def _hex(digest: bytes | None) -> str:
    return digest.hex() if digest else "unknown"


class SealaneError(Exception):
    """What every failure of sealane is. ``message`` is public; ``private`` is for the log alone."""

    reason: ClassVar[Reason]

    def __init__(self, message: str, *, private: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.private = private


# --- malformed requests: INVALID_ARGUMENT ---


class InvalidRequest(SealaneError):
    """A field is malformed. ``field`` is its proto name."""

    reason = Reason.INVALID_REQUEST

    def __init__(self, message: str, *, field: str = "", private: str = "") -> None:
        super().__init__(message, private=private)
        self.field = field


class InvalidSessionId(InvalidRequest):
    reason = Reason.INVALID_SESSION_ID


class InvalidFilename(InvalidRequest):
    reason = Reason.INVALID_FILENAME


class InvalidMetadata(InvalidRequest):
    reason = Reason.INVALID_METADATA


class InvalidDigest(InvalidRequest):
    reason = Reason.INVALID_DIGEST


class InvalidStream(InvalidRequest):
    reason = Reason.INVALID_STREAM


class InvalidSize(InvalidRequest):
    reason = Reason.INVALID_SIZE


class InvalidPageToken(InvalidRequest):
    reason = Reason.INVALID_PAGE_TOKEN


class InvalidObjectKey(InvalidRequest):
    """No key that a caller may choose: see :func:`sealane.domain.ids.object_key`, and docs/adr/0007."""

    reason = Reason.INVALID_OBJECT_KEY


# --- identity ---


class Unauthenticated(SealaneError):
    reason = Reason.UNAUTHENTICATED

    def __init__(self, message: str = "No valid identity was presented.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class PermissionDenied(SealaneError):
    reason = Reason.PERMISSION_DENIED

    def __init__(self, message: str = "This identity may not do this.", *, private: str = "") -> None:
        super().__init__(message, private=private)


# --- sessions ---


class SessionNotFound(SealaneError):
    """Unknown, purged, or another tenant's: the same answer for all three."""

    reason = Reason.SESSION_NOT_FOUND

    def __init__(self, message: str = "There is no such session.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class RequestIdUsed(SealaneError):
    reason = Reason.REQUEST_ID_USED

    def __init__(
        self,
        message: str = "This request_id belongs to a session that is gone. Use a new request_id.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


class SessionOutcome(SealaneError):
    """The session has become something that the request does not fit. ``state`` says what."""

    default_state: ClassVar[SessionState]
    default_message: ClassVar[str]

    def __init__(self, message: str | None = None, *, state: SessionState | None = None, private: str = "") -> None:
        super().__init__(message or self.default_message, private=private)
        self.state = state or self.default_state


class SessionSealed(SessionOutcome):
    reason = Reason.SESSION_SEALED
    default_state = SessionState.COMMITTING
    default_message = (
        "The decision to commit this session stands: it takes no other chunk, commit or abort. "
        "GetCommit says what became of it."
    )


class SessionAborted(SessionOutcome):
    reason = Reason.SESSION_ABORTED
    default_state = SessionState.ABORTED
    default_message = "This session was aborted. Start a new one."


class SessionExpired(SessionOutcome):
    reason = Reason.SESSION_EXPIRED
    default_state = SessionState.EXPIRED
    default_message = "This session expired before it was committed. Start a new one, with a longer ttl if need be."


class SessionNotCommitted(SessionOutcome):
    reason = Reason.SESSION_NOT_COMMITTED
    default_state = SessionState.OPEN
    default_message = "This session has no committed object (yet)."


class SessionLost(SealaneError):
    reason = Reason.SESSION_LOST

    def __init__(
        self,
        message: str = "The store lost bytes of this session that it had acknowledged. Upload again in a new session.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


# --- keys that callers choose ---


class GenerationMismatch(SealaneError):
    """The key is taken, or its generation moved. ``holder`` as it was at that moment; None: the key is vacant."""

    reason = Reason.GENERATION_MISMATCH

    def __init__(self, message: str, *, holder: KeyHolder | None = None, private: str = "") -> None:
        super().__init__(message, private=private)
        self.holder = holder

    @classmethod
    def of(cls, object_key: str, wanted: int | None, holder: KeyHolder | None) -> GenerationMismatch:
        """``wanted``: the generation to replace, 0 for none, or None for any."""
        name = repr(object_key if len(object_key) <= 100 else object_key[:99] + "…")
        if holder is None:
            return cls(f"The key {name} is vacant; generation {wanted} was to be replaced.")
        if holder.foreign:
            return cls(
                f"At the key {name} there is an object that sealane did not write; none of its replaces it.",
                holder=holder,
            )
        undecided = ", which is not decided yet" if holder.state is SessionState.OPEN else ""
        expected = "none was expected" if wanted == 0 else f"{wanted} was to be replaced"
        return cls(
            f"The key {name} has generation {holder.generation}, of session {holder.session_id}{undecided}; "
            f"{expected}.",
            holder=holder,
        )


class DeleteUnsupported(SealaneError):
    reason = Reason.DELETE_UNSUPPORTED

    def __init__(
        self,
        message: str = "This server can't delete an object at a chosen key safely. Nothing was changed.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


# --- chunks ---


class ChunkError(SealaneError):
    """About some chunks: ``chunks`` ascending, ``truncated`` if there are more than are listed."""

    def __init__(
        self,
        message: str,
        *,
        chunks: Sequence[ChunkDigests] = (),
        truncated: bool = False,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.chunks = tuple(chunks)
        self.truncated = truncated


class ChunkCorrupt(ChunkError):
    """The bytes are not what the client declared: send the chunk again."""

    reason = Reason.CHUNK_CORRUPT

    @classmethod
    def digest(cls, index: int, *, declared: bytes, actual: bytes) -> ChunkCorrupt:
        return cls(
            f"Chunk {index} arrived with BLAKE3 {_hex(actual)}, declared was {_hex(declared)}. Send it again.",
            chunks=[ChunkDigests(index, declared, actual)],
        )


class ChunkNeeded(ChunkError):
    """The commit found parts overwritten: send those bytes again, then commit again."""

    reason = Reason.CHUNK_NEEDED

    @classmethod
    def of(cls, chunks: Sequence[ChunkDigests], *, cap: int = 16) -> ChunkNeeded:
        listed = tuple(chunks)[:cap]
        names = ", ".join(str(c.index) for c in listed)
        return cls(
            f"The store no longer has the verified bytes of chunk {names}. Send them again, then commit again.",
            chunks=listed,
            truncated=len(chunks) > cap,
        )


class ChunkConflict(ChunkError):
    """Other bytes are stored under the index: a bug of the client's."""

    reason = Reason.CHUNK_CONFLICT

    @classmethod
    def of(cls, index: int, *, stored: bytes, sent: bytes) -> ChunkConflict:
        return cls(
            f"Chunk {index} is stored with BLAKE3 {_hex(stored)}, and was sent with {_hex(sent)} too. "
            "One session is one object: start a new session for other bytes.",
            chunks=[ChunkDigests(index, stored, sent)],
        )


class ChunkOutOfRange(SealaneError):
    """A value of a chunk lies outside the plan. ``field`` is "chunk_index", "length" or "offset"."""

    reason = Reason.CHUNK_OUT_OF_RANGE

    def __init__(
        self,
        message: str,
        *,
        index: int = 0,
        field: str = "",
        value: int = 0,
        minimum: int = 0,
        maximum: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.index = index
        self.field = field
        self.value = value
        self.minimum = minimum
        self.maximum = maximum

    @classmethod
    def of(cls, index: int, field: str, value: int, minimum: int, maximum: int) -> ChunkOutOfRange:
        allowed = f"must be {minimum}" if minimum == maximum else f"must be from {minimum} to {maximum}"
        subject = "chunk_index" if field == "chunk_index" else f"The {field} of chunk {index}"
        return cls(
            f"{subject} is {value}; it {allowed}.",
            index=index,
            field=field,
            value=value,
            minimum=minimum,
            maximum=maximum,
        )


class CoverageIncomplete(SealaneError):
    """Chunks are missing. ``missing`` is capped; ``missing_chunks`` counts them all."""

    reason = Reason.COVERAGE_INCOMPLETE

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[ChunkRange] = (),
        truncated: bool = False,
        missing_chunks: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.missing = tuple(missing)
        self.truncated = truncated
        self.missing_chunks = missing_chunks

    @classmethod
    def of(cls, missing: Sequence[ChunkRange], *, cap: int = 64) -> CoverageIncomplete:
        listed = tuple(missing)[:cap]
        count = sum(r.count for r in missing)
        named = ", ".join(str(r) for r in listed[:8]) + (", …" if len(missing) > 8 else "")
        return cls(
            f"{count} chunk{'s are' if count != 1 else ' is'} missing: {named}. Send them, then commit again.",
            missing=listed,
            truncated=len(missing) > cap,
            missing_chunks=count,
        )


class DigestMismatch(SealaneError):
    """Size or digest of the whole differ from what the client said."""

    reason = Reason.DIGEST_MISMATCH

    def __init__(
        self,
        message: str = "",
        *,
        expected: bytes = b"",
        actual: bytes = b"",
        expected_size: int = 0,
        actual_size: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(
            message
            or f"The stored chunks make {actual_size} bytes with BLAKE3 {_hex(actual)}; "
            f"{expected_size} bytes with {_hex(expected)} were declared.",
            private=private,
        )
        self.expected = expected
        self.actual = actual
        self.expected_size = expected_size
        self.actual_size = actual_size


class ObjectCorrupt(DigestMismatch):
    """The object's bytes at rest are not those committed."""

    reason = Reason.OBJECT_CORRUPT


# --- not now ---


class RetryLater(SealaneError):
    """Nothing is lost: the same request again after ``retry_after`` seconds."""

    default_message: ClassVar[str]
    default_retry_after: ClassVar[float] = 1.0

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, private: str = "") -> None:
        super().__init__(message or self.default_message, private=private)
        self.retry_after = self.default_retry_after if retry_after is None else retry_after


class Overloaded(RetryLater):
    reason = Reason.OVERLOADED
    default_message = "This replica's memory or streams are full. Wait, then resume from the coverage."


class Draining(RetryLater):
    reason = Reason.DRAINING
    default_message = "This replica is shutting down. Resume on another, from the coverage."
    default_retry_after = 0.1


class StoreUnavailable(RetryLater):
    reason = Reason.STORE_UNAVAILABLE
    default_message = "The object store does not answer. Nothing is lost: repeat the request."


class OutcomeUnknown(RetryLater):
    reason = Reason.OUTCOME_UNKNOWN
    default_message = "The outcome is not known yet. Repeat the same request: it is idempotent."


class PeerUnavailable(RetryLater):
    reason = Reason.PEER_UNAVAILABLE
    default_message = "The other sealane service does not answer. Nothing is lost: repeat the request."

    @classmethod
    def of(cls, service: str, *, private: str = "") -> PeerUnavailable:
        """``service`` is the one that does not answer, "ingest" or "assembly": whoever reads it knows where to look."""
        return cls(
            f"The other service, {service}, does not answer. Nothing is lost: repeat the request.", private=private
        )


class KeyCooling(RetryLater):
    """The key's last object was deleted less than an hour ago; ``retry_after`` says when the key may be used again."""

    reason = Reason.KEY_COOLING
    default_message = "The object at this key was deleted less than an hour ago. The key can't be used again yet."
    default_retry_after = 3600.0


class DeadlineExceeded(SealaneError):
    reason = Reason.DEADLINE_EXCEEDED

    def __init__(
        self,
        message: str = "The request's deadline came first. Repeat it with a longer one; it is idempotent.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


class QuotaExceeded(SealaneError):
    """``quota`` is its name in the settings, ``limit`` what it allows, ``used`` what there is as far as is known."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(
        self,
        message: str = "A quota of this tenant is used up.",
        *,
        quota: str = "",
        limit: int = 0,
        used: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.quota = quota
        self.limit = limit
        self.used = used

    @classmethod
    def of(cls, quota: str, used: int, limit: int, what: str, advice: str) -> QuotaExceeded:
        text = f"This tenant has {used} {what}, of {limit} that it may have. {advice}"
        return cls(text, quota=quota, limit=limit, used=used)


class Unimplemented(SealaneError):
    reason = Reason.UNIMPLEMENTED

    def __init__(self, message: str = "This server does not have the operation.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class InternalError(SealaneError):
    """A bug, or a state that must not be: alarmed. The message never has a cause in it."""

    reason = Reason.INTERNAL

    def __init__(self, message: str = "Internal error. Report the error id.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class BadRecord(InternalError):
    """A record or receipt in the bucket is forged, torn, or of a future version: fail closed (section 11)."""
