"""What the hashes alone cost on this machine: the part of an upload's CPU time that nothing around them can save.

Two of them on all cores at once, as during an upload: virtual cores often share one, and are slower when both are busy.
And, as a report, each way that ingest may hash in, one thread, in turns.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from blake3 import blake3

from bench.table import Report, Row
from sealane.domain.limits import GiB, MiB

_SIZE = 8 * MiB
_TIMES = 16


def report(*, rounds: int) -> Report:
    """Ingest's hashes, and SHA-256 of as many chunks together as each way takes."""
    # Loads numba, as ingest does: not with the module.
    from sealane.domain import blake3_kernel, sha256_extensions, sha256_kernel

    blake3_kernel.compile_kernel()
    sha256_kernel.compile_kernel()
    buffers = [os.urandom(_SIZE) for _ in range(sha256_kernel.LANES)]
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "SHA-256, hashlib": (1, lambda: hashlib.sha256(buffers[0]).digest())
    }
    if sha256_extensions.available():
        sha256_extensions.compile_kernel()
        for count in range(2, sha256_extensions.LANES + 1):
            some = buffers[:count]
            name = f"SHA-256, {count} buffers in step, by SHA extensions"
            ways[name] = (count, lambda some=some: sha256_extensions.sha256_of_each(some))  # type: ignore[misc]
    for count in (1, 2, 4, 8):
        some = buffers[:count]
        name = f"SHA-256, {count} buffer{'s' * (count > 1)} side by side"
        ways[name] = (count, lambda some=some: sha256_kernel.sha256_of_each(some))  # type: ignore[misc]
    ways["BLAKE3, digest alone, by the library"] = (1, lambda: blake3(buffers[0]).digest())
    ways["BLAKE3, digest and chaining value"] = (1, lambda: blake3_kernel.digest_and_cv(buffers[0], 1, _SIZE))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first is the warm-up
        for name, (count, work) in ways.items():
            begin = time.thread_time()
            work()
            if number:
                seconds[name].append((time.thread_time() - begin) * GiB / (count * _SIZE))
    fewest = sha256_kernel.fewest_worthwhile()
    used = f"ingest uses it here, from {fewest} chunks on" if fewest else "ingest does not use it on this processor"
    if sha256_extensions.available():
        used += ", but what is in step"
    return Report(
        "hashing",
        "what each hash costs in one thread, for chunks of 8 MiB",
        [Row.of(name, taken, "CPU s/GiB") for name, taken in seconds.items()],
        (f"Side by side: sealane's own kernel of {sha256_kernel.LANES} lanes; {used}.",),
    )


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
