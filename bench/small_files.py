"""One file of 21 MB, and four of them at once: the case whose figures sealane's predecessors published."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable

from bench.cluster import BenchCluster, random_file
from bench.peers import PlainS3, Sealane
from bench.table import Report, Row

SIZE = 21_000_000
_FILES = 4
_STREAMS = 4
PREDECESSORS = (33.4, 42.0)
"""Seconds for one such file and for four at once, as published; on other machines and another store."""


def run(cluster: BenchCluster, *, rounds: int, warm_up: bool = True) -> Report:
    with contextlib.ExitStack() as scope:
        sealane = scope.enter_context(Sealane(cluster))
        plain = PlainS3(cluster)
        paths = []
        for number in range(_FILES):
            folder = cluster.directory / f"file-{number}"
            folder.mkdir()
            paths.append(scope.enter_context(random_file(folder, SIZE)))
        ways: dict[str, Callable[[], object]] = {
            "sealane, one": lambda: sealane.upload(paths[0], streams=_STREAMS),
            "minio, one": lambda: plain.upload(paths[0]),
            "sealane, four at once": lambda: sealane.upload_all(paths, streams=_STREAMS),
            "minio, four at once": lambda: plain.upload_all(paths),
        }
        seconds = _in_turns(ways, rounds, warm_ups=int(warm_up))
        cluster.reclaim()
    rows = [Row.of(way, taken, "s") for way, taken in seconds.items()]
    rows += [Row.of(f"{name}, four : one, throughput", _FILES * one / four, "×") for name, one, four in _pairs(rows)]
    one, four = PREDECESSORS
    rows.append(Row.of("predecessors as published, one", one, "s"))
    rows.append(Row.of("predecessors as published, four at once", four, "s"))
    rows.append(Row.of("predecessors as published, four : one, throughput", _FILES * one / four, "×"))
    return Report(
        "small-files",
        "one file of 21 MB (3 chunks), and four of them at once, from the first call to the committed objects",
        rows,
        (
            f"sealane: {_STREAMS} streams a file; minio: fput_object, 4 parts at once, a thread for each file.",
            "The predecessors' figures (79 % parallel efficiency) come from other machines; they were published for",
            "this case, and are here for its shape.",
        ),
    )


def _in_turns(ways: dict[str, Callable[[], object]], rounds: int, *, warm_ups: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(warm_ups + rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            begin = time.perf_counter()
            ways[name]()
            if number >= warm_ups:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def _pairs(rows: list[Row]) -> list[tuple[str, float, float]]:
    median = {row.what: row.value for row in rows}
    return [(name, median[f"{name}, one"], median[f"{name}, four at once"]) for name in ("sealane", "minio")]
