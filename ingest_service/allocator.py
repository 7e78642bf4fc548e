"""Keeps the process's memory near what is in use: tells glibc's malloc not to hoard, and not to give back too eagerly.

By default malloc keeps an arena for every thread (some forty here), and after the first large block that is freed it
takes ever larger ones from them: measured with four streams, that is 20 to 60 MiB beyond the budget. Chunk buffers
therefore come from the kernel and go back to it; they are recycled anyway. Frames do not: each is 1 MiB, in three
copies on its way through gRPC, and would cost 768 page faults, a quarter of all that receiving it costs. They stay in
an arena, which keeps a few of them at hand.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_SETTINGS: Final = {
    _M_ARENA_MAX: 2,
    _M_MMAP_THRESHOLD: 4 << 20,
    # Free memory at the end of an arena that is kept; to set one threshold ends the guessing of both.
    _M_TRIM_THRESHOLD: 16 << 20,
}


def tame_malloc() -> bool:
    """Call before the first thread starts. False where there is no such allocator: nothing depends on it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return all(mallopt(option, value) for option, value in _SETTINGS.items())
