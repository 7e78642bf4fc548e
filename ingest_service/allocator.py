"""Keeps the process's memory near what is in use: tells glibc's malloc not to hoard.

By default malloc keeps an arena for every thread (some forty here), and after the first large block that is freed it
takes ever larger ones from them: measured with four streams, that is 20 to 60 MiB beyond the budget. Large blocks then
come from the kernel and go back to it; chunk buffers are recycled anyway, so the cost is the frames' page faults.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
_LARGE: Final = 256 * 1024


def tame_malloc() -> bool:
    """Call before the first thread starts. False where there is no such allocator: nothing depends on it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS) and mallopt(_M_MMAP_THRESHOLD, _LARGE))
