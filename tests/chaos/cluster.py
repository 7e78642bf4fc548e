"""Who is struck: the store, four replicas that are born again whenever they end, and the links between them.

replica ── link "ingest-1 > store" ──► SeaweedFS          replica ── link "> assembly-2" ──► the other service
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealane.dev.cluster import REGION, target
from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Kind

from .nursery import Born, Nursery, nursery
from .proxy import Link
from .terms import SETTINGS

TENANT = "default"
OTHER: dict[Kind, Kind] = {"ingest": "assembly", "assembly": "ingest"}
_READY_SECONDS = 240.0
_LOOK_SECONDS = 0.25
_TAIL = 3000


@dataclass(slots=True)
class Replica:
    """One place in the cluster, and the process that fills it now."""

    name: str
    kind: Kind
    address: str
    health_address: str
    log: Path
    process: Born | None = None
    expected: set[int] = field(default_factory=set)
    """Exit codes that are our doing, of the process that is there now."""
    pause: float = 0.0
    """Before its next birth, seconds."""
    ready_at: float = 0.0
    """time.monotonic() when the process that is there now was first ready; 0: not yet."""
    starts: list[float] = field(default_factory=list)
    """Seconds from birth to ready, of those that got so far."""
    births: int = 0

    def strike(self, number: signal.Signals, *codes: int) -> bool:
        """Send a signal that may make it end with one of ``codes``; whether it was there to get it."""
        if self.process is None:
            return False
        self.expected.update(codes)
        return self.process.signal(number)


class Cluster:
    """See the module's text. ``violation`` is told what must never happen."""

    def __init__(self, nest: Nursery, store: SeaweedFS, *, violation: Callable[[str], None]) -> None:
        self.store = store
        self._nest = nest
        self._violation = violation
        self.replicas: list[Replica] = []
        self.links: dict[str, Link] = {}
        self.store_busy = asyncio.Lock()
        """Held while the store is being killed, stopped or started."""
        self._closing = False

    def of_kind(self, kind: Kind) -> list[Replica]:
        return [replica for replica in self.replicas if replica.kind == kind]

    def target(self, kind: Kind) -> str:
        return target([replica.address for replica in self.of_kind(kind)])

    async def keep(self, replica: Replica) -> None:
        """Have it born again whenever it ends, until cancelled."""
        while True:
            replica.expected.clear()
            replica.process = await self._nest.spawn(replica.kind, env=self._env(replica), log=replica.log)
            replica.births += 1
            watch = asyncio.create_task(_watch(replica))
            code = await replica.process.ended()
            watch.cancel()
            replica.process, replica.ready_at = None, 0.0
            if code not in replica.expected and not self._closing:
                tail = replica.log.read_text(errors="replace")[-_TAIL:]
                self._violation(f"{replica.name} ended by itself with code {code}\n{tail}")
            await asyncio.sleep(replica.pause)
            replica.pause = 0.0

    async def all_ready(self) -> None:
        """Return when every replica says so; TimeoutError."""
        async with asyncio.timeout(_READY_SECONDS):
            for replica in self.replicas:
                while not await asyncio.to_thread(_ready, replica):  # noqa: ASYNC110 - another process's condition
                    await asyncio.sleep(0.1)

    async def restart_store(self, number: signal.Signals, *, down: float) -> None:
        """End the store and, ``down`` seconds later, start it on the same ports and data.

        Nobody reaches it before it is ready: SeaweedFS takes requests a second before its lock ring is in force, and
        has two winners of a conditional PUT then (docs/reliability.md).
        """
        ways = [link for name, link in self.links.items() if name.endswith("> store")]
        async with self.store_busy:
            for way in ways:
                way.shut = True
            try:
                if number is signal.SIGKILL:
                    await asyncio.to_thread(self.store.kill)
                else:
                    await asyncio.to_thread(self.store.stop, grace=5.0)
                await asyncio.sleep(down)
                await asyncio.to_thread(self.store.start, timeout=120.0)
            finally:
                for way in ways:
                    way.shut = False

    async def stop_store(self, seconds: float) -> None:
        """SIGSTOP it, for ``seconds``."""
        async with self.store_busy:
            os.kill(self.store.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(self.store.pid, signal.SIGCONT)

    def closing(self) -> None:
        """From now on replicas may end."""
        self._closing = True

    def _env(self, replica: Replica) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            **SETTINGS,
            "SEALANE_TENANT": TENANT,
            "SEALANE_LISTEN": replica.address,
            "SEALANE_HEALTH_LISTEN": replica.health_address,
            "SEALANE_METRICS_LISTEN": f"{LOOPBACK}:0",
            "SEALANE_S3_ENDPOINT": f"http://{self.links[f'{replica.name} > store'].address}",
            "SEALANE_S3_BUCKET": self.store.bucket,
            "SEALANE_S3_REGION": REGION,
            "SEALANE_S3_ACCESS_KEY": self.store.access_key,
            "SEALANE_S3_SECRET_KEY": self.store.secret_key,
            "SEALANE_PEER": ",".join(
                self.links[f"> {peer.name}"].address for peer in self.of_kind(OTHER[replica.kind])
            ),
        }


async def _watch(replica: Replica) -> None:
    born = time.monotonic()
    async with grpc.aio.insecure_channel(
        replica.health_address,
        options=[("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)],
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=2.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    break
            except grpc.RpcError:
                pass
            await asyncio.sleep(_LOOK_SECONDS)
    replica.ready_at = time.monotonic()
    replica.starts.append(replica.ready_at - born)


def _ready(replica: Replica) -> bool:
    if replica.process is None:
        return False
    with grpc.insecure_channel(replica.health_address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=2.0
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def cluster(
    directory: Path, *, replicas: int, rng: random.Random, kernel: Path, violation: Callable[[str], None]
) -> AsyncIterator[Cluster]:
    """A running cluster of ``replicas`` of each service, not necessarily ready yet."""
    async with AsyncExitStack() as scope:
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        nest = await scope.enter_async_context(nursery(directory, kernel))
        store = SeaweedFS(directory / "store", access_key="sealane-chaos", secret_key=secrets.token_hex(16))
        scope.callback(store.kill)
        await asyncio.to_thread(store.start, timeout=120.0)
        made = Cluster(nest, store, violation=violation)
        ports = iter(free_ports(4 * replicas))
        for kind in OTHER:
            for number in range(1, replicas + 1):
                name = f"{kind}-{number}"
                address, health = f"{LOOPBACK}:{next(ports)}", f"{LOOPBACK}:{next(ports)}"
                made.replicas.append(Replica(name, kind, address, health, directory / "logs" / f"{name}.log"))
                ends = {f"{name} > store": store.ports.s3, f"> {name}": int(address.rpartition(":")[2])}
                for link, port in ends.items():
                    entered = Link((LOOPBACK, port), rng=random.Random(rng.random()))
                    made.links[link] = await scope.enter_async_context(entered)
        keepers = [asyncio.create_task(made.keep(replica), name=replica.name) for replica in made.replicas]
        try:
            yield made
        finally:
            made.closing()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
