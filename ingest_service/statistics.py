"""What this replica has done since it started (GetServerInfo)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Counts that only grow."""

    sessions_created: int = 0
    chunks_stored: int = 0
    chunks_duplicate: int = 0
    bytes_stored: int = 0
    errors_by_reason: Counter[str] = field(default_factory=Counter)
    """Calls that ended in an error; counted at the one boundary (sealane.rpc)."""
