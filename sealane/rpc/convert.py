"""Protos <-> domain values. Pure: no call, no clock. What comes from outside is validated here or in the domain.

``…_to_proto`` never fails for valid domain values. ``…_from_proto`` of a request raises InvalidRequest naming the
field; of a peer's answer (a receipt, a coverage) it raises BadRecord: a peer that answers nonsense decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sealane.domain import ids
from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.coverage import Coverage, PrefixDigest
from sealane.domain.decision import CommitParameters
from sealane.domain.errors import BadRecord, InvalidRequest, InvalidSize
from sealane.domain.limits import Limits
from sealane.domain.precondition import ANY, Precondition
from sealane.domain.record_fields import MAX_GENERATION
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, KeyHolder, SessionView
from sealane.v1 import assembly_service_pb2, ingest_service_pb2, session_pb2

ParametersRequest: TypeAlias = "assembly_service_pb2.CommitSessionRequest | assembly_service_pb2.VerifySessionRequest"

_STATE_PREFIX = "SESSION_STATE_"
_MAX_CONFLICTS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_DURATION_SECONDS = 315_576_000_000
"""10,000 years: what google/protobuf/duration.proto allows."""


# --- times ---


def timestamp_to_proto(moment: datetime) -> Timestamp:
    """``moment`` must be aware."""
    seconds, rest = divmod((moment.astimezone(UTC) - _EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def timestamp_from_proto(value: Timestamp) -> datetime:
    """UTC, cut to microseconds. BadRecord if it is no moment that a calendar has."""
    try:
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError as error:
        raise BadRecord(private=f"timestamp of {value.seconds} s") from error


def duration_to_proto(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def duration_from_proto(value: Duration, *, field: str) -> float:
    """Seconds. InvalidRequest naming ``field`` if it is not a valid Duration."""
    opposed = (value.seconds > 0 > value.nanos) or (value.seconds < 0 < value.nanos)
    if abs(value.seconds) > _MAX_DURATION_SECONDS or abs(value.nanos) >= 1_000_000_000 or opposed:
        raise InvalidRequest(f"{field} is not a valid duration.", field=field)
    return value.seconds + value.nanos / 1e9


# --- states ---


def state_to_proto(state: SessionState) -> session_pb2.SessionState:
    return cast("session_pb2.SessionState", session_pb2.SessionState.Value(_STATE_PREFIX + state.value))


def known_state(number: int) -> SessionState | None:
    """None if it is unset, or of a newer version."""
    if number not in session_pb2.SessionState.values():
        return None
    name = session_pb2.SessionState.Name(cast("session_pb2.SessionState", number))
    return SessionState.__members__.get(name.removeprefix(_STATE_PREFIX))


def state_from_proto(number: int) -> SessionState:
    """Of a peer's answer: BadRecord if it is unset or unknown."""
    state = known_state(number)
    if state is None:
        raise BadRecord(private=f"session state {number} is unknown to this version")
    return state


def state_filter_from_proto(number: int, *, field: str = "state") -> SessionState | None:
    """Of a request: unspecified means all (None); InvalidRequest for a number that is no state."""
    state = known_state(number)
    if state is None and number != session_pb2.SESSION_STATE_UNSPECIFIED:
        raise InvalidRequest(f"{field} is not a session state.", field=field)
    return state


# --- coverage and receipts ---


def ranges_to_proto(ranges: Iterable[ChunkRange]) -> list[session_pb2.ChunkRange]:
    return [session_pb2.ChunkRange(first=r.first, last=r.last) for r in ranges]


