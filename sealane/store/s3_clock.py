"""The store's clock as its answers reveal it (I15; protocol.md section 6: requests are signed with its time)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=64)  # a store's answers have the same few: those of this second
def http_date(value: str | None) -> datetime | None:
    """An HTTP date (``Date``, ``Last-Modified``) in UTC, or None for what isn't one of this or the next century."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    if not 2000 <= moment.year < 2200:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class StoreClock:
    """Local wall clock plus a learnt offset. Thread-safe.

    A ``Date`` header of whole second d, in the answer to a request sent at local time s and received at r, says that
    the offset is in d - r … d + 1 - s. The offset stays while it is in that interval, so it doesn't tremble with
    rounding and latency; when it isn't, the clocks have parted and it moves to the interval's middle.
    """

    def __init__(self, local: Callable[[], float]) -> None:
        """``local`` answers seconds since the epoch, as the local clock believes."""
        self._local = local
        self._lock = threading.Lock()
        self._offset = 0.0

    def local(self) -> float:
        """The local clock, for :meth:`learn`."""
        return self._local()

    @property
    def offset(self) -> float:
        """Seconds by which the store is ahead of the local clock."""
        return self._offset

    def now(self) -> datetime:
        """The store's time, UTC, to about a second; the local clock's before the first answer."""
        return datetime.fromtimestamp(self._local() + self._offset, UTC)

    def learn(self, date: str | None, *, sent: float, received: float) -> float:
        """Take an answer's ``Date`` into account; answer the seconds by which the offset has moved (mostly 0)."""
        second = http_date(date)
        if second is None:
            return 0.0  # a proxy's garbage is no news of the store's clock
        stamp = second.timestamp()
        # The local clock may itself have been set between the two readings.
        low, high = stamp - max(sent, received), stamp + 1.0 - min(sent, received)
        with self._lock:
            before = self._offset
            if not low <= before <= high:
                self._offset = (low + high) / 2
            return self._offset - before
