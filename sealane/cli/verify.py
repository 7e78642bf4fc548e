"""`sealane verify SESSION`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealane.cli import text
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed
from sealane.cli.meter import meter
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import VerifiedObject


@click.command(name="verify")
@click.argument("session")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also compare with this file, by size and digest.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@endpoint_options
@timeout_option
def command(
    session: str,
    against: Path | None,
    quiet: bool,
    ingest: str | None,
    assembly: str | None,
    as_json: bool,
    timeout: float,
) -> None:
    """Prove a committed object at rest: assembly reads it back whole, hashes it, and compares with the commit.

    Exit code 0 only if every byte is as committed (and as in FILE); 5 if not.
    """
    output = Output(as_json=as_json, quiet=quiet)
    verified = asyncio.run(_verify(session, ingest, assembly, timeout, output))
    local = _digest(against) if against is not None else None
    if against is not None and local != (verified.size, verified.blake3):
        assert local is not None
        raise CommandFailed(
            f"the object is as committed, but it is not {against}: "
            f"{text.exact_size(verified.size)} with BLAKE3 {verified.digest} in the store, "
            f"{text.exact_size(local[0])} with {local[1].hex()} in the file",
            reason="FILE_DIFFERS",
            code="DATA_LOSS",
            exit_code=ExitCode.CORRUPT,
            data={"session_id": session},
        )
    if as_json:
        compared = None if against is None else {"file": str(against), "equal": True}
        output.document(
            {
                "session_id": session,
                "verified": True,
                "size": verified.size,
                "blake3": verified.digest,
                "against": compared,
            }
        )
        return
    output.rows(
        [
            ("verified", "every byte at rest is as committed"),
            ("equal to", "" if against is None else str(against)),
            ("size", text.exact_size(verified.size)),
            ("blake3", verified.digest),
        ]
    )


async def _verify(
    session: str, ingest: str | None, assembly: str | None, timeout: float, output: Output
) -> VerifiedObject:
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        with meter(output, "reading back") as shown:
            return await client.verify_object(session, progress=shown.show)


def _digest(file: Path) -> tuple[int, bytes]:
    """Size and BLAKE3 of a local file, a piece at a time."""
    from blake3 import blake3

    hasher, size = blake3(), 0
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            hasher.update(piece)
            size += len(piece)
    return size, hasher.digest()
