"""When to try again: pauses with full jitter, a shared budget, and the loop that keeps both.

Pauses grow exponentially with full jitter, take a token from a budget that all calls of a store share, and never
outlast the deadline: when the next try can't start in time, the last error is raised (I14).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sealane.store.deadline import Deadline
from sealane.store.port import ClockSkewed, OutcomeUnknown, StoreError, Throttled, WriteConflict

T = TypeVar("T")

RetryOn = tuple[type[StoreError], ...]

ON_UNKNOWN: RetryOn = (OutcomeUnknown, WriteConflict)
"""For calls that are harmless twice: reads, deletes, and writes of the same bytes to the same place."""
ON_CONFLICT: RetryOn = (WriteConflict,)
"""For conditional writes: a conflict was refused, so nothing happened; an unknown outcome is the caller's to read."""
ON_NOTHING: RetryOn = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for an answer, and between tries. All times in seconds."""

    attempt_seconds: float = 30.0
    """The longest one try may take; the deadline caps it further."""
    part_seconds: float = 120.0
    """The same for UploadPart and CompleteMultipartUpload, which carry or join many bytes."""
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    throttled_base_seconds: float = 1.0
    throttled_cap_seconds: float = 20.0
    max_attempts: int = 100
    """Tries of one call; the deadline usually ends them sooner."""

    def pause(self, failures: int, error: StoreError, rng: random.Random) -> float:
        """Seconds to wait after the ``failures``-th failure (from 1).

        Full jitter: uniform in 0 … base × 2^(failures-1), capped, so that callers which failed together don't come
        back together. A throttled one waits at least half of its larger ceiling: a store that asks for less load
        must get less.
        """
        doublings = min(failures - 1, 32)
        if isinstance(error, Throttled):
            ceiling = min(self.throttled_cap_seconds, self.throttled_base_seconds * 2.0**doublings)
            return rng.uniform(ceiling / 2, ceiling)
        return rng.uniform(0.0, min(self.cap_seconds, self.base_seconds * 2.0**doublings))


class RetryBudget:
    """Retries that all calls of one store share: ``burst`` at once, ``per_second`` in the long run.

    A store in trouble sees at most that much extra load, however many calls fail. A retry that finds the budget
    empty waits for its token, in order of asking.
    """

    def __init__(self, per_second: float = 50.0, burst: int = 100) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"a retry budget needs a rate above 0 and a burst of 1 or more: {per_second=}, {burst=}")
        self._per_second = per_second
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at: float | None = None

    def wait(self) -> float:
        """Seconds until the next retry's token is there (0: now), which stays the next one's until :meth:`take`."""
        now = asyncio.get_running_loop().time()
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def take(self) -> None:
        """Take the token, now or ahead of its time: later retries then wait longer."""
        self._tokens -= 1.0


async def retrying(
    call: Callable[[float], Awaitable[T]],
    *,
    policy: RetryPolicy,
    deadline: Deadline,
    rng: random.Random,
    retry_on: RetryOn = ON_UNKNOWN,
    budget: RetryBudget | None = None,
    attempt_seconds: float | None = None,
) -> T:
    """Await ``call(timeout)`` until it answers, it fails with another error than ``retry_on``, or time is up.

    ``timeout`` is ``attempt_seconds`` (default: the policy's), capped by what is left of ``deadline``. ClockSkewed is
    repeated once at once, whatever ``retry_on`` says: the store refused the call, and the adapter has learnt its time.
    Raises the last error; OutcomeUnknown if the deadline has passed before the first try.
    """
    per_attempt = policy.attempt_seconds if attempt_seconds is None else attempt_seconds
    failures = 0
    skew_seen = False
    if deadline.expired:
        raise OutcomeUnknown("the deadline passed before the call was sent")
    while True:
        try:
            return await call(deadline.cap(per_attempt))
        except ClockSkewed:
            if skew_seen or deadline.expired:
                raise
            skew_seen = True
            continue
        except retry_on as error:
            failures += 1
            if failures >= policy.max_attempts:
                raise
            pause = policy.pause(failures, error, rng)
            if budget is not None:
                pause = max(pause, budget.wait())
            if pause >= deadline.remaining():
                raise
            if budget is not None:
                budget.take()
        await asyncio.sleep(pause)
