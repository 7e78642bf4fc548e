"""What `--json` shows: the SDK's answers as JSON values. Digests are hex as `b3sum` prints them, times RFC 3339 in
UTC, sizes bytes, durations seconds; what is not known is null and never left out. Fields may be added, not changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sealane.domain.chunks import ChunkRange

if TYPE_CHECKING:
    from sealane.client.audit import AuditFinding, AuditSummary
    from sealane.client.progress import Progress
    from sealane.client.results import DeletedSession, KeyState, ServerInfo, Session, UploadResult
    from sealane.domain.coverage import Coverage
    from sealane.domain.views import CommittedObject, KeyHolder


def moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def ranges(values: Iterable[ChunkRange]) -> list[dict[str, int]]:
    return [{"first": value.first, "last": value.last} for value in values]


def coverage(value: Coverage, *, missing_truncated: bool) -> dict[str, Any]:
    return {
        "stored_chunks": value.stored_chunks,
        "stored_bytes": value.stored_bytes,
        "complete": value.complete,
        "missing": ranges(value.missing),
        "missing_truncated": missing_truncated,
        "conflicting_chunks": list(value.conflicting),
        "prefix": {"chunks": value.prefix.chunks, "bytes": value.prefix.size, "blake3": value.prefix.blake3.hex()},
    }


def committed_object(value: CommittedObject) -> dict[str, Any]:
    return {
        "bucket": value.bucket,
        "key": value.key,
        "etag": value.etag,
        "size": value.size,
        "blake3": value.blake3.hex(),
        "commit_time": moment(value.commit_time),
        "replayed": value.replayed,
        "generation": value.generation,
        "duplicate": value.duplicate,
    }


def holder(value: KeyHolder) -> dict[str, Any]:
    return {
        "object_key": value.object_key,
        "generation": value.generation,
        "session_id": value.session_id or None,
        "state": value.state.value,
        "size": value.size,
        "blake3": value.blake3.hex() or None,
        "commit_time": moment(value.commit_time),
        "foreign": value.foreign,
    }


def key(value: KeyState) -> dict[str, Any]:
    return {
        "object_key": value.object_key,
        "generation": value.generation,
        "holder": None if value.holder is None else holder(value.holder),
        "cooling_until": None if value.cooling_until is None else moment(value.cooling_until),
    }


def deleted(value: DeletedSession) -> dict[str, Any]:
    removed = [{"kind": each.kind, "count": each.count, "bytes": each.bytes} for each in value.removed]
    return {"session_id": value.session_id, "state": value.state.value, "removed": removed}


def finding(value: AuditFinding) -> dict[str, Any]:
    return {
        "kind": value.kind.value,
        "session_id": value.session_id or None,
        "key": value.key,
        "count": value.count,
        "bytes": value.bytes,
        "age": value.age,
        "text": value.text,
        "repaired": value.repaired,
    }


def audit(findings: Iterable[AuditFinding], summary: AuditSummary) -> dict[str, Any]:
    return {
        "clean": summary.clean,
        "keys": summary.keys,
        "sessions": summary.sessions,
        "objects": summary.objects,
        "object_bytes": summary.object_bytes,
        "kinds": [
            {
                "kind": each.kind.value,
                "findings": each.findings,
                "count": each.count,
                "bytes": each.bytes,
                "repaired": each.repaired,
            }
            for each in summary.findings
        ],
        "findings": [finding(each) for each in findings],
    }


def session(value: Session) -> dict[str, Any]:
    found, committed = value.coverage, value.committed_object
    return {
        "session_id": value.session_id,
        "state": value.state.value,
        "outcome_unavailable": value.outcome_unavailable,
        "filename": value.filename,
        "object_key": value.object_key or None,
        "chosen_key": value.chosen_key or None,
        "if_generation_match": value.if_generation_match,
        "overwrite": value.overwrite,
        "size": value.size,
        "chunk_size": value.chunk_size,
        "chunk_count": value.chunk_count,
        "content_type": value.content_type,
        "metadata": value.metadata,
        "create_time": moment(value.create_time),
        "expire_time": moment(value.expire_time),
        "ttl": value.ttl,
        "coverage": None if found is None else coverage(found, missing_truncated=value.missing_truncated),
        "committed_object": None if committed is None else committed_object(committed),
    }


def upload(value: UploadResult, *, seconds: float) -> dict[str, Any]:
    return {
        "session_id": value.session_id,
        "committed_object": committed_object(value.committed_object),
        "chunk_size": value.chunk_size,
        "chunk_count": value.chunk_count,
        "resumed": value.bytes_resumed > 0,
        "bytes_resumed": value.bytes_resumed,
        "bytes_sent": value.bytes_sent,
        "bytes_sent_again": value.bytes_sent_again,
        "chunks_sent_again": value.chunks_sent_again,
        "streams": value.streams,
        "retries": value.retries,
        "seconds": round(seconds, 3),
    }


def progress(value: Progress) -> dict[str, Any]:
    return {
        "phase": value.phase.value,
        "session_id": value.session_id or None,
        "stored_bytes": value.bytes_stored,
        "total_bytes": value.bytes_total,
        "resumed_bytes": value.bytes_resumed,
        "stored_chunks": value.chunks_stored,
        "total_chunks": value.chunks_total,
        "retries": value.retries,
    }


def server(value: ServerInfo) -> dict[str, Any]:
    limits, statistics = value.limits, value.statistics
    return {
        "version": value.version,
        "start_time": moment(value.start_time),
        "store_probe": [
            {"guarantee": verdict.guarantee, "ok": verdict.ok, "detail": verdict.detail}
            for verdict in value.store_probe
        ],
        "limits": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
        "statistics": {name: getattr(statistics, name) for name in statistics.__dataclass_fields__},
    }
