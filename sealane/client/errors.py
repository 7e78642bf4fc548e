"""What the SDK raises: the server's own errors as the same classes, and the few that only a client can have.

``except SealaneError`` catches everything of sealane. :class:`SourceChanged`, :class:`GaveUp` and
:class:`ClientClosed` are made here; all others are what the server said (docs/clients.md has the table of what to do
about each).
"""

from __future__ import annotations

import grpc

from sealane.domain.errors import (
    BadRecord,
    ChunkConflict,
    ChunkCorrupt,
    ChunkError,
    ChunkNeeded,
    ChunkOutOfRange,
    CoverageIncomplete,
    DeadlineExceeded,
    DeleteUnsupported,
    DigestMismatch,
    Draining,
    GenerationMismatch,
    InternalError,
    InvalidDigest,
    InvalidFilename,
    InvalidMetadata,
    InvalidObjectKey,
    InvalidPageToken,
    InvalidRequest,
    InvalidSessionId,
    InvalidSize,
    InvalidStream,
    KeyCooling,
    ObjectCorrupt,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    PermissionDenied,
    QuotaExceeded,
    Reason,
    RequestIdUsed,
    RetryLater,
    SealaneError,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotCommitted,
    SessionNotFound,
    SessionOutcome,
    SessionSealed,
    StoreUnavailable,
    Unauthenticated,
    Unimplemented,
)
from sealane.rpc.status import from_rpc_error

__all__ = [
    "BadRecord",
    "ChunkConflict",
    "ChunkCorrupt",
    "ChunkError",
    "ChunkNeeded",
    "ChunkOutOfRange",
    "ClientClosed",
    "CoverageIncomplete",
    "DeadlineExceeded",
    "DeleteUnsupported",
    "DigestMismatch",
    "Draining",
    "GaveUp",
    "GenerationMismatch",
    "InternalError",
    "InvalidDigest",
    "InvalidFilename",
    "InvalidMetadata",
    "InvalidObjectKey",
    "InvalidPageToken",
    "InvalidRequest",
    "InvalidSessionId",
    "InvalidSize",
    "InvalidStream",
    "KeyCooling",
    "ObjectCorrupt",
    "OutcomeUnknown",
    "Overloaded",
    "PeerUnavailable",
    "PermissionDenied",
    "QuotaExceeded",
    "Reason",
    "RequestIdUsed",
    "RetryLater",
    "SealaneError",
    "SessionAborted",
    "SessionExpired",
    "SessionLost",
    "SessionMismatch",
    "SessionNotCommitted",
    "SessionNotFound",
    "SessionOutcome",
    "SessionSealed",
    "SourceChanged",
    "StoreUnavailable",
    "Unauthenticated",
    "Unimplemented",
    "from_rpc_error",
    "is_transient",
    "translate",
]

LONGEST_REST_SECONDS = 60.0
"""A key that may be used again so soon is waited for; for the end of a longer rest it is the caller who comes back."""
WRITE_FAILED = "Internal error from Core"
"""What grpc.aio says of a call whose write failed, in place of what the server said."""


class SourceChanged(InvalidRequest):
    """What is being uploaded is not the same bytes any more (or not what the session already holds of it)."""


class SessionMismatch(SourceChanged):
    """The session that was to be resumed holds other bytes than the source has, or was made for another size."""


class ClientClosed(PeerUnavailable):
    """The client was closed while the call was under way, or before. An upload has its journal to be resumed by."""

    def __init__(self) -> None:
        super().__init__("The client was closed.", retry_after=0.0)


class GaveUp(DeadlineExceeded):
    """No progress for as long as the caller's patience lasts. Nothing is lost: the same upload resumes.

    ``last`` is the error of the last try.
    """

    def __init__(self, last: SealaneError, *, tries: int, seconds: float) -> None:
        counted = "1 try" if tries == 1 else f"{tries} tries"
        super().__init__(
            f"Gave up after {counted} in {seconds:.0f} s without progress. The last one: {last.message}",
            private=last.private,
        )
        self.last = last
        self.tries = tries
        self.seconds = seconds


def is_transient(error: SealaneError) -> bool:
    """Whether to wait and send the same request again (protocol.md section 10).

    A key that was emptied rests for an hour: nobody expects a call to sleep so long, so the caller is told.
    """
    if isinstance(error, KeyCooling):
        return error.retry_after <= LONGEST_REST_SECONDS
    return isinstance(error, RetryLater | DeadlineExceeded) and not isinstance(error, GaveUp | ClientClosed)


def translate(error: grpc.RpcError) -> SealaneError:
    """The server's error as its own class; what only broke on the way is :class:`PeerUnavailable`.

    A server that stops, and proxies that cut a stream, end calls with CANCELLED or with a reset that gRPC shows as
    INTERNAL; neither is an answer of sealane's, which always has a reason.
    """
    known = from_rpc_error(error)
    if isinstance(known, InternalError):
        code, text = error.code(), error.details() or ""
        cut = code is grpc.StatusCode.CANCELLED
        reset = code is grpc.StatusCode.INTERNAL and (WRITE_FAILED in text or "RST_STREAM" in text)
        if cut or reset:
            return PeerUnavailable("The call was cut before the server's answer.", private=f"gRPC {code.name}: {text}")
    return known
