"""How portable code says how long something took: to whoever was injected, or to nobody."""

from __future__ import annotations

from collections.abc import Callable

Observe = Callable[[float], None]
"""Takes seconds. Quick, and never fails: a histogram's ``observe``."""


def nobody(seconds: float) -> None:
    """Nobody wants to know."""
