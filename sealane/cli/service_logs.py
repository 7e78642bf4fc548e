"""The services' logs, searched for one session: JSON lines as :mod:`sealane.logs` writes them.

A line belongs to a session if it names it, or if it names no session and has the request id of a line that does. What
is no such line (another program's, a torn one) is counted, never a failure: logs are full of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SESSION_FIELDS = ("session_id", "session", "listed_session")
_STORE_REQUEST = re.compile(r"\[request ([^\]\s]+)\]")
"""How errors of the store name the request that the store's own logs know."""
_STORE_REQUEST_FIELD = "store_request_id"
"""Where the line of one call to the store has it."""
_WRAPPED = ("log", "message")
"""Where collectors put a line of a container's (Docker's json-file, for one)."""
_METHODS = "/sealane.v1."
MAX_LINE_BYTES = 1 << 20
_BORING = frozenset(
    {"ts", "event", "service", "level", "logger", "session_id", "tenant", "subject", "peer", _STORE_REQUEST_FIELD}
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a service's log."""

    time: datetime
    """By the service's own clock."""
    service: str
    level: str
    event: str
    fields: dict[str, Any]
    """All others that it has."""
    store_request_ids: tuple[str, ...]

    def text(self) -> str:
        """For people: the event, and what it says of itself."""
        shown = [f"{name}={_short(value)}" for name, value in self.fields.items() if name not in _BORING]
        return " ".join([self.event, *shown])


@dataclass(slots=True)
class Found:
    """What a search of some logs brought."""

    lines: list[LogLine] = field(default_factory=list)
    """Of the session, in order of time."""
    others: int = 0
    """Lines of other sessions, or of none."""
    unknown: int = 0
    """Lines that are none of a service's."""


def search(files: Iterable[Path], session_id: str) -> Found:
    """All lines of the session. Reads each file once; keeps what may belong to it. OSError of a file."""
    found = Found()
    of_requests: dict[str, list[LogLine]] = {}
    requests: set[str] = set()
    for raw in _raw_lines(files):
        record = _record(raw)
        line = None if record is None else _line(record)
        if record is None or line is None:
            found.unknown += 1
            continue
        named = {str(record[name]) for name in _SESSION_FIELDS if name in record}
        request = str(record.get("request_id", ""))
        if session_id in named:
            found.lines.append(line)
            requests.add(request)
        elif request and not named:
            of_requests.setdefault(request, []).append(line)
        else:
            found.others += 1
    for request, lines in of_requests.items():
        if request in requests:
            found.lines += lines
        else:
            found.others += len(lines)
    found.lines.sort(key=lambda line: line.time)
    return found


def _raw_lines(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as opened:
            while line := opened.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line


def _record(raw: bytes) -> dict[str, Any] | None:
    begin = raw.find(b"{")  # behind what a collector may have put in front of it
    if begin < 0:
        return None
    try:
        value = json.loads(raw[begin:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    wrapped = next((value[name] for name in _WRAPPED if isinstance(value.get(name), str)), "")
    if "ts" not in value and "{" in wrapped:
        return _record(wrapped.encode("utf-8", "replace"))
    return value


def _line(record: dict[str, Any]) -> LogLine | None:
    stamp, event = record.get("ts"), record.get("event")
    if not isinstance(stamp, str) or not isinstance(event, str):
        return None
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    texts = [value for value in record.values() if isinstance(value, str)]
    ids = dict.fromkeys(each for value in texts for each in _STORE_REQUEST.findall(value))
    if own := record.get(_STORE_REQUEST_FIELD):
        ids[str(own)] = None
    return LogLine(
        time=moment,
        service=str(record.get("service", "")),
        level=str(record.get("level", "")),
        event=event,
        fields={name: value for name, value in record.items() if name not in ("ts", "event", "service", "level")},
        store_request_ids=tuple(ids),
    )


def _short(value: Any) -> str:
    shown = (
        value.removeprefix(_METHODS) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    )
    shown = shown if len(shown) <= 200 else shown[:199] + "…"
    return json.dumps(shown, ensure_ascii=False) if " " in shown or "\n" in shown else shown