def coverage_to_proto(coverage: Coverage, cap: int) -> session_pb2.Coverage:
    """At most ``cap`` missing ranges, and a flag if there are more."""
    return session_pb2.Coverage(
        stored_chunks=coverage.stored_chunks,
        stored_bytes=coverage.stored_bytes,
        missing_ranges=ranges_to_proto(coverage.missing[:cap]),
        missing_ranges_truncated=len(coverage.missing) > cap,
        prefix=session_pb2.Prefix(
            chunks=coverage.prefix.chunks, bytes=coverage.prefix.size, blake3=coverage.prefix.blake3
        ),
        conflicting_chunks=coverage.conflicting[:_MAX_CONFLICTS],
        complete=coverage.complete,
    )


def coverage_from_proto(value: session_pb2.Coverage) -> Coverage:
    """What the server listed. If ``missing_ranges_truncated``, ``missing`` is only the beginning of it."""
    return Coverage(
        stored_chunks=value.stored_chunks,
        stored_bytes=value.stored_bytes,
        missing=tuple(ChunkRange(r.first, r.last) for r in value.missing_ranges),
        conflicting=tuple(value.conflicting_chunks),
        prefix=PrefixDigest(value.prefix.chunks, value.prefix.bytes, value.prefix.blake3),
        complete=value.complete,
    )


def receipt_to_proto(receipt: Receipt) -> session_pb2.Receipt:
    return session_pb2.Receipt(
        chunk_index=receipt.index,
        length=receipt.length,
        blake3=receipt.blake3,
        chaining_value=receipt.chaining_value,
        sha256=receipt.sha256,
        etag=receipt.etag,
        store_time=None if receipt.store_time is None else timestamp_to_proto(receipt.store_time),
    )


def receipt_from_proto(value: session_pb2.Receipt) -> Receipt:
    """BadRecord if a digest has another length than 32 bytes, or a number is negative: fail closed."""
    digests = (value.blake3, value.chaining_value, value.sha256)
    if any(len(d) != ids.DIGEST_BYTES for d in digests) or value.chunk_index < 0 or value.length < 0 or not value.etag:
        raise BadRecord(private=f"receipt of chunk {value.chunk_index} as sent by the peer is malformed")
    store_time = timestamp_from_proto(value.store_time) if value.HasField("store_time") else None
    return Receipt(value.chunk_index, value.length, *digests, value.etag, store_time)


# --- sessions and objects ---


def committed_to_proto(committed: CommittedObject) -> session_pb2.CommittedObject:
    return session_pb2.CommittedObject(
        bucket=committed.bucket,
        key=committed.key,
        etag=committed.etag,
        size=committed.size,
        blake3=committed.blake3,
        generation=committed.generation,
        commit_time=timestamp_to_proto(committed.commit_time),
        replayed=committed.replayed,
        duplicate=committed.duplicate,
    )


def committed_from_proto(value: session_pb2.CommittedObject) -> CommittedObject:
    """BadRecord if the digest has another length than 32 bytes."""
    if len(value.blake3) != ids.DIGEST_BYTES or value.size < 0:
        raise BadRecord(private="the committed object as sent by the peer is malformed")
    return CommittedObject(
        bucket=value.bucket,
        key=value.key,
        etag=value.etag,
        size=value.size,
        blake3=value.blake3,
        commit_time=timestamp_from_proto(value.commit_time),
        replayed=value.replayed,
        generation=value.generation,
        duplicate=value.duplicate,
    )


def holder_to_proto(holder: KeyHolder) -> session_pb2.KeyHolder:
    return session_pb2.KeyHolder(
        object_key=holder.object_key,
        generation=holder.generation,
        session_id=holder.session_id,
        state=state_to_proto(holder.state),
        size=holder.size,
        blake3=holder.blake3,
        commit_time=timestamp_to_proto(holder.commit_time),
        foreign=holder.foreign,
    )


def holder_from_proto(value: session_pb2.KeyHolder) -> KeyHolder:
    """BadRecord if a server can't have meant it."""
    if len(value.blake3) != (0 if value.foreign else ids.DIGEST_BYTES) or value.size < 0 or value.generation < 0:
        raise BadRecord(private="the key's holder as sent by the peer is malformed")
    return KeyHolder(
        object_key=value.object_key,
        generation=value.generation,
        session_id=value.session_id,
        state=state_from_proto(value.state),
        size=value.size,
        blake3=value.blake3,
        commit_time=timestamp_from_proto(value.commit_time),
        foreign=value.foreign,
    )


