"""What every failure is, and the names of all of them: :class:`SealaneError` and its :class:`Reason`."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


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


class SealaneError(Exception):
    """What every failure of sealane is. ``message`` is public; ``private`` is for the log alone."""

    reason: ClassVar[Reason]

    def __init__(self, message: str, *, private: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.private = private
