"""Both services as a client meets them: real gRPC over loopback, the real compositions, one simulated store beneath.

Replicas can be stopped and started again on their ports, drained, and troubled: an answer lost after the work was
done, a stream cut at a chosen frame, a byte flipped on its way. Chunks are tiny, so a whole object is milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from assembly_service.app import LoggedEvents
from assembly_service.assembly import Assembly
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.servicer import AssemblyServicer
from assembly_service.statistics import Statistics
from ingest_service.app import Ingest, compose
from ingest_service.hashing import by_library
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.servicer import register
from ingest_service.settings import IngestSettings
from ingest_service.stream_messages import Frame
from sealane.client import BackoffPolicy, Client, StreamOptions, SyncClient
from sealane.dev.ports import free_ports
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.errors import SealaneError
from sealane.domain.ids import Tenant
from sealane.domain.limits import Limits
from sealane.identity.caller import StaticIdentity
from sealane.logs import get_logger
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import server_options
from sealane.rpc.status import to_status
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import SEAWEEDFS, Dialect

KIB = 1024
TINY = Limits(
    max_frame_bytes=KIB,
    min_chunk_bytes=KIB,
    default_chunk_bytes=KIB,
    unknown_size_chunk_bytes=4 * KIB,
    max_chunk_bytes=8 * KIB,
)
QUICK = BackoffPolicy(base_seconds=0.01, cap_seconds=0.1, patience_seconds=30.0)
TENANT = Tenant("default")
TINY_FRAMES = StreamOptions(frame_bytes=KIB)


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Trouble(aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """What goes wrong at a server. Counts are of calls to come; a hook sees each frame before the service does."""

    lose_answers: Counter[str] = field(default_factory=Counter)
    """Method -> how many answers are lost after the work was done."""
    before: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """Method -> a coroutine function run before the next call of it, once."""
    refuse: dict[str, SealaneError] = field(default_factory=dict)
    """Method -> what the next call of it is answered, with nothing done."""
    on_frame: Callable[[Frame], Any] | None = None
    """Answers the frame to pass on, or a coroutine of it."""
    calls: Counter[str] = field(default_factory=Counter)
    frames: int = 0

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        method = details.method.rpartition("/")[2]
        if handler is None or not details.method.startswith("/sealane."):
            return handler
        if handler.stream_unary is not None:
            return handler._replace(stream_unary=self._troubled(method, handler.stream_unary, streams_in=True))
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=self._troubled(method, handler.unary_unary, streams_in=False))
        self.calls[method] += 1
        return handler

    def _troubled(self, method: str, behaviour: Any, *, streams_in: bool) -> Any:
        async def troubled(request: Any, context: Any) -> Any:
            self.calls[method] += 1
            if hook := self.before.pop(method, None):
                await hook()
            if error := self.refuse.pop(method, None):
                status = to_status(error, "e" * 16)
                await context.abort(status.code, status.message, status.trailing_metadata)
            answer = await behaviour(self._frames(request) if streams_in else request, context)
            if self.lose_answers[method] > 0:
                self.lose_answers[method] -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
            return answer

        return troubled

    async def _frames(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            if isinstance(message, Frame):
                self.frames += 1
                if self.on_frame is not None:
                    message = self.on_frame(message)
                    if asyncio.iscoroutine(message):
                        message = await message
            yield message


class Replica:
    """One server on a port of its own, which may stop and come back."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.trouble = Trouble()
        self.drain_event = asyncio.Event()
        self._server: Any = None
        self._stack = AsyncExitStack()

    async def serve(self, register_on: Callable[[Any], None], settings: Any, counters: Any) -> None:
        self.drain_event = asyncio.Event()
        self._server = aio.server(
            interceptors=[
                self.trouble,
                *server_interceptors(
                    identity=StaticIdentity(TENANT),
                    settings=settings,
                    log=get_logger("test"),
                    counters=counters,
                    drain=self.drain_event,
                ),
            ],
            options=server_options(100, 64 * KIB),
        )
        register_on(self._server)
        assert self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self, grace: float = 0.0) -> None:
        """At once: calls in progress are cut, and what was in memory is gone."""
        await self._server.stop(grace)
        await self._stack.aclose()


