"""No more bytes a second than the caller allows, over all streams of one upload.

The bucket of tokens is kept as a time (the virtual scheduling form of GCRA, ITU-T I.371 annex A): when the bytes that
were let through so far are paid for. That needs no task that refills it, and turns come in the order of asking.
"""

from __future__ import annotations

import asyncio

BURST_SECONDS = 0.1
"""What was not used for so long may be caught up on; an idle hour gives no flood."""


class RateLimit:
    """At most ``bytes_per_second`` over any longer time, on the running loop's clock. One event loop's alone.

    Within any ``t`` seconds at most ``bytes_per_second * (t + BURST_SECONDS)`` bytes and one more request go through.
    """

    def __init__(self, bytes_per_second: float) -> None:
        if not bytes_per_second > 0:
            raise ValueError(f"a rate is more than 0 bytes a second, not {bytes_per_second}")
        self._seconds_per_byte = 1.0 / bytes_per_second
        self._paid_until: float | None = None

    async def take(self, count: int) -> None:
        """Wait for the turn of ``count`` bytes. A turn whose waiter is cancelled stays unused."""
        now = asyncio.get_running_loop().time()
        turn = now if self._paid_until is None else max(self._paid_until, now - BURST_SECONDS)
        self._paid_until = turn + count * self._seconds_per_byte
        if turn > now:
            await asyncio.sleep(turn - now)
