"""Protos of the services' answers -> the SDK's dataclasses. Pure."""

from __future__ import annotations

from sealane.client.results import (
    DeletedSession,
    KeyState,
    Outcome,
    ProbeVerdict,
    Removal,
    ServerInfo,
    ServerLimits,
    ServerStatistics,
    Session,
    SessionEvent,
    VerifiedSession,
)
from sealane.domain.chunks import ChunkRange
from sealane.rpc.convert import (
    committed_from_proto,
    coverage_from_proto,
    holder_from_proto,
    state_from_proto,
    timestamp_from_proto,
)
from sealane.v1 import assembly_service_pb2, ingest_service_pb2, session_pb2


def session_from_proto(value: session_pb2.Session) -> Session:
    """BadRecord if the answer makes no sense to this version."""
    return Session(
        session_id=value.session_id,
        filename=value.filename,
        object_key=value.object_key,
        size=value.size if value.HasField("size") else None,
        chunk_size=value.chunk_size,
        chunk_count=value.chunk_count if value.HasField("chunk_count") else None,
        content_type=value.content_type,
        metadata=dict(value.metadata),
        create_time=timestamp_from_proto(value.create_time),
        expire_time=timestamp_from_proto(value.expire_time),
        ttl=value.ttl.seconds + value.ttl.nanos / 1e9,
        state=state_from_proto(value.state),
        outcome_unavailable=value.outcome_unavailable,
        coverage=coverage_from_proto(value.coverage) if value.HasField("coverage") else None,
        missing_truncated=value.coverage.missing_ranges_truncated,
        committed_object=(committed_from_proto(value.committed_object) if value.HasField("committed_object") else None),
        chosen_key=value.chosen_key,
        if_generation_match=value.if_generation_match if value.HasField("if_generation_match") else None,
        overwrite=value.overwrite,
    )


def outcome_from_proto(value: assembly_service_pb2.GetCommitResponse) -> Outcome:
    return Outcome(
        state=state_from_proto(value.state),
        committed_object=(committed_from_proto(value.committed_object) if value.HasField("committed_object") else None),
    )


def verified_from_proto(value: assembly_service_pb2.VerifySessionResponse) -> VerifiedSession:
    return VerifiedSession(state_from_proto(value.state), value.chunk_count, value.size, value.blake3)


def key_state_from_proto(object_key: str, value: assembly_service_pb2.GetKeyResponse) -> KeyState:
    return KeyState(
        object_key=object_key,
        generation=value.generation,
        holder=holder_from_proto(value.holder) if value.HasField("holder") else None,
        cooling_until=timestamp_from_proto(value.cooling_until) if value.HasField("cooling_until") else None,
    )


def deleted_from_proto(session_id: str, value: assembly_service_pb2.DeleteSessionResponse) -> DeletedSession:
    return DeletedSession(
        session_id=session_id,
        state=state_from_proto(value.state),
        removed=tuple(Removal(each.kind, each.count, each.bytes) for each in value.removed),
    )


def event_from_proto(value: assembly_service_pb2.SessionEvent) -> SessionEvent:
    return SessionEvent(
        time=timestamp_from_proto(value.time) if value.HasField("time") else None,
        event=value.event,
        text=value.text,
        fields=dict(value.fields),
        chunks=tuple(ChunkRange(each.first, each.last) for each in value.chunks),
    )


def server_info_from_proto(value: ingest_service_pb2.GetServerInfoResponse) -> ServerInfo:
    limits, statistics = value.limits, value.statistics
    return ServerInfo(
        version=value.version,
        limits=ServerLimits(
            max_frame_bytes=limits.max_frame_bytes,
            min_chunk_bytes=limits.min_chunk_bytes,
            max_chunk_bytes=limits.max_chunk_bytes,
            max_chunks=limits.max_chunks,
            max_object_bytes=limits.max_object_bytes,
            max_metadata_bytes=limits.max_metadata_bytes,
            default_ttl=limits.default_ttl.seconds + limits.default_ttl.nanos / 1e9,
            max_ttl=limits.max_ttl.seconds + limits.max_ttl.nanos / 1e9,
            chunks_per_stream=limits.recommended_chunks_per_stream,
        ),
        store_probe=tuple(ProbeVerdict(v.guarantee, v.ok, v.detail) for v in value.store_probe),
        statistics=ServerStatistics(
            sessions_created=statistics.sessions_created,
            chunks_stored=statistics.chunks_stored,
            chunks_duplicate=statistics.chunks_duplicate,
            bytes_stored=statistics.bytes_stored,
            errors_by_reason=dict(statistics.errors_by_reason),
            open_streams=statistics.open_streams,
            memory_in_use=statistics.memory_in_use,
            memory_budget=statistics.memory_budget,
        ),
        start_time=timestamp_from_proto(value.start_time),
    )
