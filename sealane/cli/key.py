"""`sealane key KEY`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sealane.cli import key_page
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import KeyState


@click.command(name="key")
@click.argument("key")
@endpoint_options
@timeout_option
def command(key: str, ingest: str | None, assembly: str | None, as_json: bool, timeout: float) -> None:
    """Say who holds KEY, a key that was chosen with `sealane put --key`: generation, session, size, digest.

    The generation is what `sealane put --key KEY --if-generation` must say to replace exactly this object; 0 means
    that nothing is there. True at the moment it was asked.
    """
    from sealane.cli import shapes

    output = Output(as_json=as_json)
    state = asyncio.run(_key(key, ingest, assembly, timeout))
    if as_json:
        output.document(shapes.key(state))
    elif state.holder is None:
        output.rows(
            [("key", key), ("generation", "0"), ("holder", key_page.vacancy(state.cooling_until, datetime.now(UTC)))]
        )
    else:
        output.rows([("key", key), *key_page.holder_rows(state.holder)])


async def _key(key: str, ingest: str | None, assembly: str | None, timeout: float) -> KeyState:
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        return await client.get_key(key)
