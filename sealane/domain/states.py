"""Where a session can stand."""

from __future__ import annotations

from enum import StrEnum


class SessionState(StrEnum):
    """Where a session stands; derived from the records, never stored (protocol.md section 3)."""

    OPEN = "OPEN"
    COMMITTING = "COMMITTING"
    COMMITTED = "COMMITTED"
    DUPLICATE = "DUPLICATE"
    ABORTED = "ABORTED"
    EXPIRED = "EXPIRED"
    LOST = "LOST"
    DELETED = "DELETED"

    @property
    def final(self) -> bool:
        """True if no chunk and no commit can change it any more."""
        return self not in (SessionState.OPEN, SessionState.COMMITTING)
