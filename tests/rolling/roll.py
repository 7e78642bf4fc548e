"""SIGTERM, exit, start, ready: one replica after the other, as a Deployment's rollout does, while uploads go on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealane.client import BrokenStream, Client
from sealane.dev.cluster import Cluster
from sealane.dev.host import Host
from sealane.dev.service import Service
from sealane.domain.limits import Limits
from tests.rolling.envoy import Envoy
from tests.rolling.hosts import Hosts
from tests.rolling.load import Load

CHUNK = Limits().default_chunk_bytes
GRACE_SECONDS = 40.0
"""As in deploy/kubernetes: a drain that takes longer is cut off."""
READY_SECONDS = 300.0
MOST_SENT_TWICE = 1
"""Chunks of one stream that a drain may cost: the one that was on its way."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Of one replica."""

    name: str
    exit_code: int | None
    """None: it had to be killed."""
    drain_seconds: float
    away_seconds: float
    """From SIGTERM until Envoy saw it as ready again."""
    streams_met: int = 0
    """Upload streams that it had just before SIGTERM."""


@dataclass
class Report:
    """What was seen. ``violations`` is empty if nothing was that must not be."""

    load: Load
    restarts: list[Restart] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sent_again(self) -> float:
        """Chunks sent twice, for each stream of a client and each restart of an ingest."""
        ingest = max(1, sum(restart.name.startswith("ingest") for restart in self.restarts))
        return (
            sum(result.bytes_sent_again for result in self.load.uploads)
            / CHUNK
            / (ingest * self.load.lanes * self.load.streams)
        )

    @property
    def sent_twice(self) -> dict[int, int]:
        """How many streams broke off with 0, 1, 2, … chunks sent, whole or in part, that went again on another one."""
        return _distribution(self._broken)

    @property
    def _broken(self) -> list[BrokenStream]:
        return [stream for result in self.load.uploads for stream in result.broken_streams]

    @property
    def violations(self) -> list[str]:
        found = list(self.load.failures)
        found += [f"{r.name} ended with {r.exit_code}" for r in self.restarts if r.exit_code != 0]
        if (most := max(self.sent_twice)) > MOST_SENT_TWICE:
            found.append(f"{most} chunks of one stream were sent twice")
        if self.sent_again > MOST_SENT_TWICE:
            found.append(f"{self.sent_again:.2f} chunks a stream and restart were sent twice")
        if not self.load.uploads:
            found.append("nothing was uploaded")
        return found

    def document(self) -> dict[str, Any]:
        sizes = sum(result.size for result in self.load.uploads)
        return {
            "uploads": len(self.load.uploads),
            "failed": len(self.load.failures),
            "mebibytes": round(sizes / (1 << 20)),
            "seconds": round(self.seconds, 1),
            "restarts": len(self.restarts),
            "retries": sum(result.retries for result in self.load.uploads),
            "streams_met_by_drains": sum(restart.streams_met for restart in self.restarts),
            "streams": sum(result.streams for result in self.load.uploads),
            "streams_cut": len(self._broken),
            "streams_cut_by_chunks_sent_twice": self.sent_twice,
            "by_reason": {
                reason: _distribution([stream for stream in self._broken if stream.reason == reason])
                for reason in sorted({stream.reason for stream in self._broken})
            },
            "chunks_sent_twice_per_stream_and_restart": round(self.sent_again, 3),
            "longest_drain_seconds": round(max((r.drain_seconds for r in self.restarts), default=0.0), 2),
            "longest_away_seconds": round(max((r.away_seconds for r in self.restarts), default=0.0), 2),
            "violations": self.violations,
        }


def _distribution(streams: Sequence[BrokenStream]) -> dict[int, int]:
    counts = Counter(stream.chunks_sent_again for stream in streams)
    return {chunks: counts[chunks] for chunks in range(max(counts, default=0) + 1)}


async def roll(
    cluster: Cluster, directory: Path, *, rounds: int, lanes: int, streams: int, size: int, hosts: Hosts | None = None
) -> Report:
    """Restart every replica of both services ``rounds`` times under load through Envoy, and its host with it."""
    loop = asyncio.get_running_loop()
    with Envoy(cluster, directory, host=Host() if hosts is None else hosts.of("envoy")) as envoy:
        load = Load(envoy.address, envoy.address, lanes=lanes, streams=streams, size=size)
        report = Report(load)
        begun = loop.time()
        loading = asyncio.create_task(load.run())
        try:
            for _ in range(rounds):
                for service in cluster.services:
                    met = await _await_moment(load, loading, service, envoy)
                    report.restarts.append(await asyncio.to_thread(_restart, envoy, service, hosts, met))
        except BaseException:  # Ctrl-C among them: nobody waits for the uploads then
            loading.cancel()
            await asyncio.wait([loading])
            raise
        load.stop()
        await loading
        report.seconds = loop.time() - begun
    return report


async def _await_moment(load: Load, loading: asyncio.Task[None], service: Service, envoy: Envoy) -> int:
    """Wait until the restart will meet what it is to meet: an ingest has streams in full swing, and an assembly has had
    a commit since the last one. How many streams the replica has."""
    ended = load.ended
    async with Client(service.address, envoy.address) as client:
        while not loading.done():
            if service.kind == "assembly":
                if load.ended > ended:
                    return 0
            elif load.in_full_swing and (met := (await client.get_server_info()).statistics.open_streams):
                return met
            await asyncio.sleep(0.02)
    await loading  # by itself it ends only when it fails
    raise AssertionError("unreachable: only stop() ends it otherwise")


def _restart(envoy: Envoy, service: Service, hosts: Hosts | None, met: int) -> Restart:
    begun = time.monotonic()
    service.terminate()
    try:
        code: int | None = service.wait(GRACE_SECONDS)
    except TimeoutError:
        code = None
        service.kill()
    drained = time.monotonic()
    if hosts is not None:
        hosts.off(service.name)
        _until(f"Envoy never missed {service.name}", lambda: not envoy.ready(service.kind))
        hosts.on(service.name)
    service.start(timeout=READY_SECONDS)
    _until(f"Envoy never saw {service.name} again", lambda: envoy.ready(service.kind))
    return Restart(service.name, code, drained - begun, time.monotonic() - begun, met)


def _until(otherwise: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(otherwise)
        time.sleep(0.1)
