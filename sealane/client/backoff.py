"""When to try again: exponential pauses with full jitter, reset by progress, at least what the server asked for.

The clock is the running loop's and the randomness is injected, so that the same code runs in simulated time.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from sealane.client.errors import GaveUp, RetryLater, SealaneError


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """How long to wait between tries, and for how long to go on without progress. All times in seconds."""

    base_seconds: float = 0.1
    """Ceiling of the first pause; it doubles with every further failure."""
    cap_seconds: float = 15.0
    """The ceiling never grows beyond this."""
    patience_seconds: float = 900.0
    """No progress for so long: give up. Longer than a store's bad ten minutes."""

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.cap_seconds:
            raise ValueError(f"0 < base_seconds <= cap_seconds must hold: {self}")
        if self.patience_seconds < 0:
            raise ValueError(f"patience_seconds must not be negative: {self}")

    def ceiling(self, failures: int) -> float:
        """The longest pause after the ``failures``-th failure in a row (from 1), without the server's own wish."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, 62))

    def pause(self, failures: int, error: SealaneError, rng: random.Random) -> float:
        """Seconds to wait: uniform in 0…ceiling (full jitter), on top of the server's RetryInfo if it sent one.

        On top, for callers that were all told the same number must not come back at the same moment.
        """
        wish = error.retry_after if isinstance(error, RetryLater) else 0.0
        return max(0.0, wish) + rng.uniform(0.0, self.ceiling(failures))


class Backoff:
    """The pauses of one loop of tries."""

    def __init__(self, policy: BackoffPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._failures = 0
        self._failing_since = 0.0

    @property
    def failures(self) -> int:
        """Failures in a row since the last progress."""
        return self._failures

    def progress(self) -> None:
        """Something went through: the next failure is a first one again."""
        self._failures = 0

    def next_pause(self, error: SealaneError) -> float:
        """Count a failure and answer how long to wait. Raises GaveUp when that would outlast the patience."""
        now = asyncio.get_running_loop().time()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        pause = self._policy.pause(self._failures, error, self._rng)
        if now + pause > self._failing_since + self._policy.patience_seconds:
            raise GaveUp(error, tries=self._failures, seconds=now - self._failing_since) from error
        return pause

    async def pause(self, error: SealaneError) -> None:
        """Wait as long as :meth:`next_pause` says. Raises GaveUp."""
        await asyncio.sleep(self.next_pause(error))
