"""Who holds a key, as people read it: `sealane key`, and the conflict that `sealane put --key` may meet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sealane.cli import text
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.client import KeyState
    from sealane.domain.views import KeyHolder

_STATES = {
    SessionState.COMMITTED: "",
    SessionState.COMMITTING: "COMMITTING: the decision stands, any replica finishes it",
    SessionState.DELETED: "DELETED: its removal is decided, any replica finishes it; `sealane rm` does it now",
    SessionState.OPEN: "OPEN: it has claimed the key, and its commit is being decided",
}


def holder_rows(holder: KeyHolder) -> list[tuple[str, str]]:
    """Names and values; what a foreign object does not have is left out."""
    rows = [("size", text.exact_size(holder.size))]
    if holder.foreign:
        return [
            ("holder", "an object that sealane did not write"),
            *rows,
            ("modified", text.moment(holder.commit_time)),
        ]
    rows = [
        ("generation", str(holder.generation)),
        ("session", holder.session_id),
        ("state", _STATES.get(holder.state, holder.state.value)),
        *rows,
        ("blake3", holder.blake3.hex()),
        ("committed", text.moment(holder.commit_time)),
    ]
    return [(name, value) for name, value in rows if value]


def vacancy(cooling_until: datetime | None, now: datetime) -> str:
    """What a key without a holder says."""
    if cooling_until is None or cooling_until <= now:
        return "vacant: no object is there"
    return f"vacant, and resting until {text.moment(cooling_until)} ({text.distance(cooling_until, now)})"


def after_removal(state: KeyState, now: datetime) -> str:
    """What a key has whose holder was just removed."""
    key, holder = text.printable(state.object_key), state.holder
    if holder is None:
        return f"{key}: {vacancy(state.cooling_until, now)}"
    if holder.foreign:
        return f"{key}: an object that sealane did not write is there, and stays"
    return f"{key}: generation {holder.generation}, of session {holder.session_id}, is there now, and stays"
