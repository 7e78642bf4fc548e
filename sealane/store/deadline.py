"""A moment by which a whole operation must have ended (I14), handed down from call to call.

A timeout starts anew at every call and so adds up; a deadline doesn't. It is a moment of the running event loop's
clock, which is virtual in simulation.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """``at`` is in seconds of the running loop's clock, so a deadline means nothing on another loop."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline ``seconds`` from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - asyncio.get_running_loop().time())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.at <= asyncio.get_running_loop().time()

    def cap(self, seconds: float) -> float:
        """A timeout of ``seconds``, or of what is left if that is less."""
        return min(seconds, max(0.0, self.at - asyncio.get_running_loop().time()))

    def child(self, max_seconds: float) -> Deadline:
        """The deadline of a step that may take ``max_seconds``, and never longer than the whole."""
        return min(self, Deadline.after(max_seconds))
