"""`sealane ls`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from sealane.cli import text
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output, table
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.client import Session

_STATES = [state.value.lower() for state in SessionState]


@click.command(name="ls")
@click.option("--state", type=click.Choice(_STATES, case_sensitive=False), help="Only sessions in this state.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many; 0 lists all."
)
@endpoint_options
@timeout_option
def command(
    state: str | None, limit: int, ingest: str | None, assembly: str | None, as_json: bool, timeout: float
) -> None:
    """List your sessions, oldest first.

    The server lists in order of the ids, which are random: with --limit you see some, not the newest.
    """
    from sealane.cli import shapes

    output = Output(as_json=as_json)
    wanted = SessionState(state.upper()) if state else None
    found, more = asyncio.run(_list(wanted, limit, ingest, assembly, timeout))
    found.sort(key=lambda session: (session.create_time, session.session_id))
    if as_json:
        output.document({"sessions": [shapes.session(session) for session in found], "truncated": more})
        return
    rows = [
        (
            session.session_id,
            session.state.value,
            text.moment(session.create_time),
            "?" if session.size is None else text.size(session.size),
            session.chosen_key or session.filename,
        )
        for session in found
    ]
    if rows:
        output.line(table(("SESSION", "STATE", "CREATED", "SIZE", "FILE OR KEY"), rows))
    else:
        output.note("No session" + (f" is {wanted.value}." if wanted else "."))
    if more:
        output.note(f"There are more than {limit}: --limit 0 lists all.")


async def _list(
    state: SessionState | None, limit: int, ingest: str | None, assembly: str | None, timeout: float
) -> tuple[list[Session], bool]:
    """At most ``limit`` sessions (0: all), and whether there are more."""
    found: list[Session] = []
    page = min(limit + 1, 1000) if limit else 1000
    async with (
        connect(ingest, assembly, timeout=timeout, patience=timeout) as client,
        aclosing(client.list_sessions(state=state, page_size=page)) as sessions,
    ):
        async for session in sessions:
            if limit and len(found) == limit:
                return found, True
            found.append(session)
    return found, False
