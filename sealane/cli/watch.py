"""`sealane watch SESSION`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.exit_codes import ExitCode
from sealane.cli.output import Output
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.client import Session

_ENDS = {
    SessionState.COMMITTED: ExitCode.OK,
    SessionState.DUPLICATE: ExitCode.OK,
    SessionState.LOST: ExitCode.CORRUPT,
}


@click.command(name="watch")
@click.argument("session")
@endpoint_options
@timeout_option
def command(session: str, ingest: str | None, assembly: str | None, as_json: bool, timeout: float) -> int:
    """Follow SESSION: a line at every change, until it is final.

    Exit code 0 if it ends COMMITTED, 4 if it ends ABORTED, EXPIRED or DELETED, 5 if LOST: so `sealane watch SESSION
    && next` waits for the object.
    """
    output = Output(as_json=as_json)
    last = asyncio.run(_watch(session, ingest, assembly, timeout, output))
    return _ENDS.get(last.state, ExitCode.CONFLICT)


async def _watch(session: str, ingest: str | None, assembly: str | None, timeout: float, output: Output) -> Session:
    from sealane.cli import session_page, shapes

    shown = ""
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        async for found in client.watch_session(session):
            if output.as_json:
                output.record(shapes.session(found))
                continue
            line = f"{found.state.value:<10}  {session_page.coverage_line(output, found)}".rstrip()
            if line != shown:  # a heartbeat says nothing new
                output.line(f"{datetime.now(UTC):%H:%M:%S}  {line}")
                shown = line
    if not output.as_json and found.committed_object is not None:
        output.line()
        session_page.show_object(output, found.committed_object)
    return found
