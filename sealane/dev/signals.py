"""The first SIGINT or SIGTERM asks for a clean stop; the second ends the process at once.

After tusd's rule. The children need no word of the second: the kernel ends them with their parent
(:mod:`sealane.dev.process`).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """The first signal came. Not an Exception: nothing between here and the scopes' ends may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextlib.contextmanager
def stop_on_signal() -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread at the first signal, whatever runs there. Main thread only."""
    came = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal came
        if came:
            os._exit(128 + number)
        came = True
        raise Stopped(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
