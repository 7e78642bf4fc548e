"""`sealane abort SESSION`."""

from __future__ import annotations

import asyncio

import click

from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output
from sealane.domain.states import SessionState


@click.command(name="abort")
@click.argument("session")
@endpoint_options
@timeout_option
def command(session: str, ingest: str | None, assembly: str | None, as_json: bool, timeout: float) -> None:
    """Give SESSION up. Its bytes are removed in the background; nothing of it ever becomes an object.

    Repeating it is fine. A session whose commit is decided can't be aborted (exit code 4).
    """
    output = Output(as_json=as_json)
    state = asyncio.run(_abort(session, ingest, assembly, timeout))
    if as_json:
        output.document({"session_id": session, "state": state.value})
    else:
        output.line(f"{session} {state.value}")


async def _abort(session: str, ingest: str | None, assembly: str | None, timeout: float) -> SessionState:
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        return await client.abort_session(session)
