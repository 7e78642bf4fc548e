"""What this replica has done since it started: GetServerInfo and /metrics read the same numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sealane.measure import Observe, nobody


@dataclass(slots=True)
class Statistics:
    """Counts that only grow, in plain numbers; once a chunk or a call, never once a frame."""

    sessions_created: int = 0
    chunks_stored: int = 0
    chunks_duplicate: int = 0
    chunks_mended: int = 0
    chunks_corrupt: int = 0
    """Whose bytes had another digest than was declared."""
    chunks_conflict: int = 0
    """Whose index has other bytes already."""
    chunks_failed: int = 0
    """That came to nothing for any other reason: the store, the session's end, the service's."""
    bytes_received: int = 0
    """Of chunks that arrived whole, whatever became of them."""
    bytes_stored: int = 0
    errors_by_reason: Counter[str] = field(default_factory=Counter)
    """Calls that ended in an error; counted at the one boundary (sealane.rpc)."""
    memory_wait: Observe = nobody
    """How long a chunk's memory took to be free."""
    part_wait: Observe = nobody
    """How long a verified chunk waited to be one of the parts under way."""
    chunk_took: Observe = nobody
    """From a chunk's last byte to its receipt, of chunks that were stored."""