def session_to_proto(view: SessionView, *, cap: int = Limits().max_missing_ranges) -> session_pb2.Session:
    """``cap`` bounds the missing ranges listed. The token never leaves the service."""
    record = view.record
    wanted = record.precondition
    there = (SessionState.COMMITTED, SessionState.DUPLICATE)
    return session_pb2.Session(
        session_id=record.session_id,
        filename=record.filename,
        object_key=record.key if view.state in there else "",
        size=record.size,
        chunk_size=record.chunk_size,
        chunk_count=view.plan.count,
        content_type=record.content_type,
        metadata=record.metadata,
        create_time=timestamp_to_proto(view.create_time),
        expire_time=timestamp_to_proto(view.expire_time),
        ttl=Duration(seconds=record.ttl),
        state=state_to_proto(view.state),
        outcome_unavailable=view.outcome_unavailable,
        coverage=None if view.coverage is None else coverage_to_proto(view.coverage, cap),
        committed_object=None if view.committed is None else committed_to_proto(view.committed),
        chosen_key=record.chosen_key,
        if_generation_match=None if wanted is None else wanted.if_generation_match,
        overwrite=wanted is not None and wanted.if_generation_match is None,
    )


def parameters_from_proto(request: ParametersRequest, *, limits: Limits = Limits()) -> CommitParameters:  # noqa: B008 - frozen
    """The three parameters of a commit. InvalidSize or InvalidDigest if no object can have them."""
    if not 0 <= request.chunk_count <= limits.max_chunks:
        raise InvalidSize(
            f"chunk_count is {request.chunk_count}; it must be from 0 to {limits.max_chunks}.", field="chunk_count"
        )
    if not 0 <= request.size <= limits.max_object_bytes:
        raise InvalidSize(f"size is {request.size}; it must be from 0 to {limits.max_object_bytes}.", field="size")
    if (request.chunk_count == 0) != (request.size == 0) or request.size < request.chunk_count:
        raise InvalidSize(
            f"{request.chunk_count} chunks can't make {request.size} bytes: no chunk is empty.", field="size"
        )
    return CommitParameters(request.chunk_count, request.size, ids.digest(request.blake3))


def precondition_from_proto(request: ingest_service_pb2.CreateSessionRequest) -> Precondition | None:
    """What the commit may replace; None without ``object_key``. InvalidRequest if the fields contradict each other."""
    if not request.object_key:
        if request.HasField("if_generation_match") or request.overwrite:
            raise InvalidRequest("A precondition needs an object_key.", field="object_key")
        return None
    if request.overwrite:
        if request.HasField("if_generation_match"):
            raise InvalidRequest("Give if_generation_match or overwrite, not both.", field="overwrite")
        return ANY
    if not 0 <= request.if_generation_match <= MAX_GENERATION:
        raise InvalidRequest(f"if_generation_match must be from 0 to {MAX_GENERATION}.", field="if_generation_match")
    return Precondition(request.if_generation_match)


def limits_to_proto(limits: Limits) -> ingest_service_pb2.Limits:
    return ingest_service_pb2.Limits(
        max_frame_bytes=limits.max_frame_bytes,
        min_chunk_bytes=limits.min_chunk_bytes,
        max_chunk_bytes=limits.max_chunk_bytes,
        max_chunks=limits.max_chunks,
        max_object_bytes=limits.max_object_bytes,
        max_metadata_bytes=limits.max_metadata_bytes,
        default_ttl=Duration(seconds=limits.default_ttl),
        max_ttl=Duration(seconds=limits.max_ttl),
        recommended_chunks_per_stream=limits.chunks_per_stream,
    )
