"""What every call of a client has: its connections, and how long a small one may take."""

from __future__ import annotations

from sealane.client.connections import Connections
from sealane.domain.ids import Entropy

STREAM_SECONDS = 600.0
"""The deadline of one server stream (watch, receipts)."""


class Calls:
    """The base of the two services' calls."""

    _connections: Connections
    _entropy: Entropy
    _timeout: float
    """Seconds for a call that is told no time-out."""

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout
