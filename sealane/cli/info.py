"""`sealane info`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sealane.cli import text
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import ServerInfo


@click.command(name="info")
@endpoint_options
@timeout_option
def command(ingest: str | None, assembly: str | None, as_json: bool, timeout: float) -> None:
    """Show what the ingest replica that answers is: version, limits, the store's verdict, counts since its start."""
    from sealane.cli import shapes

    output = Output(as_json=as_json)
    found = asyncio.run(_get(ingest, assembly, timeout))
    if as_json:
        output.document(shapes.server(found))
    else:
        _show(output, found)


async def _get(ingest: str | None, assembly: str | None, timeout: float) -> ServerInfo:
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        return await client.get_server_info()


def _show(output: Output, info: ServerInfo) -> None:
    limits, counts = info.limits, info.statistics
    started = f"{text.moment(info.start_time)}, {text.distance(info.start_time, datetime.now(UTC))}"
    output.rows([("version", info.version), ("started", started)])
    output.line("\nThe store gives:")
    for verdict in info.store_probe:
        output.line(f"  {verdict.guarantee}  {'ok ' if verdict.ok else 'NO '}  {verdict.detail}")
    if not info.store_probe:
        output.line("  no verdict yet")
    output.line("\nLimits:")
    chunks = (
        f"{text.size(limits.min_chunk_bytes)} to {text.size(limits.max_chunk_bytes)}, at most {limits.max_chunks:,}"
    )
    output.rows(
        [
            ("  chunks", chunks),
            ("  frame", text.size(limits.max_frame_bytes)),
            ("  object", text.size(limits.max_object_bytes)),
            ("  metadata", text.size(limits.max_metadata_bytes)),
            ("  ttl", f"{text.duration(limits.default_ttl)}, at most {text.duration(limits.max_ttl)}"),
        ]
    )
    output.line("\nSince its start, this replica alone:")
    output.rows(
        [
            ("  sessions", f"{counts.sessions_created:,} created"),
            ("  chunks", f"{counts.chunks_stored:,} stored, {counts.chunks_duplicate:,} had been stored before"),
            ("  bytes", text.exact_size(counts.bytes_stored)),
            ("  streams", f"{counts.open_streams} open now"),
            ("  memory", f"{text.size(counts.memory_in_use)} of {text.size(counts.memory_budget)} in use now"),
            ("  errors", ", ".join(f"{name} {n}" for name, n in sorted(counts.errors_by_reason.items())) or "none"),
        ]
    )
