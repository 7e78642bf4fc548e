"""Domain errors <-> gRPC statuses, both ways, from one table (protocol.md section 10).

Every status carries a ``google.rpc.Status`` with exactly one ``ErrorInfo`` and at most one detail message. A client
raises the class that the server raised, with the same fields (after containerd's errgrpc). What goes on the wire is
bounded: trailers of 12 KB fail a whole call, so they stay under :data:`MAX_TRAILER_BYTES` whatever an error holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from sealane.domain import errors as domain
from sealane.domain.errors import Reason, SealaneError
from sealane.rpc import error_details as details
from sealane.rpc.unreachable import explained
from sealane.store import port

ERROR_DOMAIN = "sealane"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"

MAX_TRAILER_BYTES = 4096
"""Of everything in the trailers, as encoded: percent-encoded text, base64 of the details."""
_MAX_TEXT_BYTES = 640
"""Of the message, percent-encoded; it travels twice, in BadRequest three times."""
_MAX_STATUS_BYTES = 2304
"""Of the serialized google.rpc.Status; base64 makes 3,072 of it."""
_MAX_ID_CHARS = 128

Trailers = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """How one reason looks on the wire: its code, its detail message, and the class that stands for it."""

    code: grpc.StatusCode
    error: type[SealaneError]
    detail: details.Detail = details.NOTHING


_C = grpc.StatusCode

TABLE: Mapping[Reason, Row] = MappingProxyType(
    {
        Reason.INVALID_REQUEST: Row(_C.INVALID_ARGUMENT, domain.InvalidRequest, details.BAD_REQUEST),
        Reason.INVALID_SESSION_ID: Row(_C.INVALID_ARGUMENT, domain.InvalidSessionId, details.BAD_REQUEST),
        Reason.INVALID_FILENAME: Row(_C.INVALID_ARGUMENT, domain.InvalidFilename, details.BAD_REQUEST),
        Reason.INVALID_METADATA: Row(_C.INVALID_ARGUMENT, domain.InvalidMetadata, details.BAD_REQUEST),
        Reason.INVALID_DIGEST: Row(_C.INVALID_ARGUMENT, domain.InvalidDigest, details.BAD_REQUEST),
        Reason.INVALID_STREAM: Row(_C.INVALID_ARGUMENT, domain.InvalidStream, details.BAD_REQUEST),
        Reason.INVALID_SIZE: Row(_C.INVALID_ARGUMENT, domain.InvalidSize, details.BAD_REQUEST),
        Reason.INVALID_PAGE_TOKEN: Row(_C.INVALID_ARGUMENT, domain.InvalidPageToken, details.BAD_REQUEST),
        Reason.INVALID_OBJECT_KEY: Row(_C.INVALID_ARGUMENT, domain.InvalidObjectKey, details.BAD_REQUEST),
        Reason.UNAUTHENTICATED: Row(_C.UNAUTHENTICATED, domain.Unauthenticated),
        Reason.PERMISSION_DENIED: Row(_C.PERMISSION_DENIED, domain.PermissionDenied),
        Reason.SESSION_NOT_FOUND: Row(_C.NOT_FOUND, domain.SessionNotFound),
        Reason.CHUNK_CORRUPT: Row(_C.ABORTED, domain.ChunkCorrupt, details.CHUNKS),
        Reason.CHUNK_NEEDED: Row(_C.ABORTED, domain.ChunkNeeded, details.CHUNKS),
        Reason.CHUNK_CONFLICT: Row(_C.ALREADY_EXISTS, domain.ChunkConflict, details.CHUNKS),
        Reason.CHUNK_OUT_OF_RANGE: Row(_C.OUT_OF_RANGE, domain.ChunkOutOfRange, details.BOUNDS),
        Reason.COVERAGE_INCOMPLETE: Row(_C.FAILED_PRECONDITION, domain.CoverageIncomplete, details.COVERAGE),
        Reason.DIGEST_MISMATCH: Row(_C.FAILED_PRECONDITION, domain.DigestMismatch, details.DIGESTS),
        Reason.GENERATION_MISMATCH: Row(_C.FAILED_PRECONDITION, domain.GenerationMismatch, details.KEY),
        Reason.REQUEST_ID_USED: Row(_C.FAILED_PRECONDITION, domain.RequestIdUsed),
        Reason.SESSION_SEALED: Row(_C.FAILED_PRECONDITION, domain.SessionSealed, details.OUTCOME),
        Reason.SESSION_ABORTED: Row(_C.FAILED_PRECONDITION, domain.SessionAborted, details.OUTCOME),
        Reason.SESSION_EXPIRED: Row(_C.FAILED_PRECONDITION, domain.SessionExpired, details.OUTCOME),
        Reason.SESSION_NOT_COMMITTED: Row(_C.FAILED_PRECONDITION, domain.SessionNotCommitted, details.OUTCOME),
        Reason.DELETE_UNSUPPORTED: Row(_C.FAILED_PRECONDITION, domain.DeleteUnsupported),
        Reason.OVERLOADED: Row(_C.RESOURCE_EXHAUSTED, domain.Overloaded, details.RETRY),
        Reason.QUOTA_EXCEEDED: Row(_C.RESOURCE_EXHAUSTED, domain.QuotaExceeded, details.QUOTA),
        Reason.DRAINING: Row(_C.UNAVAILABLE, domain.Draining, details.RETRY),
        Reason.STORE_UNAVAILABLE: Row(_C.UNAVAILABLE, domain.StoreUnavailable, details.RETRY),
        Reason.OUTCOME_UNKNOWN: Row(_C.UNAVAILABLE, domain.OutcomeUnknown, details.RETRY),
        Reason.PEER_UNAVAILABLE: Row(_C.UNAVAILABLE, domain.PeerUnavailable, details.RETRY),
        Reason.KEY_COOLING: Row(_C.UNAVAILABLE, domain.KeyCooling, details.RETRY),
        Reason.SESSION_LOST: Row(_C.DATA_LOSS, domain.SessionLost),
        Reason.OBJECT_CORRUPT: Row(_C.DATA_LOSS, domain.ObjectCorrupt, details.DIGESTS),
        Reason.INTERNAL: Row(_C.INTERNAL, domain.InternalError),
        Reason.UNIMPLEMENTED: Row(_C.UNIMPLEMENTED, domain.Unimplemented),
        Reason.DEADLINE_EXCEEDED: Row(_C.DEADLINE_EXCEEDED, domain.DeadlineExceeded),
    }
)

ALARMING = frozenset({_C.INTERNAL, _C.DATA_LOSS})
"""Codes that an operator must see: logged as errors, with the error id in the public text."""


class WireStatus(NamedTuple):
    """What ``context.abort`` takes."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: Trailers


