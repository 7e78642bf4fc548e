"""What an audit may find, and how it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sealane.store.port import ListedObject, ListedUpload


class AuditKind(StrEnum):
    """The proto's names without their prefix; assembly_service.proto says what each means."""

    OBJECT_MISSING = "OBJECT_MISSING"
    OBJECT_WITHOUT_RECORDS = "OBJECT_WITHOUT_RECORDS"
    RECORD_WITHOUT_SESSION = "RECORD_WITHOUT_SESSION"
    RECEIPT_WITHOUT_SESSION = "RECEIPT_WITHOUT_SESSION"
    UPLOAD_WITHOUT_SESSION = "UPLOAD_WITHOUT_SESSION"
    SESSION_OVERDUE = "SESSION_OVERDUE"
    BAD_RECORD = "BAD_RECORD"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    UPLOAD_MISSING = "UPLOAD_MISSING"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. ``count`` things of ``size`` bytes, the youngest written at ``newest``."""

    kind: AuditKind
    text: str
    newest: datetime
    session: str = ""
    key: str = ""
    count: int = 1
    size: int = 0
    age: timedelta = timedelta(0)
    repaired: bool = False
    upload: ListedUpload | None = None
    """What to abort; never on the wire."""

    @classmethod
    def of(cls, kind: AuditKind, text: str, things: Sequence[ListedObject], *, session: str = "") -> Finding:
        """About one object or more; the first of them is named."""
        return cls(
            kind,
            text,
            max(thing.last_modified for thing in things),
            session=session,
            key=things[0].key,
            count=len(things),
            size=sum(thing.size for thing in things),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the walk is."""

    keys: int
    sessions: int


@dataclass(slots=True)
class Tally:
    """Of one kind: findings, things in them, their bytes, and how many of the findings were removed."""

    findings: int = 0
    count: int = 0
    size: int = 0
    repaired: int = 0


@dataclass(slots=True)
class Summary:
    """The end of an audit."""

    keys: int = 0
    sessions: int = 0
    objects: int = 0
    object_bytes: int = 0
    by_kind: dict[AuditKind, Tally] = field(default_factory=dict)

    def saw_objects(self, objects: Iterable[ListedObject]) -> None:
        for listed in objects:
            self.objects += 1
            self.object_bytes += listed.size

    def add(self, finding: Finding) -> None:
        tally = self.by_kind.setdefault(finding.kind, Tally())
        tally.findings += 1
        tally.count += finding.count
        tally.size += finding.size
        tally.repaired += finding.repaired
