"""A replica of each service as a process of the simulation: the real compositions, on our store and network."""

from __future__ import annotations

import functools
import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from assembly_service.assembly import Assembly
from assembly_service.patrol import Pace
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.retention import Retention
from assembly_service.servicer import AssemblyServicer
from assembly_service.settings import AssemblySettings
from ingest_service.app import compose
from ingest_service.hashing import by_library
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.servicer import register
from ingest_service.settings import IngestSettings
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.ids import Tenant
from sealane.domain.limits import Limits
from sealane.identity.caller import TENANT_KEY, USER_ROLES, Caller, Presented, Role
from sealane.rpc.boundary import Boundary
from sealane.rpc.interceptors import CallInterceptor
from sealane.store.backoff import RetryBudget, RetryPolicy
from sealane.store.retry import RetryingStore
from tests.simulation.plans import CHUNK
from tests.simulation.store import ProcessStore
from tests.simulation.virtual_loop import Process
from tests.simulation.wire import ServerEnd

if TYPE_CHECKING:
    from tests.simulation.world import World

TENANT = Tenant("acme")
NEIGHBOUR = Tenant("globex")
LIMITS = Limits(
    max_frame_bytes=CHUNK,
    min_chunk_bytes=CHUNK,
    default_chunk_bytes=CHUNK,
    unknown_size_chunk_bytes=CHUNK,
    max_chunk_bytes=4 * CHUNK,
    min_ttl=1,
)
RETENTION = Retention(grace=timedelta(seconds=15), outcome=timedelta(seconds=150), receipts=timedelta(seconds=100))
INGEST: Any = IngestSettings.model_construct(
    s3_endpoint="http://simulated",
    memory_budget=3 * CHUNK,
    memory_wait_seconds=5.0,
    chunk_store_seconds=120.0,
    parts_in_flight=2,
    outcome_seconds=2.0,
    watch_seconds=4.0,
    watch_heartbeat_seconds=60.0,
)
ASSEMBLY: Any = AssemblySettings.model_construct(s3_endpoint="http://simulated")
POLICY = RetryPolicy()


@functools.cache
def _known_cv(data: bytes, index: int, chunk_size: int) -> bytes:
    return reference_chunk_cv(data, index, chunk_size)


def chunk_cv(data: memoryview, index: int, chunk_size: int) -> bytes:
    """The reference's, which takes 3 ms: contents are cut from a small stock, so each is computed once a process."""
    return _known_cv(bytes(data), index, chunk_size)


class Ear:
    """The log of one replica, as far as somebody must look at it; and assembly's events."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.errors_by_reason: Counter[str] = Counter()

    def info(self, event: str, **facts: Any) -> None:
        """A line that nobody has to read."""

    warning = info

    def error(self, event: str, **facts: Any) -> None:
        if facts.get("reason") in {"INTERNAL", "UNIMPLEMENTED"}:
            self._world.violate("BUG", f"{self._name} answered {facts['reason']}: {facts}", facts.get("exc_info"))

    def note(self, event: str, **facts: Any) -> None:
        if self._world.trace is not None:
            self._world.tell(self._name, f"[{event}]", _told(facts))

    def alarm(self, event: str, **facts: Any) -> None:
        self._world.tell(self._name, f"[ALARM: {event}]", _told(facts))
        kind = facts.get("kind")
        expected = kind in {"AccessDenied", "StoreUnavailable"} or "403" in event or "is lost" in event
        # What the store refused by its clock is sent again at once; not by who stood still until the deadline.
        stood = any(process.stood for process in self._world.loop.processes if process.name == self._name)
        if not expected and not (kind == "ClockSkewed" and stood):
            self._world.violate("BUG", f"{self._name} raised an alarm: {event}: {facts}", facts.get("exc_info"))


def _told(facts: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items() if name not in {"tenant", "exc_info"})


class ByName:
    """Who a process is, by its name: a service, or a client of a tenant, which may do everything there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._service = Caller("service", frozenset({Role.SERVICE}))
        self._users = {tenant: Caller("anonymous", USER_ROLES, tenant) for tenant in (TENANT, NEIGHBOUR)}

    async def __call__(self, presented: Presented) -> Caller:
        tenant = self._world.tenant_of(bytes(presented.peer["name"][0]).decode())
        return self._service if tenant is None else self._users[tenant]


def on_behalf(tenant: Tenant) -> list[tuple[str, str]]:
    """What one service tells the other."""
    return [(TENANT_KEY, str(tenant))]


def _interceptor(world: World, process: Process, ear: Ear, settings: Any) -> CallInterceptor:
    entropy = random.Random(f"{world.plan.seed} {process.name} ids").randbytes
    boundary = Boundary(log=ear, counters=ear, entropy=entropy)  # type: ignore[arg-type]  # as much of a logger as it uses
    return CallInterceptor(boundary, ByName(world), settings, None, None, entropy)


def ingest(world: World, process: Process, rng: random.Random) -> ServerEnd:
    """Start an ingest replica."""
    composed = compose(
        INGEST,
        store=ProcessStore(world, process, rng, page=world.plan.page),
        outcome=GrpcOutcomeClient(world.network.channel(world.peer("assembly", process.name)), on_behalf),
        blake3_hashes=by_library(chunk_cv),
        executor=None,
        entropy=rng.randbytes,
        rng=rng,
        limits=LIMITS,
        report=lambda: None,
    )
    interceptor = _interceptor(world, process, Ear(world, process.name), INGEST)
    end = ServerEnd(world.network, process, interceptor, functools.partial(register, composed.servicer))
    world.memories[process.name] = composed.memory
    process.spawn(composed.scope.__aenter__())
    return end


def assembly(world: World, process: Process, rng: random.Random) -> tuple[ServerEnd, Assembly]:
    """Start an assembly replica; its sweeper is the caller's to run."""
    ear = Ear(world, process.name)
    made = Assembly.on(
        RetryingStore(
            ProcessStore(world, process, rng, page=world.plan.page), rng=rng, policy=POLICY, budget=RetryBudget()
        ),
        GrpcReceiptsClient(world.network.channel(world.peer("ingest", process.name)), timeout=15.0, metadata=on_behalf),
        rng=rng,
        events=ear,
        limits=LIMITS,
        retention=RETENTION,
        pace=Pace(interval=world.plan.pace, full_interval=2 * world.plan.pace, session_seconds=300.0),
        policy=POLICY,
    )
    servicer = AssemblyServicer(made, limits=LIMITS)
    end = ServerEnd(world.network, process, _interceptor(world, process, ear, ASSEMBLY), servicer.register)
    return end, made