def to_status(error: SealaneError, error_id: str | None = None, *, request_id: str = "") -> WireStatus:
    """The status of ``error``; its trailers stay under :data:`MAX_TRAILER_BYTES`. Nothing private is in it."""
    row = TABLE[error.reason]
    text = error.message
    if error_id and row.code in ALARMING:
        text = f"{text} (error id {error_id})"
    text = _bounded_text(text)
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=ERROR_DOMAIN)
    if error_id:
        info.metadata["error_id"] = error_id[:_MAX_ID_CHARS]
    request_id = request_id[:_MAX_ID_CHARS]
    if request_id:
        info.metadata["request_id"] = request_id
    status = status_pb2.Status(code=row.code.value[0], message=text)
    status.details.add().Pack(info)
    detail = row.detail.encode(error, text)
    if detail is not None:
        _add_within_bounds(status, detail)
    trailers: Trailers = ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    if request_id:
        trailers += ((REQUEST_ID_KEY, request_id),)
    return WireStatus(row.code, text, trailers)


def _bounded_text(text: str) -> str:
    """``text`` whose percent-encoded form (gRPC's ``grpc-message``) has at most :data:`_MAX_TEXT_BYTES`."""
    text = text.encode(errors="replace").decode()  # a lone surrogate can't be sent
    most = _MAX_TEXT_BYTES - 9  # room for the ellipsis, 3 bytes of UTF-8
    if _encoded_bytes(text) <= most:
        return text
    used = kept = 0
    while (used := used + _encoded_bytes(text[kept])) <= most:
        kept += 1
    return text[:kept] + "…"


