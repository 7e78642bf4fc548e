"""What a crash and a drain of ingest in mid-upload cost: the bytes that the client has to send twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.cluster import BenchCluster, random_file
from bench.peers import CHUNK, Sealane
from bench.table import Report, Row, at_most
from ingest_service.settings import IngestSettings
from sealane.client import Progress

PARTS_IN_FLIGHT: int = IngestSettings.model_fields["parts_in_flight"].default
AFTER_KILL = at_most(PARTS_IN_FLIGHT + 1)
AFTER_DRAIN = at_most(1)
_DRAIN_SECONDS = 60.0
_START_SECONDS = 180.0
_STRIKE_AT, _IN_FLIGHT = 0.4, 1
"""Of the file, and chunks of each stream that no acknowledgement has come for: a stream brings one every 16 chunks."""


def run(cluster: BenchCluster, *, size: int, rounds: int, streams: Sequence[int]) -> Report:
    rows: list[Row] = []
    with random_file(cluster.directory, size) as path:
        for count in streams:
            plural = f"{count} stream{'s' * (count > 1)}"
            killed = [_killed(cluster, path, count) for _ in range(rounds)]
            rows.append(Row.worst(f"SIGKILL and restart, {plural}", killed, "chunks/stream", AFTER_KILL))
            drained = [_drained(cluster, path, count) for _ in range(rounds)]
            rows.append(Row.worst(f"SIGTERM with a second ingest, {plural}", drained, "chunks/stream", AFTER_DRAIN))
            cluster.reclaim()
    return Report(
        "kill",
        f"bytes sent twice, in chunks of each stream, when ingest ends in the middle of {size >> 20:,} MiB",
        rows,
        (
            "Counted by the client: bytes of chunks written to the wire less the object's size. The worst counts.",
            f"Up to {PARTS_IN_FLIGHT} parts of a stream are on their way to the store while the next chunk arrives;",
            "a crash loses those that have no receipt yet. A drain finishes what has begun.",
        ),
    )


def _killed(cluster: BenchCluster, path: Path, streams: int) -> float:
    """SIGKILL of the one ingest that the client knows, and its restart on the same address."""
    service = cluster.ingest[0]
    with Sealane(cluster) as sealane:
        return _sent_twice(sealane, path, streams, service.kill, partial(service.start, timeout=_START_SECONDS))


def _drained(cluster: BenchCluster, path: Path, streams: int) -> float:
    """SIGTERM of one of the two ingest that the client spreads its streams over; it comes back for the next round."""
    service = cluster.ingest[1]
    if not service.running:
        service.start(timeout=_START_SECONDS)
    with Sealane(cluster, ingest=cluster.both_ingest) as sealane:
        sent = _sent_twice(sealane, path, streams, service.terminate)
    service.wait(_DRAIN_SECONDS)
    return sent


def _sent_twice(
    sealane: Sealane,
    path: Path,
    streams: int,
    strike: Callable[[], object],
    mend: Callable[[], object] = lambda: None,
) -> float:
    """Chunks sent twice for each stream. ``strike`` is called in the middle of the streams, not when one has just been
    acknowledged, and at once, so that it hits the upload where it is; ``mend`` follows in a thread of its own."""
    size = path.stat().st_size
    mending: list[Future[object]] = []
    with ThreadPoolExecutor(1) as pool:

        def watch(now: Progress) -> None:
            sent = now.bytes_stored + now.bytes_in_flight
            if not mending and sent >= _STRIKE_AT * size and now.bytes_in_flight >= _IN_FLIGHT * CHUNK * streams:
                strike()
                mending.append(pool.submit(mend))

        result = sealane.upload(path, streams=streams, on_progress=watch)
    if not mending:
        raise AssertionError("the upload ended before it was disturbed")
    mending[0].result()
    return result.bytes_sent_again / CHUNK / streams
