"""What the hashes alone cost on this machine: the part of an upload's CPU time that nothing around them can save."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

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
    work(data)
    begin = time.thread_time()
    for _ in range(_TIMES):
        work(data)
    return (time.thread_time() - begin) * GiB / (_SIZE * _TIMES)
