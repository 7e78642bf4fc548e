"""`sealane rm SESSION`, `sealane rm --key KEY`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sealane.cli import key_page, text
from sealane.cli.connection import connect, endpoint_options
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed
from sealane.cli.output import Output, table

if TYPE_CHECKING:
    from sealane.client import DeletedSession, KeyState

_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Target:
    """What is to be removed."""

    session_id: str
    what: str
    """For people."""


@click.command(name="rm")
@click.argument("session", required=False)
@click.option("--key", metavar="KEY", help="Remove the object that this chosen key holds, instead of naming a session.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=300.0,
    show_default=True,
    help="Seconds to wait until the store confirms that all is gone.",
)
@endpoint_options
def command(
    session: str | None,
    key: str | None,
    yes: bool,
    timeout: float,
    ingest: str | None,
    assembly: str | None,
    as_json: bool,
) -> None:
    """Remove SESSION with all that it has: a committed object, its parts, receipts and records. For good.

    A session in progress is given up, and removed at once. The answer comes when the store confirms that nothing is
    left. On a terminal you are asked first. Repeating it is fine: exit code 3 then says that there is nothing.

    At a chosen key the generation goes up by one, and the key rests for an hour before it can be used again. With
    --key the answer says what is there now: somebody may have replaced the object meanwhile, and theirs stays.
    """
    from sealane.cli import shapes

    if (session is None) == (key is None):
        raise click.UsageError("Name a SESSION or a --key" + ("." if session is None else ", not both."))
    output = Output(as_json=as_json)
    ask = not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    target = _Target(session or "", session or "")
    if key is not None or ask:
        target = asyncio.run(_look(session, key, ingest, assembly, min(timeout, _LOOK_SECONDS)))
    if ask and not click.confirm(f"Remove {target.what}, for good?", err=True):
        raise CommandFailed(
            "nothing was removed", reason="NOT_CONFIRMED", code="CANCELLED", exit_code=ExitCode.INTERRUPTED
        )
    deleted, left = asyncio.run(_delete(target.session_id, key, ingest, assembly, timeout))
    if as_json:
        output.document(shapes.deleted(deleted) | ({} if left is None else {"key": shapes.key(left)}))
        return
    if deleted.removed:
        rows = [(each.kind, f"{each.count:,}", text.size(each.bytes)) for each in deleted.removed]
        output.line(table(("REMOVED", "COUNT", "BYTES"), rows))
    output.line(f"{deleted.session_id} {deleted.state.value}; nothing of it is left")
    if left is not None:
        output.line(key_page.after_removal(left, datetime.now(UTC)))


async def _look(
    session: str | None, key: str | None, ingest: str | None, assembly: str | None, timeout: float
) -> _Target:
    """The session, and in words what it is. The key's holder may have another successor by the time it is removed:
    then only its records are."""
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        if key is None:
            assert session is not None
            found = await client.get_session(session)
            size = "" if found.size is None else f", {text.exact_size(found.size)}"
            return _Target(
                session, f"{found.object_key or found.filename} ({found.state.value}{size}), session {session}"
            )
        state = await client.get_key(key)
    holder = state.holder
    if holder is None:
        raise CommandFailed(
            f"nothing is at the key {key!r}", reason="KEY_VACANT", code="NOT_FOUND", exit_code=ExitCode.NOT_FOUND
        )
    if holder.foreign:
        raise CommandFailed(
            f"the object at the key {key!r} is none of sealane's, which removes only its own",
            reason="FOREIGN_OBJECT",
            code="FAILED_PRECONDITION",
            exit_code=ExitCode.CONFLICT,
            rows=key_page.holder_rows(holder),
        )
    return _Target(holder.session_id, f"{key} (generation {holder.generation}, {text.exact_size(holder.size)})")


async def _delete(
    session: str, key: str | None, ingest: str | None, assembly: str | None, timeout: float
) -> tuple[DeletedSession, KeyState | None]:
    """What was removed; and who has the key now, if that is what was named, and it can be had."""
    from sealane.client import SealaneError

    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        deleted = await client.delete_session(session, timeout=timeout)
        left = None
        if key is not None:
            with contextlib.suppress(SealaneError, CommandFailed):  # it is removed, whatever comes of this look
                left = await client.get_key(key, timeout=min(timeout, _LOOK_SECONDS))
        return deleted, left
