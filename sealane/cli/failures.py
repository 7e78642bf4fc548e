"""Failures as the user meets them: one message, what to do next, an exit code; with --json, one object on stderr."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sealane.cli.exit_codes import BY_REASON, ExitCode
from sealane.domain.errors import GenerationMismatch, KeyCooling, QuotaExceeded, Reason, SealaneError

_ERROR_ID = re.compile(r"\berror_id=(\S+)")
_NEXT: Mapping[Reason, str] = {
    Reason.UNAUTHENTICATED: "--token-file (SEALANE_TOKEN_FILE) or --cert-file says who you are; a token may expire.",
    Reason.PERMISSION_DENIED: "Whoever runs the service grants roles (docs/security.md).",
    Reason.SESSION_NOT_FOUND: "`sealane ls` lists your sessions; a finished one that was aborted or expired is purged.",
    Reason.COVERAGE_INCOMPLETE: "`sealane put` with the same file sends what is missing and commits.",
    Reason.SESSION_NOT_COMMITTED: "`sealane status SESSION` says how far it has come.",
    Reason.CHUNK_CONFLICT: "The session began with other bytes: `sealane put --no-resume` starts a new one.",
    Reason.DIGEST_MISMATCH: "The file has changed while it was sent: `sealane put --no-resume` starts a new session.",
    Reason.SESSION_LOST: "`sealane put --no-resume` uploads again, in a new session.",
    Reason.SESSION_ABORTED: "`sealane put --no-resume` starts a new session.",
    Reason.SESSION_EXPIRED: "`sealane put --no-resume` starts a new session; --ttl gives it longer.",
    Reason.OBJECT_CORRUPT: "Do not trust this object. Upload it again, and look at the store.",
    Reason.STORE_UNAVAILABLE: "`sealane doctor` asks the store itself.",
    Reason.OUTCOME_UNKNOWN: "Run the same command again: it is idempotent.",
    Reason.KEY_COOLING: "`sealane key KEY` says from when on. Nothing is lost: run the same command again then.",
    Reason.DELETE_UNSUPPORTED: "`sealane put --key KEY --overwrite` replaces the object; this server can "
    "empty only keys of sessions' own.",
    Reason.QUOTA_EXCEEDED: "`sealane ls --state OPEN` lists open uploads; `sealane abort SESSION` gives one up. "
    "Whoever runs the service sets the quota.",
    Reason.PEER_UNAVAILABLE: "Is it running there? `sealane dev` starts everything on this machine; "
    "--ingest and --assembly (or SEALANE_INGEST, SEALANE_ASSEMBLY) say where it is.",
}


class CommandFailed(Exception):
    """A failure that the command itself found. ``reason`` is for programs, ``hint`` says what to do next.

    ``rows`` are facts for people, shown between the two; ``data`` has the same for programs.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        code: str,
        exit_code: ExitCode,
        hint: str = "",
        rows: Sequence[tuple[str, str]] = (),
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.exit_code = exit_code
        self.hint = hint
        self.rows = tuple(rows)
        self.data = dict(data or {})


def from_sealane(error: SealaneError) -> CommandFailed:
    """The same failure as the command line says it."""
    from sealane.cli import key_page, shapes

    code, exit_code = BY_REASON[error.reason]
    rows: list[tuple[str, str]] = []
    data: dict[str, Any] = {}
    if isinstance(error, GenerationMismatch):
        rows = [] if error.holder is None else key_page.holder_rows(error.holder)
        data["holder"] = None if error.holder is None else shapes.holder(error.holder)
    elif isinstance(error, QuotaExceeded) and error.quota:
        data |= {"quota": error.quota, "limit": error.limit, "used": error.used}
    elif isinstance(error, KeyCooling):
        data["retry_after"] = error.retry_after
    named = _ERROR_ID.search(error.private)  # where sealane.rpc.status leaves what ErrorInfo named
    return CommandFailed(
        error.message,
        reason=error.reason.value,
        code=code,
        exit_code=exit_code,
        hint=_NEXT.get(error.reason, ""),
        rows=rows,
        data=data | ({"error_id": named.group(1)} if named else {}),
    )


def report(failure: CommandFailed, *, as_json: bool) -> None:
    """Say it on stderr."""
    error_id = failure.data.get("error_id")
    if as_json:
        error = {"reason": failure.reason, "code": failure.code, "message": failure.message, "error_id": error_id}
        error |= {"hint": failure.hint or None, "exit_code": int(failure.exit_code)} | failure.data
        print(json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")), file=sys.stderr, flush=True)
        return
    print(f"sealane: {failure.message}", file=sys.stderr)
    if error_id and failure.exit_code in (ExitCode.FAILED, ExitCode.CORRUPT):  # others the user mends alone
        print(f"  error id: {error_id}", file=sys.stderr)
    for name, value in failure.rows:
        print(f"  {name:<{max(len(each) for each, _ in failure.rows)}}  {value}", file=sys.stderr)
    if failure.hint:
        print(textwrap.indent(failure.hint, "  "), file=sys.stderr)
    sys.stderr.flush()