def _encoded_bytes(text: str) -> int:
    return len(quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace"))


def _add_within_bounds(status: status_pb2.Status, detail: Message) -> None:
    """Add ``detail``; a list in it that is too long is cut and marked as truncated."""
    lists = [getattr(detail, name) for name in ("chunks", "missing_ranges") if name in detail.DESCRIPTOR.fields_by_name]
    packed = status.details.add()
    packed.Pack(detail)
    while status.ByteSize() > _MAX_STATUS_BYTES and any(lists):
        for values in lists:
            del values[-max(1, len(values) // 8) :]
        detail.truncated = True  # type: ignore[attr-defined]  # both messages that have a list have the flag
        packed.Pack(detail)
    if status.ByteSize() > _MAX_STATUS_BYTES:  # a detail that can't be cut: the reason alone is enough
        del status.details[-1]


def from_rpc_error(error: grpc.RpcError) -> SealaneError:
    """The domain error that the server raised; its ``private`` names the ids to look for in the server's log.

    Without our ErrorInfo it is gRPC's own doing: UNAVAILABLE is :class:`~sealane.domain.errors.PeerUnavailable`, and so
    is CANCELLED: one's own cancellation is never an RpcError in grpc.aio, and a server that stops answers CANCELLED to
    a call that arrives in that moment (measured, grpcio 1.85). DEADLINE_EXCEEDED is DeadlineExceeded; others are told
    apart as far as their code says, and are not worth a retry.
    """
    code: grpc.StatusCode = error.code()
    text: str = error.details() or ""
    return said_by_server(error) or _from_code(code, text)


def said_by_server(error: grpc.RpcError) -> SealaneError | None:
    """The domain error that the server itself named; None if gRPC, or something in between, ended the call."""
    status = _rich_status(error.trailing_metadata() or ())
    if status is not None:
        info = error_details_pb2.ErrorInfo()
        if any(packed.Unpack(info) for packed in status.details if packed.Is(info.DESCRIPTOR)):
            return _from_info(status, info)
    return None


def _rich_status(metadata: Iterable[Any]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == STATUS_DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except (DecodeError, TypeError):
                return None
    return None


def _from_info(status: status_pb2.Status, info: error_details_pb2.ErrorInfo) -> SealaneError | None:
    reason = Reason.__members__.get(info.reason)
    if info.domain != ERROR_DOMAIN or reason is None:
        return None  # another service's, or a newer server's: its code still says enough
    row = TABLE[reason]
    error = row.detail.decode(row.error, status)
    error.private = " ".join(f"{name}={value}" for name, value in sorted(info.metadata.items()))
    return error


def _private(code: grpc.StatusCode, text: str) -> str:
    return f"gRPC {code.name}: {text}"


_WITHOUT_INFO: Mapping[grpc.StatusCode, Callable[[str], SealaneError]] = MappingProxyType(
    {
        _C.UNAVAILABLE: lambda private: domain.PeerUnavailable(explained(private), private=private),
        _C.CANCELLED: lambda private: domain.PeerUnavailable("The server let go of the call.", private=private),
        _C.DEADLINE_EXCEEDED: lambda private: domain.DeadlineExceeded(private=private),
        _C.UNAUTHENTICATED: lambda private: domain.Unauthenticated(private=private),
        _C.PERMISSION_DENIED: lambda private: domain.PermissionDenied(private=private),
        _C.UNIMPLEMENTED: lambda private: domain.Unimplemented(
            "The server does not have the operation, or refuses compressed messages.", private=private
        ),
    }
)


def _from_code(code: grpc.StatusCode, text: str) -> SealaneError:
    private = _private(code, text)
    make = _WITHOUT_INFO.get(code)
    return make(private) if make else domain.InternalError(f"The server answered {code.name}.", private=private)


def translate_store_error(error: port.StoreError) -> SealaneError:
    """What a store error that nobody handled means to the caller. Its text is kept in ``private`` alone.

    Nothing is lost by any of them: what may pass (time-outs, throttling, a conflict, and refused credentials, which an
    operator mends) is StoreUnavailable; what cannot be is InternalError, alarmed.
    """
    private = f"store: {type(error).__name__}: {error.detail}"
    if error.request_id:
        private += f" (store's request id {error.request_id})"
    match error:
        case port.Throttled():
            return domain.StoreUnavailable(retry_after=5.0, private=private)
        case port.OutcomeUnknown() | port.WriteConflict() | port.AccessDenied():
            return domain.StoreUnavailable(private=private)
        case _:
            return domain.InternalError(private=private)
