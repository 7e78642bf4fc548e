"""`sealane explain SESSION`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealane.cli import service_logs, text
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output, table
from sealane.cli.service_logs import Found, LogLine

if TYPE_CHECKING:
    from sealane.client import SessionEvent
    from sealane.client.errors import SessionNotFound

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_ID = re.compile(r"[0-9a-f]{32}")


@click.command(name="explain")
@click.argument("session")
@click.option("--logs", "named", multiple=True, type=_LOG, metavar="FILE…", help="Logs of the services, to merge in.")
@click.argument("more", nargs=-1, metavar="")
@endpoint_options
@timeout_option
def command(
    session: str,
    named: tuple[Path, ...],
    more: tuple[str, ...],
    ingest: str | None,
    assembly: str | None,
    as_json: bool,
    timeout: float,
) -> None:
    """Tell SESSION's history in order: what its records, receipts and object in the store say, with the store's times.

    With --logs (JSON lines, any number of files: `--logs *.log`), the lines of the services that are about this
    session come between them, with the ids under which the store's own logs know its requests. Those lines have the
    services' clocks, the others the store's. Lines that are none of a service's are skipped and counted. Of a session
    that was removed, or purged, the logs alone tell.
    """
    output = Output(as_json=as_json)
    if more and not named:
        raise click.UsageError(f"{more[0]}: log files come behind --logs.")
    session, files = told_apart(session, more)
    logs = (*named, *(_LOG.convert(file, None, None) for file in files))
    events, missing = asyncio.run(_explain(session, ingest, assembly, timeout))
    found = service_logs.search(logs, session) if logs else Found()
    if missing is not None and not told(found.lines):
        raise missing
    history = merged(events, found.lines)
    if as_json:
        counts = {"files": len(logs), "lines": len(found.lines), "others": found.others, "unknown": found.unknown}
        output.document(
            {
                "session_id": session,
                "in_store": missing is None,
                "history": [_shape(each) for each in history],
                "logs": counts,
            }
        )
        return
    output.line(table(("TIME (UTC)", "WHO", "WHAT"), (_row(each) for each in history)))
    if missing is not None:
        output.note("The store has nothing of this session (any more): this is what the logs alone tell.")
    if logs:
        output.note(
            f"{len(logs)} log file{'' if len(logs) == 1 else 's'}: {len(found.lines):,} lines of this session, "
            f"{found.others:,} of others, {found.unknown:,} not understood"
        )


def told(lines: Sequence[LogLine]) -> bool:
    """Whether they tell of a session that there was, and not of questions about it alone, such as this command's."""
    return any(line.fields.get("code") == "OK" if line.event == "rpc" else line.event != "store" for line in lines)


def told_apart(session: str, more: Sequence[str]) -> tuple[str, Sequence[str]]:
    """SESSION and the log files, also where it comes behind them: `--logs *.log SESSION`."""
    words = [session, *more]
    ids = [word for word in words if _ID.fullmatch(word)]
    chosen = ids[0] if len(ids) == 1 else session
    words.remove(chosen)
    return chosen, words


def merged(events: Sequence[SessionEvent], lines: Sequence[LogLine]) -> list[SessionEvent | LogLine]:
    """Both in order of time. The store's own order is never changed: an event without a time stays behind its
    predecessor. The store's times are whole seconds, so a line of the same second comes behind the event."""
    keyed: list[tuple[datetime, int, int, SessionEvent | LogLine]] = []
    latest = datetime.min.replace(tzinfo=UTC)
    for position, event in enumerate(events):
        latest = max(latest, event.time or latest)
        keyed.append((latest, 0, position, event))
    keyed += [(line.time, 1, position, line) for position, line in enumerate(lines)]
    return [each for _, _, _, each in sorted(keyed, key=lambda key: key[:3])]


def _row(each: SessionEvent | LogLine) -> tuple[str, str, str]:
    if isinstance(each, LogLine):
        ids = "".join(f"  [store request {one}]" for one in each.store_request_ids)
        return _clock(each.time, milliseconds=True), each.service or "log", f"{each.level}: {each.text()}{ids}"
    chunks = f"  chunks {text.ranges(each.chunks)}" if each.chunks else ""
    return ("" if each.time is None else _clock(each.time)), "store", f"{each.event}: {each.text}{chunks}"


def _clock(moment: datetime, *, milliseconds: bool = False) -> str:
    shown = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{shown}.{moment.microsecond // 1000:03d}" if milliseconds else shown


def _shape(each: SessionEvent | LogLine) -> dict[str, Any]:
    from sealane.cli import shapes

    if isinstance(each, LogLine):
        return {
            "source": each.service or "log",
            "time": shapes.moment(each.time),
            "event": each.event,
            "text": each.text(),
            "fields": each.fields,
            "level": each.level,
            "store_request_ids": list(each.store_request_ids),
        }
    return {
        "source": "store",
        "time": None if each.time is None else shapes.moment(each.time),
        "event": each.event,
        "text": each.text,
        "fields": each.fields,
        "chunks": shapes.ranges(each.chunks),
    }


async def _explain(
    session: str, ingest: str | None, assembly: str | None, timeout: float
) -> tuple[Sequence[SessionEvent], SessionNotFound | None]:
    """The store's history; or that it has none, which is no failure while logs may have one."""
    from sealane.client.errors import SessionNotFound

    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        try:
            return await client.explain_session(session), None
        except SessionNotFound as error:
            return [], error
