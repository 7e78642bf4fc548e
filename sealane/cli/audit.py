"""`sealane audit`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from sealane.cli import quantities, text
from sealane.cli.connection import connect, endpoint_options, timeout_option
from sealane.cli.exit_codes import ExitCode
from sealane.cli.output import Output, table

if TYPE_CHECKING:
    from sealane.client import AuditCount, AuditFinding, AuditSummary, Client

_SAY_EVERY_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_RESTARTS = 20
"""Of a long walk, while replicas come and go; each of them goes on for --timeout only while nobody answers."""


@click.command(name="audit")
@click.option(
    "--repair", is_flag=True, help="Remove what no session accounts for; an object only to finish its deletion."
)
@click.option(
    "--min-age",
    callback=quantities.duration,
    metavar="TIME",
    help="Leave out what is younger: it may just be being written.  [default: 15m]",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@endpoint_options
@timeout_option
def command(
    repair: bool,
    min_age: float | None,
    quiet: bool,
    ingest: str | None,
    assembly: str | None,
    as_json: bool,
    timeout: float,
) -> int:
    """Walk your part of the store both ways, and list what does not fit together.

    Records without objects, objects without records, uploads and receipts of no session, sessions that the sweeper
    should have ended. Nothing is changed without --repair, and then only what the sweeper may remove, each step
    confirmed; an object only to finish a deletion that was begun.

    Exit code 0 if nothing does not fit (any more); 8 if something is left.
    """
    from sealane.cli import shapes

    output = Output(as_json=as_json, quiet=quiet)
    findings, summary = asyncio.run(_audit(output, repair, min_age, ingest, assembly, timeout))
    if as_json:
        output.document(shapes.audit(findings, summary))
    else:
        _show(output, findings, summary)
    return ExitCode.FINDINGS if summary.left else ExitCode.OK


async def _audit(
    output: Output, repair: bool, min_age: float | None, ingest: str | None, assembly: str | None, timeout: float
) -> tuple[list[AuditFinding], AuditSummary]:
    """An audit that is cut off begins anew, for nothing of it has been shown yet; one that has removed something does
    not: what went would be missing from its sum."""
    from sealane.client.errors import SealaneError, is_transient

    walk, restarts = _Walk(output), 0
    async with connect(ingest, assembly, timeout=timeout, patience=timeout) as client:
        while True:
            try:
                return await walk.once(client, repair, min_age)
            except SealaneError as error:
                too_late = time.monotonic() + _PAUSE_SECONDS > walk.heard + timeout
                if too_late or not is_transient(error) or restarts >= _RESTARTS or (repair and walk.findings):
                    raise
            restarts += 1
            await asyncio.sleep(_PAUSE_SECONDS)


class _Walk:
    """One audit, and the next one if it was cut off."""

    def __init__(self, output: Output) -> None:
        self.findings: list[AuditFinding] = []
        self.heard = self._said = time.monotonic()
        """When the server last said something."""
        self._output = output

    async def once(
        self, client: Client, repair: bool, min_age: float | None
    ) -> tuple[list[AuditFinding], AuditSummary]:
        from sealane.client import AuditFinding

        self.findings.clear()
        async with aclosing(client.audit(min_age=min_age, repair=repair, progress=self._progress)) as found:
            async for each in found:
                self.heard = time.monotonic()
                if not isinstance(each, AuditFinding):
                    return self.findings, each
                self.findings.append(each)
        raise AssertionError("unreachable: an audit ends with its summary or with an error")

    def _progress(self, keys: int, sessions: int) -> None:
        self.heard = time.monotonic()
        if self.heard >= self._said + _SAY_EVERY_SECONDS:
            self._said = self.heard
            self._output.note(f"{keys:,} keys walked, {sessions:,} sessions looked at")


def _show(output: Output, findings: list[AuditFinding], summary: AuditSummary) -> None:
    for kind in summary.findings:
        if kind.findings:
            output.line(f"{_heading(kind)}\n{_rows(each for each in findings if each.kind is kind.kind)}\n")
    seen = f"{_count(summary.keys, 'key')}, {_count(summary.sessions, 'session')}"
    objects = f"{_count(summary.objects, 'object')} with {text.size(summary.object_bytes)}"
    output.line(f"{seen}, {objects}: {_verdict(summary)}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _heading(kind: AuditCount) -> str:
    what = kind.kind.replace("_", " ").lower()
    removed = f", {kind.repaired:,} removed" if kind.repaired else ""
    return f"{what}: {_findings(kind.findings)}{removed}; {kind.count:,} in all, {text.size(kind.bytes)}"


def _rows(findings: Iterable[AuditFinding]) -> str:
    rows = [
        (f"  {text.duration(each.age)}", f"{each.count:,}", text.size(each.bytes), each.session_id or "-", _what(each))
        for each in findings
    ]
    return table(("  AGE", "COUNT", "BYTES", "SESSION", "WHAT"), rows)


def _findings(count: int) -> str:
    return _count(count, "finding")


def _what(finding: AuditFinding) -> str:
    done = "removed: " if finding.repaired else ""
    return f"{done}{finding.text}  {finding.key}".rstrip()


def _verdict(summary: AuditSummary) -> str:
    if summary.clean:
        return "everything fits"
    found = sum(each.findings for each in summary.findings)
    removed = found - summary.left
    if not removed:
        return _findings(found)
    return f"{_findings(found)}, {removed:,} removed, {summary.left:,} left"
