"""What the hashes alone cost on this machine: the part of an upload's CPU time that nothing around them can save.

On all cores at once, as during an upload: virtual cores often share one, and are slower when both are busy.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from blake3 import blake3

from sealane.domain.limits import GiB, MiB

_SIZE = 8 * MiB
_TIMES = 16


def sha256_seconds() -> float:
    """CPU seconds for each GiB: payload signature and checksum of every part."""
    return _seconds(lambda data: hashlib.sha256(data).digest())


def blake3_seconds() -> float:
    """CPU seconds for each GiB: digest of every chunk."""
    return _seconds(lambda data: blake3(data).digest())


def _seconds(work: Callable[[bytes], object]) -> float:
    data = os.urandom(_SIZE)

    def repeat() -> float:
        work(data)
        begin = time.thread_time()
        for _ in range(_TIMES):
            work(data)
        return time.thread_time() - begin

    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        seconds = [each.result() for each in [pool.submit(repeat) for _ in range(cores)]]
    return median(seconds) * GiB / (_SIZE * _TIMES)
