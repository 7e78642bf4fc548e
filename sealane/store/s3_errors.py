"""From a refusal to the port's errors: by the S3 error code first, then by the HTTP status.

Codes: "Error responses" in the Amazon S3 API reference, and those that other stores answer in their place.
"""

from __future__ import annotations

from sealane.store import s3_xml
from sealane.store.port import (
    AccessDenied,
    ChecksumMismatch,
    ClockSkewed,
    InvalidPart,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    OutcomeUnknown,
    PreconditionFailed,
    Rejected,
    StoreError,
    Throttled,
    WriteConflict,
)

BY_CODE: dict[str, type[StoreError]] = {
    "NoSuchKey": NoSuchKey,
    "NoSuchUpload": NoSuchUpload,
    "NoSuchBucket": NoSuchBucket,
    "PreconditionFailed": PreconditionFailed,
    "ConditionalRequestConflict": WriteConflict,
    "OperationAborted": WriteConflict,
    "InvalidPart": InvalidPart,
    "InvalidPartOrder": InvalidPart,
    "BadDigest": ChecksumMismatch,
    "XAmzContentChecksumMismatch": ChecksumMismatch,
    "XAmzContentSHA256Mismatch": ChecksumMismatch,
    "RequestTimeTooSkewed": ClockSkewed,
    "AccessDenied": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidToken": AccessDenied,
    "TokenRefreshRequired": AccessDenied,
    "SlowDown": Throttled,
    "SlowDownRead": Throttled,
    "SlowDownWrite": Throttled,
    "ServiceUnavailable": Throttled,
    "RequestLimitExceeded": Throttled,
    "TooManyRequests": Throttled,
    # 4xx in name only: the store has lost patience or bytes on the way, and the same call may well succeed.
    "RequestTimeout": OutcomeUnknown,
    "IncompleteBody": OutcomeUnknown,
    "InternalError": OutcomeUnknown,
    # 5xx in name only: a definite no.
    "NotImplemented": Rejected,
}

BY_STATUS: dict[int, type[StoreError]] = {
    401: AccessDenied,
    403: AccessDenied,
    408: OutcomeUnknown,
    409: WriteConflict,
    412: PreconditionFailed,
    429: Throttled,
    501: Rejected,
    503: Throttled,
}

SKEW_SECONDS = 60.0
"""A bare 403 whose Date moved the learnt clock by more than this is a skewed clock's: stores refuse from 15 minutes."""


def refusal(
    what: str, *, method: str, status: int, body: bytes, request_id: str = "", clock_moved: float = 0.0
) -> StoreError:
    """The error that an answer means. ``what`` names the call in logs; ``clock_moved``: seconds that Date taught."""
    document = s3_xml.error_document(body)
    code, message, its_id = document or ("", "", "")
    kind = BY_CODE.get(code)
    if kind is None:
        kind = _by_status(method, status, code)
    if kind is AccessDenied and not code and abs(clock_moved) > SKEW_SECONDS:
        kind = ClockSkewed
    request_id = request_id or its_id
    detail = f"{what}: {status} {code or '(no code)'}"
    if message:
        detail += f" {message[:200]!r}"
    if request_id:
        detail += f" [request {request_id}]"
    return kind(detail, request_id=request_id)


def _by_status(method: str, status: int, code: str) -> type[StoreError]:
    if status == 404:
        # A bare 404 is a HEAD's way to say it. From any other call it may be a proxy's that doesn't know the store:
        # reading "no such record" into it would turn a routing fault into a negative answer.
        return NoSuchKey if method == "HEAD" else Rejected if code else OutcomeUnknown
    if status == 409 and code:
        return Rejected
    if status in BY_STATUS:
        return BY_STATUS[status]
    return Rejected if 300 <= status < 500 else OutcomeUnknown
