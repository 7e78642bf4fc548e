"""`sealane status SESSION`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import Session


@click.command(name="status")
@click.argument("session")
@endpoint_options
@timeout_option
def command(session: str, ingest: str | None, assembly: str | None, as_json: bool, timeout: float) -> None:
    """Show where SESSION stands: its state, which chunks have arrived, and the digest of the prefix that has.

    The prefix digest is the BLAKE3 of the first bytes without a hole: `head -c BYTES FILE | b3sum` prints the same,
    if what arrived is what the file holds.
    """
    from sealane.cli import session_page, shapes

    output = Output(as_json=as_json)
    found = asyncio.run(_get(session, ingest, assembly, timeout))
    if as_json:
        output.document(shapes.session(found))
    else:
        session_page.show(output, found)


async def _get(session: str, ingest: str | None, assembly: str | None, timeout: float) -> Session:
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        return await client.get_session(session)
