"""The catalogue of everything that can go wrong, as the domain says it.

One class per reason of docs/protocol.md section 10. All of them are here by name; the modules are their topics.
``str(error)`` is public: it is built from typed values only (indexes, sizes, digests), says what to do next, and goes
on the wire as it is. ``private`` is for the log alone. :mod:`sealane.rpc.status` gives each reason its gRPC code and
its detail message, both ways, so that a client raises the class that the server raised.
"""

from sealane.domain.errors.callers import PermissionDenied, QuotaExceeded, Unauthenticated
from sealane.domain.errors.chunks import (
    ChunkConflict,
    ChunkCorrupt,
    ChunkError,
    ChunkNeeded,
    ChunkOutOfRange,
    CoverageIncomplete,
    DigestMismatch,
    ObjectCorrupt,
)
from sealane.domain.errors.keys import DeleteUnsupported, GenerationMismatch, KeyCooling
from sealane.domain.errors.later import (
    DeadlineExceeded,
    Draining,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    RetryLater,
    StoreUnavailable,
)
from sealane.domain.errors.reason import Reason, SealaneError
from sealane.domain.errors.requests import (
    InvalidDigest,
    InvalidFilename,
    InvalidMetadata,
    InvalidObjectKey,
    InvalidPageToken,
    InvalidRequest,
    InvalidSessionId,
    InvalidSize,
    InvalidStream,
)
from sealane.domain.errors.server import BadRecord, InternalError, Unimplemented
from sealane.domain.errors.sessions import (
    RequestIdUsed,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotCommitted,
    SessionNotFound,
    SessionOutcome,
    SessionSealed,
)

__all__ = [
    "BadRecord",
    "ChunkConflict",
    "ChunkCorrupt",
    "ChunkError",
    "ChunkNeeded",
    "ChunkOutOfRange",
    "CoverageIncomplete",
    "DeadlineExceeded",
    "DeleteUnsupported",
    "DigestMismatch",
    "Draining",
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
    "SessionNotCommitted",
    "SessionNotFound",
    "SessionOutcome",
    "SessionSealed",
    "StoreUnavailable",
    "Unauthenticated",
    "Unimplemented",
]
