"""The level of the log, changed while the process runs: SIGUSR1 for DEBUG, SIGUSR2 back to what the settings say.

Signals: no port to guard, nobody to authenticate, and ``kubectl exec … kill -USR1 1`` works.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator

from sealane.logs import get_logger

_log = get_logger(__name__)


@contextlib.contextmanager
def changed_by_signals(configured: str) -> Iterator[None]:
    """While the block runs, on the running loop. Said in a line at the new level, or above it."""
    loop = asyncio.get_running_loop()

    def change(number: signal.Signals, level: str) -> None:
        logging.getLogger().setLevel(level)
        _log.log(max(logging.INFO, logging.getLevelName(level)), "log_level", to=level, signal=number.name)

    changes = {signal.SIGUSR1: "DEBUG", signal.SIGUSR2: configured}
    for number, level in changes.items():
        loop.add_signal_handler(number, change, number, level)
    try:
        yield
    finally:
        for number in changes:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # a late one must not end what is ending
