"""SIGTERM, exit, start, ready: one replica after the other, as a Deployment's rollout does, while uploads go on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealane.dev.cluster import Cluster
from sealane.dev.service import Service
from sealane.domain.limits import Limits
from tests.rolling.envoy import Envoy
from tests.rolling.load import Load

CHUNK = Limits().default_chunk_bytes
GRACE_SECONDS = 40.0
"""As in deploy/kubernetes: a drain that takes longer is cut off."""
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Of one replica."""

    name: str
    exit_code: int | None
    """None: it had to be killed."""
    drain_seconds: float
    away_seconds: float
    """From SIGTERM until Envoy saw it as ready again."""


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
    def violations(self) -> list[str]:
        found = list(self.load.failures)
        found += [f"{r.name} ended with {r.exit_code}" for r in self.restarts if r.exit_code != 0]
        if self.sent_again > 1:
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
            "chunks_sent_twice_per_stream_and_restart": round(self.sent_again, 3),
            "longest_drain_seconds": round(max((r.drain_seconds for r in self.restarts), default=0.0), 2),
            "longest_away_seconds": round(max((r.away_seconds for r in self.restarts), default=0.0), 2),
            "violations": self.violations,
        }


async def roll(cluster: Cluster, directory: Path, *, rounds: int, lanes: int, streams: int, size: int) -> Report:
    """Restart every replica of both services ``rounds`` times under load through Envoy."""
    loop = asyncio.get_running_loop()
    with Envoy(cluster, directory) as envoy:
        load = Load(envoy.address, envoy.address, lanes=lanes, streams=streams, size=size)
        report = Report(load)
        begun = loop.time()
        loading = asyncio.create_task(load.run())
        try:
            for _ in range(rounds):
                for service in cluster.services:
                    uploaded = len(load.uploads) + len(load.failures)
                    report.restarts.append(await asyncio.to_thread(_restart, envoy, service))
                    while len(load.uploads) + len(load.failures) == uploaded:  # noqa: ASYNC110 - a condition of the world
                        await asyncio.sleep(0.05)
        finally:
            load.stop()
            await loading
        report.seconds = loop.time() - begun
    return report


def _restart(envoy: Envoy, service: Service) -> Restart:
    begun = time.monotonic()
    service.terminate()
    try:
        code: int | None = service.wait(GRACE_SECONDS)
    except TimeoutError:
        code = None
        service.kill()
    drained = time.monotonic()
    service.start(timeout=READY_SECONDS)
    until = time.monotonic() + READY_SECONDS
    while not envoy.ready(service.kind):
        if time.monotonic() > until:
            raise TimeoutError(f"Envoy never saw {service.name} again")
        time.sleep(0.1)
    return Restart(service.name, code, drained - begun, time.monotonic() - begun)
