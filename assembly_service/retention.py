"""How long things are kept; by the store's clock alone (protocol.md section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """No safety rests on any of these: they say how long an answer can still be had, and when garbage goes."""

    grace: timedelta = timedelta(minutes=15)
    """Beyond a session's ttl, before it is expired (W1), or before an overwritten part is given up (section 6)."""
    outcome: timedelta = timedelta(hours=24)
    """How long it can be asked that a session was aborted, has expired, or was lost (W2)."""
    receipts: timedelta = timedelta(hours=24)
    """How long a committed session keeps its receipts (W7)."""
    requests: timedelta = timedelta(days=30)
    """How long a request_id is remembered, from its first use."""
    probe: timedelta = timedelta(hours=1)
    """How long what a probe wrote is left alone: longer than any probe takes."""
