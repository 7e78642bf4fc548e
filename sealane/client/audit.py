"""An audit of the store: findings as they are found, and the sum of all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from sealane.client.connections import Connections
from sealane.client.errors import BadRecord, PeerUnavailable
from sealane.rpc.convert import duration_from_proto, duration_to_proto
from sealane.v1 import assembly_service_pb2 as pb

AUDIT_SECONDS = 86400.0
"""The deadline of one audit: as long as the store is large. The server has its own limit."""
AUDIT_STALL_SECONDS = 600.0
"""An audit that says nothing for so long is given up."""
_KIND_PREFIX = "AUDIT_KIND_"


class AuditKind(StrEnum):
    """What kind of thing does not fit; the names of ``sealane.v1.AuditKind``."""

    OBJECT_MISSING = "OBJECT_MISSING"
    OBJECT_WITHOUT_RECORDS = "OBJECT_WITHOUT_RECORDS"
    RECORD_WITHOUT_SESSION = "RECORD_WITHOUT_SESSION"
    RECEIPT_WITHOUT_SESSION = "RECEIPT_WITHOUT_SESSION"
    UPLOAD_WITHOUT_SESSION = "UPLOAD_WITHOUT_SESSION"
    SESSION_OVERDUE = "SESSION_OVERDUE"
    BAD_RECORD = "BAD_RECORD"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    UPLOAD_MISSING = "UPLOAD_MISSING"
    OTHER = "OTHER"
    """Of a server newer than this client; the finding's text says what it is."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that does not fit."""

    kind: AuditKind
    session_id: str
    """Empty if none is known."""
    key: str
    """Of an upload: the key that it is for."""
    count: int
    """How many things: the receipts of one session are one finding."""
    bytes: int
    age: float
    """Seconds, of the youngest of them, by the store's clock."""
    text: str
    repaired: bool
    """This audit has removed it."""


@dataclass(frozen=True, slots=True)
class AuditCount:
    """The findings of one kind."""

    kind: AuditKind
    findings: int
    count: int
    """Of things in them."""
    bytes: int
    repaired: int
    """Findings that this audit has removed."""


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """The end of an audit."""

    keys: int
    sessions: int
    objects: int
    object_bytes: int
    findings: tuple[AuditCount, ...]

    @property
    def clean(self) -> bool:
        """Nothing was found; what was found and removed counts as found."""
        return not any(each.findings for each in self.findings)

    @property
    def left(self) -> int:
        """Findings that are still there."""
        return sum(each.findings - each.repaired for each in self.findings)


async def audit(
    connections: Connections,
    *,
    min_age: float | None,
    repair: bool,
    progress: Callable[[int, int], None] | None,
) -> AsyncGenerator[AuditFinding | AuditSummary, None]:
    """See :meth:`sealane.client.Client.audit`."""
    request = pb.AuditStoreRequest(min_age=None if min_age is None else duration_to_proto(min_age), repair=repair)
    async with aclosing(
        connections.stream(
            connections.assembly.AuditStore, request, seconds=AUDIT_SECONDS, stall_seconds=AUDIT_STALL_SECONDS
        )
    ) as messages:
        summary: AuditSummary | None = None
        async for message in messages:
            match message.WhichOneof("message"):
                case "finding":
                    yield _finding(message.finding)
                case "progress" if progress is not None:
                    progress(message.progress.keys, message.progress.sessions)
                case "summary":
                    summary = _summary(message.summary)
    if summary is None:
        raise PeerUnavailable("The audit ended before its summary.", retry_after=0.0)
    yield summary  # behind the end of the stream: who leaves before it is logged as one who gave up


def _finding(value: pb.AuditFinding) -> AuditFinding:
    if value.age.seconds < 0:
        raise BadRecord(private="an audit's finding as sent by the peer has no age")
    return AuditFinding(
        kind=_kind(value.kind),
        session_id=value.session_id,
        key=value.key,
        count=value.count,
        bytes=value.bytes,
        age=duration_from_proto(value.age, field="age"),
        text=value.text,
        repaired=value.repaired,
    )


def _summary(value: pb.AuditSummary) -> AuditSummary:
    return AuditSummary(
        keys=value.keys,
        sessions=value.sessions,
        objects=value.objects,
        object_bytes=value.object_bytes,
        findings=tuple(
            AuditCount(_kind(each.kind), each.findings, each.count, each.bytes, each.repaired)
            for each in value.findings
        ),
    )


def _kind(number: int) -> AuditKind:
    name = pb.AuditKind.Name(number).removeprefix(_KIND_PREFIX) if number in pb.AuditKind.values() else ""
    return AuditKind.__members__.get(name, AuditKind.OTHER)
