"""What the process answers, and which failure gets which answer. The table stands in `sealane --help` too."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from sealane.domain.errors import Reason


class ExitCode(IntEnum):
    """Stable: scripts depend on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    CORRUPT = 5
    UNAVAILABLE = 6
    STORE_REFUSED = 7
    FINDINGS = 8
    QUOTA = 9
    DENIED = 10
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed; the message says why",
    ExitCode.USAGE: "the command line or a value in it is wrong",
    ExitCode.NOT_FOUND: "no such session, or nothing at this key",
    ExitCode.CONFLICT: "not in this state: sealed, aborted, expired, incomplete, other bytes, or a key that is taken",
    ExitCode.CORRUPT: "bytes are lost, or not what they should be",
    ExitCode.UNAVAILABLE: "not now: try again, nothing is lost",
    ExitCode.STORE_REFUSED: "the store does not give what sealane needs (doctor)",
    ExitCode.FINDINGS: "the audit found what does not fit, and did not remove it",
    ExitCode.QUOTA: "a quota of your tenant is used up: waiting alone does not help",
    ExitCode.DENIED: "the service does not know you, or you may not do this",
    ExitCode.INTERRUPTED: "interrupted; an upload can be resumed",
}

_INVALID = ("INVALID_ARGUMENT", ExitCode.USAGE)
_CONFLICT = ("FAILED_PRECONDITION", ExitCode.CONFLICT)
_LATER = ("UNAVAILABLE", ExitCode.UNAVAILABLE)

BY_REASON: Mapping[Reason, tuple[str, ExitCode]] = {
    Reason.INVALID_REQUEST: _INVALID,
    Reason.INVALID_SESSION_ID: _INVALID,
    Reason.INVALID_FILENAME: _INVALID,
    Reason.INVALID_METADATA: _INVALID,
    Reason.INVALID_DIGEST: _INVALID,
    Reason.INVALID_STREAM: _INVALID,
    Reason.INVALID_SIZE: _INVALID,
    Reason.INVALID_PAGE_TOKEN: _INVALID,
    Reason.INVALID_OBJECT_KEY: _INVALID,
    Reason.UNAUTHENTICATED: ("UNAUTHENTICATED", ExitCode.DENIED),
    Reason.PERMISSION_DENIED: ("PERMISSION_DENIED", ExitCode.DENIED),
    Reason.SESSION_NOT_FOUND: ("NOT_FOUND", ExitCode.NOT_FOUND),
    Reason.CHUNK_CORRUPT: ("ABORTED", ExitCode.CORRUPT),
    Reason.CHUNK_NEEDED: ("ABORTED", ExitCode.UNAVAILABLE),
    Reason.CHUNK_CONFLICT: ("ALREADY_EXISTS", ExitCode.CONFLICT),
    Reason.CHUNK_OUT_OF_RANGE: ("OUT_OF_RANGE", ExitCode.CONFLICT),
    Reason.COVERAGE_INCOMPLETE: _CONFLICT,
    Reason.DIGEST_MISMATCH: _CONFLICT,
    Reason.GENERATION_MISMATCH: _CONFLICT,
    Reason.REQUEST_ID_USED: _CONFLICT,
    Reason.SESSION_SEALED: _CONFLICT,
    Reason.SESSION_ABORTED: _CONFLICT,
    Reason.SESSION_EXPIRED: _CONFLICT,
    Reason.SESSION_NOT_COMMITTED: _CONFLICT,
    Reason.DELETE_UNSUPPORTED: _CONFLICT,
    Reason.OVERLOADED: ("RESOURCE_EXHAUSTED", ExitCode.UNAVAILABLE),
    Reason.QUOTA_EXCEEDED: ("RESOURCE_EXHAUSTED", ExitCode.QUOTA),
    Reason.DRAINING: _LATER,
    Reason.STORE_UNAVAILABLE: _LATER,
    Reason.OUTCOME_UNKNOWN: _LATER,
    Reason.PEER_UNAVAILABLE: _LATER,
    Reason.KEY_COOLING: _LATER,
    Reason.SESSION_LOST: ("DATA_LOSS", ExitCode.CORRUPT),
    Reason.OBJECT_CORRUPT: ("DATA_LOSS", ExitCode.CORRUPT),
    Reason.INTERNAL: ("INTERNAL", ExitCode.FAILED),
    Reason.UNIMPLEMENTED: ("UNIMPLEMENTED", ExitCode.FAILED),
    Reason.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", ExitCode.UNAVAILABLE),
}
"""gRPC code (docs/protocol.md section 10) and exit code of each reason."""
