"""A session as people read it: `sealane status`, and the last word of `sealane watch`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealane.cli import text
from sealane.cli.output import Output
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.client.results import Session
    from sealane.domain.coverage import Coverage
    from sealane.domain.views import CommittedObject

_MEANINGS = {
    SessionState.OPEN: "chunks are welcome",
    SessionState.COMMITTING: "the decision to commit is durable; any replica finishes it",
    SessionState.COMMITTED: "the object is there, whole",
    SessionState.DUPLICATE: "the key already held these bytes",
    SessionState.ABORTED: "given up by request",
    SessionState.EXPIRED: "older than its ttl",
    SessionState.LOST: "the store lost bytes: upload again",
    SessionState.DELETED: "removed by request",
}


def show(output: Output, session: Session) -> None:
    """The whole page."""
    now = datetime.now(UTC)
    state = f"{session.state.value}: {_MEANINGS[session.state]}"
    if session.outcome_unavailable:
        state += " (assembly does not answer: this is what ingest itself can see)"
    size = "not declared" if session.size is None else text.exact_size(session.size)
    output.rows(
        [
            ("session", session.session_id),
            ("state", state),
            ("file", session.filename),
            ("size", f"{size}, in chunks of {text.size(session.chunk_size)}"),
            ("type", session.content_type),
            ("metadata", ", ".join(f"{name}={value}" for name, value in session.metadata.items())),
            ("created", f"{text.moment(session.create_time)}, {text.distance(session.create_time, now)}"),
            ("expires", _expiry(session, now)),
            ("will be", _chosen(session)),
        ]
    )
    if session.coverage is not None:
        output.line()
        _show_coverage(output, session, session.coverage)
    if session.committed_object is not None:
        output.line()
        show_object(output, session.committed_object)


def show_object(output: Output, committed: CommittedObject, *before: tuple[str, str]) -> None:
    """A committed object: where it is, and what it is; behind the rows ``before``."""
    output.rows(
        [
            *before,
            ("key", committed.key),
            ("generation", str(committed.generation or "")),
            ("bucket", committed.bucket),
            ("size", text.exact_size(committed.size)),
            ("blake3", committed.blake3.hex()),
            ("etag", committed.etag),
            ("committed", text.moment(committed.commit_time)),
            ("duplicate", "yes: the key held these very bytes already" if committed.duplicate else ""),
        ]
    )


def coverage_line(output: Output, session: Session) -> str:
    """Bar, share and counts in one line; "" without coverage."""
    found = session.coverage
    if found is None:
        return ""
    count = _count(session, found)
    share = 100 * found.stored_chunks // count if count else 100
    # While the size is unknown there is no end: only what came is known.
    of = f"{found.stored_chunks} of {count}" if session.chunk_count is not None else f"{found.stored_chunks} so far"
    percent = f" {share:>3}%" if session.chunk_count is not None else ""
    return f"{output.bar(count, found.missing)}{percent}  {of} chunks, {text.size(found.stored_bytes)}"


def _count(session: Session, found: Coverage) -> int:
    if session.chunk_count is not None:
        return session.chunk_count
    return found.stored_chunks + sum(gap.count for gap in found.missing)


def _expiry(session: Session, now: datetime) -> str:
    if session.state is not SessionState.OPEN:
        return ""
    return f"{text.moment(session.expire_time)}, {text.distance(session.expire_time, now)}"


def _chosen(session: Session) -> str:
    """What the commit makes of the key that was chosen; "" without one, and once it is there."""
    if not session.chosen_key or session.committed_object is not None:
        return ""
    if session.overwrite:
        return f"{session.chosen_key}, whatever is there"
    if session.if_generation_match:
        return f"{session.chosen_key}, in place of generation {session.if_generation_match}"
    return f"{session.chosen_key}, if nothing is there"


def _show_coverage(output: Output, session: Session, found: Coverage) -> None:
    output.line(coverage_line(output, session))
    missing = text.ranges(found.missing)
    if session.missing_truncated and not missing.endswith("…"):
        missing += ", …"
    rows = [
        ("missing", missing),
        ("conflicting", ", ".join(str(index) for index in found.conflicting)),
    ]
    if found.prefix.chunks and session.committed_object is None:  # a committed one's digest is the object's
        name = shlex.quote(session.filename)
        rows += [
            ("prefix", f"{text.exact_size(found.prefix.size)} in {found.prefix.chunks} chunks"),
            ("blake3", found.prefix.blake3.hex()),
            ("check", f"head -c {found.prefix.size} {name} | b3sum"),
        ]
    output.rows(rows)
    if found.conflicting:
        output.note("These chunks were sent with different bytes; the session can't be committed.")
