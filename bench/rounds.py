"""The same file, again and again, through sealane and straight to the store, in turns: what three reports are read
from (throughput, cpu, commit)."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import processes
from bench.cluster import BenchCluster, random_file
from bench.peers import CheckedS3, PlainS3, Sealane
from sealane.domain.limits import MiB

STREAMS = (1, 4)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is read before and after whatever is measured."""

    at: float
    ingest_cpu: float
    store_cpu: float
    client_cpu: float
    assembly_wire: int
    store_io: int

    @classmethod
    def now(cls, cluster: BenchCluster) -> Moment:
        return cls(
            at=time.perf_counter(),
            ingest_cpu=processes.cpu_seconds(cluster.ingest[0].pid),
            store_cpu=processes.cpu_seconds(cluster.store_pid),
            client_cpu=time.process_time(),
            assembly_wire=cluster.assembly_wire.bytes,
            store_io=processes.io_bytes(cluster.store_pid),
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload: seconds, CPU seconds of three processes, and of its commit seconds and bytes."""

    seconds: float
    ingest_cpu: float
    store_cpu: float
    client_cpu: float
    commit_seconds: float = 0.0
    commit_wire_bytes: int = 0
    commit_store_io: int = 0

    @classmethod
    def between(cls, begin: Moment, end: Moment, commit: Moment | None = None) -> Upload:
        commit = commit or end
        return cls(
            seconds=end.at - begin.at,
            ingest_cpu=end.ingest_cpu - begin.ingest_cpu,
            store_cpu=end.store_cpu - begin.store_cpu,
            client_cpu=end.client_cpu - begin.client_cpu,
            commit_seconds=end.at - commit.at,
            commit_wire_bytes=end.assembly_wire - commit.assembly_wire,
            commit_store_io=end.store_io - commit.store_io,
        )


@dataclass(slots=True)
class Rounds:
    """``size`` is the file's, in bytes; ``sealane`` has the uploads by number of streams."""

    size: int
    sealane: dict[int, list[Upload]] = field(default_factory=lambda: {streams: [] for streams in STREAMS})
    plain: list[Upload] = field(default_factory=list)
    checked: list[Upload] = field(default_factory=list)
    ingest_peak_rss: int = 0
    disk_peak: int = 0

    @property
    def commits(self) -> list[Upload]:
        return [upload for uploads in self.sealane.values() for upload in uploads]


def measure(cluster: BenchCluster, *, size: int, rounds: int, warm_up: bool = True) -> Rounds:
    """Upload ``size`` bytes ``rounds`` times in each way, after a warm-up of each."""
    result = Rounds(size)
    with Sealane(cluster) as sealane, random_file(cluster.directory, size) as path:
        plain, checked = PlainS3(cluster), CheckedS3(cluster)

        def by_sealane(streams: int) -> Upload:
            moments: list[Moment] = []
            begin = _quiet(cluster)
            sealane.upload(path, streams=streams, at_commit=lambda: moments.append(Moment.now(cluster)))
            end = Moment.now(cluster)
            return Upload.between(begin, end, moments[-1])

        def by_peer(upload: Callable[[Path], None]) -> Upload:
            begin = _quiet(cluster)
            upload(path)
            return Upload.between(begin, Moment.now(cluster))

        if warm_up:
            with random_file(cluster.directory, min(size, 64 * MiB) - 1) as small:
                for streams in STREAMS:
                    sealane.upload(small, streams=streams)
                plain.upload(small)
                checked.upload(small)
        ways: list[tuple[list[Upload], Callable[[], Upload]]] = [
            (result.sealane[1], lambda: by_sealane(1)),
            (result.plain, lambda: by_peer(plain.upload)),
            (result.sealane[4], lambda: by_sealane(4)),
            (result.checked, lambda: by_peer(checked.upload)),
        ]
        for number in range(rounds):
            shift = number % len(ways)
            for uploads, upload in ways[shift:] + ways[:shift]:
                uploads.append(upload())
                result.disk_peak = max(result.disk_peak, cluster.store_bytes())
            cluster.reclaim()
    result.ingest_peak_rss = processes.peak_rss(cluster.ingest[0].pid)
    return result


def _quiet(cluster: BenchCluster) -> Moment:
    """Now, once what earlier uploads left to write is written and this process has no garbage."""
    os.sync()
    gc.collect()
    return Moment.now(cluster)
