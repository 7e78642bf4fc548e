"""The one detail message that an error of some reason carries: how it is written, and how it is read back.

Which reason has which is :data:`sealane.rpc.status.TABLE`; the messages are of google/rpc/error_details.proto and
sealane/v1/errors.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from sealane.domain import errors as domain
from sealane.domain.chunks import ChunkDigests, ChunkRange
from sealane.domain.errors import BadRecord, SealaneError
from sealane.rpc.convert import holder_from_proto, holder_to_proto, known_state, state_to_proto
from sealane.v1 import errors_pb2

M = TypeVar("M", bound=Message)
_MAX_RETRY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Detail:
    """``encode(error, text)`` writes the message (None: there is none); ``decode(class, status)`` makes the error."""

    encode: Callable[[SealaneError, str], Message | None]
    decode: Callable[[type[SealaneError], status_pb2.Status], SealaneError]


def _find(status: status_pb2.Status, kind: type[M]) -> M:
    """The detail of that type; an empty one if the status has none."""
    found = kind()
    for packed in status.details:
        if packed.Is(found.DESCRIPTOR):
            packed.Unpack(found)
            break
    return found


def _int64(value: int) -> int:
    """What a client sent may be any int64; what we computed from it is cut to that, so that it always encodes."""
    return max(-(1 << 63), min((1 << 63) - 1, value))


def _no_detail(error: SealaneError, text: str) -> None:
    return None


def _message_alone(kind: type[SealaneError], status: status_pb2.Status) -> SealaneError:
    return kind(status.message)


def _encode_bad_request(error: SealaneError, text: str) -> Message:
    error = cast("domain.InvalidRequest", error)
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field=error.field.encode(errors="replace").decode()[:128], description=text)
    return cast("Message", bad)


def _decode_bad_request(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    violations = _find(status, error_details_pb2.BadRequest).field_violations
    return cast("SealaneError", kind(status.message, field=violations[0].field if violations else ""))


def _encode_chunks(error: SealaneError, text: str) -> Message:
    error = cast("domain.ChunkError", error)
    detail = errors_pb2.ChunkErrorDetail(truncated=error.truncated or len(error.chunks) > 16)
    for chunk in error.chunks[:16]:
        detail.chunks.add(
            chunk_index=_int64(chunk.index),
            expected_blake3=chunk.expected or b"",
            actual_blake3=chunk.actual or b"",
        )
    return detail


def _decode_chunks(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    detail = _find(status, errors_pb2.ChunkErrorDetail)
    chunks = [ChunkDigests(c.chunk_index, c.expected_blake3 or None, c.actual_blake3 or None) for c in detail.chunks]
    return cast("SealaneError", kind(status.message, chunks=chunks, truncated=detail.truncated))


def _encode_bounds(error: SealaneError, text: str) -> Message:
    error = cast("domain.ChunkOutOfRange", error)
    return errors_pb2.BoundsErrorDetail(
        chunk_index=_int64(error.index),
        field=error.field[:64],
        value=_int64(error.value),
        minimum=_int64(error.minimum),
        maximum=_int64(error.maximum),
    )


def _decode_bounds(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    d = _find(status, errors_pb2.BoundsErrorDetail)
    error = kind(
        status.message, index=d.chunk_index, field=d.field, value=d.value, minimum=d.minimum, maximum=d.maximum
    )
    return cast("SealaneError", error)


def _encode_coverage(error: SealaneError, text: str) -> Message:
    error = cast("domain.CoverageIncomplete", error)
    detail = errors_pb2.CoverageErrorDetail(
        truncated=error.truncated or len(error.missing) > 64, missing_chunks=_int64(error.missing_chunks)
    )
    for missing in error.missing[:64]:
        detail.missing_ranges.add(first=_int64(missing.first), last=_int64(missing.last))
    return detail


def _decode_coverage(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    d = _find(status, errors_pb2.CoverageErrorDetail)
    missing = [ChunkRange(r.first, r.last) for r in d.missing_ranges]
    error = kind(status.message, missing=missing, truncated=d.truncated, missing_chunks=d.missing_chunks)
    return cast("SealaneError", error)


def _encode_digests(error: SealaneError, text: str) -> Message:
    error = cast("domain.DigestMismatch", error)
    return errors_pb2.DigestErrorDetail(
        expected_blake3=error.expected,
        actual_blake3=error.actual,
        expected_size=_int64(error.expected_size),
        actual_size=_int64(error.actual_size),
    )


def _decode_digests(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    d = _find(status, errors_pb2.DigestErrorDetail)
    error = kind(
        status.message,
        expected=d.expected_blake3,
        actual=d.actual_blake3,
        expected_size=d.expected_size,
        actual_size=d.actual_size,
    )
    return cast("SealaneError", error)


def _encode_key(error: SealaneError, text: str) -> Message:
    holder = cast("domain.GenerationMismatch", error).holder
    return errors_pb2.KeyErrorDetail(holder=None if holder is None else holder_to_proto(holder))


def _decode_key(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    detail = _find(status, errors_pb2.KeyErrorDetail)
    try:
        holder = holder_from_proto(detail.holder) if detail.HasField("holder") else None
    except BadRecord:  # a newer server's, say: the reason alone is enough
        holder = None
    return cast("SealaneError", kind(status.message, holder=holder))


def _encode_outcome(error: SealaneError, text: str) -> Message:
    return errors_pb2.OutcomeErrorDetail(state=state_to_proto(cast("domain.SessionOutcome", error).state))


def _decode_outcome(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    state = known_state(_find(status, errors_pb2.OutcomeErrorDetail).state)
    return cast("SealaneError", kind(status.message, state=state))


def _encode_retry(error: SealaneError, text: str) -> Message:
    seconds = min(max(cast("domain.RetryLater", error).retry_after, 0.0), _MAX_RETRY_SECONDS)
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return cast("Message", error_details_pb2.RetryInfo(retry_delay=delay))


def _decode_retry(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    retry = _find(status, error_details_pb2.RetryInfo)
    seconds = retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None
    return cast("SealaneError", kind(status.message, retry_after=seconds))


def _encode_quota(error: SealaneError, text: str) -> Message:
    error = cast("domain.QuotaExceeded", error)
    failure = error_details_pb2.QuotaFailure()
    violation = failure.violations.add(
        subject="tenant", description=text, quota_metric=error.quota[:64], quota_value=_int64(error.limit)
    )
    violation.quota_dimensions["used"] = str(_int64(error.used))
    return cast("Message", failure)


def _decode_quota(kind: type[Any], status: status_pb2.Status) -> SealaneError:
    for violation in _find(status, error_details_pb2.QuotaFailure).violations:
        used = violation.quota_dimensions["used"]
        error = kind(
            status.message,
            quota=violation.quota_metric,
            limit=violation.quota_value,
            used=int(used) if used.isascii() and used.isdecimal() else 0,
        )
        return cast("SealaneError", error)
    return cast("SealaneError", kind(status.message))


NOTHING = Detail(_no_detail, _message_alone)
BAD_REQUEST = Detail(_encode_bad_request, _decode_bad_request)
CHUNKS = Detail(_encode_chunks, _decode_chunks)
BOUNDS = Detail(_encode_bounds, _decode_bounds)
COVERAGE = Detail(_encode_coverage, _decode_coverage)
DIGESTS = Detail(_encode_digests, _decode_digests)
KEY = Detail(_encode_key, _decode_key)
OUTCOME = Detail(_encode_outcome, _decode_outcome)
RETRY = Detail(_encode_retry, _decode_retry)
QUOTA = Detail(_encode_quota, _decode_quota)