class IngestReplica(Replica):
    def __init__(self, world: World, port: int) -> None:
        super().__init__(port)
        self._world = world
        self.ingest: Ingest | None = None

    async def start(self, **values: Any) -> None:
        settings = IngestSettings.model_construct(
            **{
                "s3_endpoint": "http://127.0.0.1:1",
                "memory_budget": 256 * KIB,
                "memory_wait_seconds": 5.0,
                "watch_seconds": 0.02,
                "outcome_seconds": 2.0,
                "drain_seconds": 5.0,
                "chunk_store_seconds": 20.0,
            }
            | values
        )
        peer = await self._stack.enter_async_context(channel(self._world.assembly.address, own_connection=True))
        self.ingest = compose(
            settings,
            store=self._world.store,
            outcome=GrpcOutcomeClient(peer),
            blake3_hashes=by_library(reference_chunk_cv),
            executor=None,
            entropy=os.urandom,
            rng=random.Random(1),
            limits=self._world.limits,
            report=lambda: None,
        )
        await self._stack.enter_async_context(self.ingest.scope)
        servicer, statistics = self.ingest.servicer, self.ingest.statistics
        await self.serve(lambda server: register(servicer, server), settings, statistics)

    async def drain(self) -> None:
        """As after SIGTERM: refuse new calls, finish the chunks in hand, go."""
        assert self.ingest is not None
        self.drain_event.set()
        self.ingest.drain()
        await self._server.stop(5.0)


class AssemblyReplica(Replica):
    def __init__(self, world: World, port: int) -> None:
        super().__init__(port)
        self._world = world

    async def start(self) -> None:
        peer = await self._stack.enter_async_context(channel(self._world.ingest_target, own_connection=True))
        assembly = Assembly.on(
            RetryingStore(self._world.store, rng=random.Random(2)),
            GrpcReceiptsClient(peer, timeout=5.0),
            rng=random.Random(3),
            events=LoggedEvents(get_logger("test")),
            limits=self._world.limits,
        )
        settings = IngestSettings.model_construct(s3_endpoint="http://127.0.0.1:1")
        await self.serve(AssemblyServicer(assembly, limits=self._world.limits).register, settings, Statistics())


class World:
    """One bucket, some ingest replicas, one assembly; and clients of them."""

    def __init__(self, directory: Path, *, ingests: int, limits: Limits, dialect: Dialect) -> None:
        ports = free_ports(ingests + 1)
        self.directory = directory
        self.limits = limits
        self.store = SimulatedStore(SimulatedBucket(dialect=dialect))
        self.assembly = AssemblyReplica(self, ports[0])
        self.ingests = [IngestReplica(self, port) for port in ports[1:]]

    @property
    def ingest(self) -> IngestReplica:
        return self.ingests[0]

    @property
    def ingest_target(self) -> str:
        return "ipv4:" + ",".join(replica.address for replica in self.ingests)

    def client(self, *, backoff: BackoffPolicy = QUICK, **values: Any) -> Client:
        return Client(self.ingest_target, self.assembly.address, **self._arguments(backoff, values))

    def sync_client(self, *, backoff: BackoffPolicy = QUICK, **values: Any) -> SyncClient:
        return SyncClient(self.ingest_target, self.assembly.address, **self._arguments(backoff, values))

    def _arguments(self, backoff: BackoffPolicy, values: dict[str, Any]) -> dict[str, Any]:
        environment = {"XDG_STATE_HOME": str(self.directory / "state")}
        return {
            "backoff": backoff,
            "rng": random.Random(7),
            "environment": environment,
            "max_memory": 64 * KIB,
        } | values

    def journals(self) -> list[Path]:
        return sorted((self.directory / "state").rglob("*.json"))

    def object(self, key: str) -> bytes:
        """The object as plain S3 has it."""
        return b"".join(self.store.state.get(key).read())

    def objects(self) -> list[str]:
        return [key for key in self.store.state.keys("") if not key.startswith(".sealane/")]


@asynccontextmanager
async def world(
    directory: Path, *, ingests: int = 1, limits: Limits = TINY, dialect: Dialect = SEAWEEDFS, **settings: Any
) -> AsyncIterator[World]:
    built = World(directory, ingests=ingests, limits=limits, dialect=dialect)
    for replica in built.ingests:
        await replica.start(**settings)
    await built.assembly.start()
    try:
        yield built
    finally:
        for each in (*built.ingests, built.assembly):
            await each.stop()


def options(**values: Any) -> StreamOptions:
    """Stream options with frames as small as the tests' chunks."""
    return replace(TINY_FRAMES, **values)
