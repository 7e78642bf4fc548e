"""What refused connections say of a store: it has restarted, or one of several servers behind its address is away.

Nobody listened, so a process of the store's was away, and may be back sooner than two looks would notice: a refusal
closes the gate (:mod:`sealane.store.gate`). Where nothing else bears it out, it was one server of several, whose
refusals may go on for hours, and each proof costs seconds without service.
"""

from __future__ import annotations

import asyncio
import math

DEAF_SECONDS = 600.0
"""After a refusal that no look has confirmed, others count for nothing."""

SPOILT_PROOFS = 2
"""So many proofs in a row count for nothing because connections were refused meanwhile, while looks are answered:
after that it is one of several servers."""


class Refusals:
    """Who waits, what is in doubt, and until when nobody listens. Of one event loop."""

    def __init__(self) -> None:
        self._noted = asyncio.Event()
        self._unconfirmed = False
        self._spoilt = 0
        self._deaf_until = -math.inf

    @property
    def count(self) -> bool:
        """Whether a refusal means anything now."""
        return asyncio.get_running_loop().time() >= self._deaf_until

    @property
    def noted(self) -> bool:
        """Whether there was one since the last :meth:`within` that said so."""
        return self._noted.is_set()

    def note(self) -> None:
        self._noted.set()

    def forget(self) -> None:
        """What was noted is of the past."""
        self._noted.clear()

    def doubted(self) -> None:
        """The gate is closed by this refusal alone."""
        self._unconfirmed = True

    def confirmed(self) -> None:
        """A look found the store away, too: its restarts are restarts."""
        self._unconfirmed, self._spoilt = False, 0

    async def within(self, seconds: float) -> bool:
        """Wait so long, or until one is noted: whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._noted.wait()
        except TimeoutError:
            return False
        self._noted.clear()
        return True

    def spoil(self) -> bool:
        """Whether what a proof has found counts for nothing, for a connection was refused meanwhile."""
        if not self.noted or self._spoilt >= SPOILT_PROOFS:
            return False
        self._spoilt += 1
        return True

    def settled(self) -> bool:
        """A proof stands. Whether what was refused was one server's of several: then they count for nothing now."""
        of_some = self._unconfirmed or self.noted
        if of_some:
            self._deaf_until = asyncio.get_running_loop().time() + DEAF_SECONDS
        self.forget()
        self.confirmed()
        return of_some
