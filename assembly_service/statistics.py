"""What this replica has done since it started, in plain numbers, for /metrics to read; and how long commits took."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sealane import spans


class Phase(StrEnum):
    """A part of a commit (protocol.md section 5)."""

    READ = "read"
    """C1: the session's records."""
    CHECK = "check"
    """C2–C4: ingest's receipts, coverage, digest; the multipart upload."""
    CLAIM = "claim"
    """Section 8: the next generation of a chosen key."""
    DECIDE = "decide"
    """C5: decision.json, and session.json behind it."""
    FINISH = "finish"
    """C6 and C7: CompleteMultipartUpload, HEAD, done.json."""


class Ending(StrEnum):
    """What became of a session, when this replica brought it about."""

    COMMITTED = "committed"
    DUPLICATE = "duplicate"
    ABORTED = "aborted"
    EXPIRED = "expired"
    LOST = "lost"
    DELETED = "deleted"


class Listed(StrEnum):
    """Where a session stands as far as a LIST of its records shows."""

    OPEN = "open"
    """No decision."""
    DECIDED = "decided"
    """A decision, whichever, and no end of it yet."""
    DONE = "done"
    DELETING = "deleting"
    OWNERLESS = "ownerless"
    """Records without a session.json: W6 removes them."""


def _nobody(phase: str, seconds: float) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Statistics:
    """Counts that only grow, but for the last three fields."""

    errors_by_reason: Counter[str] = field(default_factory=Counter)
    """Calls that ended in an error; counted at the one boundary (sealane.rpc)."""
    ended: Counter[str] = field(default_factory=Counter)
    """Sessions by :class:`Ending`. Two replicas at one session may each count it."""
    passes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the sweeper, by (frequent | full, complete | cut_short)."""
    swept: Counter[str] = field(default_factory=Counter)
    """What the sweeper did: expired, rolled_forward, purged; and failed, which the next pass tries again."""
    orphans_found: Counter[str] = field(default_factory=Counter)
    """upload: of no session; scratch: of a probe that was killed."""
    orphans_removed: Counter[str] = field(default_factory=Counter)
    orphan_bytes_removed: int = 0
    phase_took: Callable[[str, float], None] = _nobody
    orphan_bytes: int = 0
    """Of orphaned uploads that the last full pass has found, and nobody has removed."""
    listed: dict[str, int] = field(default_factory=dict)
    """Sessions by :class:`Listed`, as the last complete pass saw them."""
    last_pass: dict[str, datetime] = field(default_factory=dict)
    """By frequent | full: when the last complete one ended, by the store's clock."""

    def listing_ended(self, seen: Mapping[Listed, int], *, full: bool) -> None:
        """A pass has seen every session; a full one looks for orphans next, and finds again what is still there."""
        self.listed = {each.value: seen.get(each, 0) for each in Listed}
        if full:
            self.orphan_bytes = 0

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """The block is this part of a commit; it is told however it ends."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with spans.span(f"commit.{phase}"):
            try:
                yield
            finally:
                self.phase_took(phase, loop.time() - begun)
