"""What delete, audit and explain say, in the words of the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from assembly_service.audit import MIN_AGE, Message
from assembly_service.audit_findings import AuditKind, Finding, Progress, Summary
from assembly_service.delete import Deletion
from assembly_service.explain_receipts import Event
from sealane.domain.errors import InvalidRequest
from sealane.rpc import convert
from sealane.v1 import assembly_service_pb2 as pb

_MAX_AGE_SECONDS = 366 * 24 * 3600


def deletion_to_proto(deletion: Deletion) -> pb.DeleteSessionResponse:
    """Kinds of which nothing was removed are left out."""
    return pb.DeleteSessionResponse(
        state=convert.state_to_proto(deletion.state),
        removed=[pb.Removal(kind=some.kind.value, count=some.count, bytes=some.size) for some in deletion.removed],
    )


def min_age_from_proto(request: pb.AuditStoreRequest) -> timedelta:
    """InvalidRequest if it is no duration, or below 0."""
    if not request.HasField("min_age"):
        return MIN_AGE
    seconds = convert.duration_from_proto(request.min_age, field="min_age")
    if not 0 <= seconds <= _MAX_AGE_SECONDS:
        raise InvalidRequest(f"min_age must be from 0 to {_MAX_AGE_SECONDS} seconds.", field="min_age")
    return timedelta(seconds=seconds)


def audit_to_proto(message: Message) -> pb.AuditStoreResponse:
    """One message of the stream."""
    match message:
        case Finding():
            return pb.AuditStoreResponse(finding=_finding(message))
        case Progress():
            return pb.AuditStoreResponse(progress=pb.AuditProgress(keys=message.keys, sessions=message.sessions))
        case Summary():
            return pb.AuditStoreResponse(summary=_summary(message))


def events_to_proto(events: Sequence[Event]) -> pb.ExplainSessionResponse:
    """A history; what has no time has none on the wire."""
    return pb.ExplainSessionResponse(
        events=[
            pb.SessionEvent(
                time=None if each.time is None else convert.timestamp_to_proto(each.time),
                event=each.event,
                text=each.text,
                fields=each.fields,
                chunks=convert.ranges_to_proto(each.chunks),
            )
            for each in events
        ]
    )


def _finding(finding: Finding) -> pb.AuditFinding:
    return pb.AuditFinding(
        kind=_kind(finding.kind),
        session_id=finding.session,
        key=finding.key,
        count=finding.count,
        bytes=finding.size,
        age=convert.duration_to_proto(finding.age.total_seconds()),
        text=finding.text,
        repaired=finding.repaired,
    )


def _summary(summary: Summary) -> pb.AuditSummary:
    return pb.AuditSummary(
        keys=summary.keys,
        sessions=summary.sessions,
        objects=summary.objects,
        object_bytes=summary.object_bytes,
        findings=[
            pb.AuditCount(
                kind=_kind(kind), findings=tally.findings, count=tally.count, bytes=tally.size, repaired=tally.repaired
            )
            for kind, tally in sorted(summary.by_kind.items())
        ],
    )


def _kind(kind: AuditKind) -> pb.AuditKind:
    return cast("pb.AuditKind", pb.AuditKind.Value(f"AUDIT_KIND_{kind.value}"))
