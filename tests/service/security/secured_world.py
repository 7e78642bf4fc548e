"""Both services over real gRPC with identity (and TLS, if asked for) as their settings make it; one simulated store.

Tokens, roles and tenants stand in an identities file that a test may write anew. What is logged is kept in ``lines``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import structlog
from blake3 import blake3
from grpc import aio

from assembly_service.app import LoggedEvents
from assembly_service.assembly import Assembly
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.servicer import AssemblyServicer
from assembly_service.settings import AssemblySettings
from assembly_service.statistics import Statistics
from ingest_service.app import compose
from ingest_service.hashing import by_library
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.servicer import register
from ingest_service.settings import IngestSettings
from sealane.dev.ports import free_ports
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.limits import Limits
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.security import security
from sealane.rpc.server import age_options, server_options
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore
from sealane.v1 import assembly_service_pb2 as assembly_pb
from sealane.v1 import assembly_service_pb2_grpc, ingest_service_pb2_grpc
from sealane.v1 import ingest_service_pb2 as ingest_pb

KIB = 1024
LIMITS = Limits(
    max_frame_bytes=KIB, min_chunk_bytes=KIB, default_chunk_bytes=KIB, unknown_size_chunk_bytes=KIB, max_chunk_bytes=KIB
)
CONTENT = random.Random(1).randbytes(2 * KIB + 7)
CHUNKS = [CONTENT[start : start + KIB] for start in range(0, len(CONTENT), KIB)]
TENANTS = ("acme", "other")


def token(tenant: str, role: str) -> str:
    """The secret of whoever has ``role`` in ``tenant``."""
    return f"secret-of-{tenant}-{role}-0123456789"


PEER = token("peer", "service")


def identities(*, without: Sequence[str] = ()) -> str:
    """Somebody for each role, and for all of them, in two tenants; and the other service."""
    entries = [f'[[token]]\nname = "peer"\ntoken = "{PEER}"\nroles = ["service"]\n']
    for tenant in TENANTS:
        for name, roles in (
            *((role, [role]) for role in ("uploader", "reader", "operator")),
            ("all", ["uploader", "reader", "operator"]),
        ):
            if token(tenant, name) not in without:
                entries.append(
                    f'[[token]]\nname = "{tenant}-{name}"\ntoken = "{token(tenant, name)}"\n'
                    f'tenant = "{tenant}"\nroles = {roles}\n'.replace("'", '"')
                )
    return "\n".join(entries)


def bearer(secret: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"), *((key.replace("_", "-"), value) for key, value in more.items()))


@dataclass
class Secured:
    """What runs, and how to reach it."""

    directory: Path
    store: SimulatedStore
    ingest_address: str
    assembly_address: str
    now: Callable[[], datetime]
    ingest: Any = None
    assembly: Any = None
    lines: list[Any] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Any]:
        return [line for line in self.lines if line["event"] == "rpc"]

    async def write_identities(self, text: str) -> None:
        """Replace the file, and wait until both services must have seen it."""
        path = self.directory / "identities.toml"
        path.with_suffix(".new").write_text(text)
        seen = len([line for line in self.lines if line["event"] == "reloaded"])
        os.replace(path.with_suffix(".new"), path)
        await until(lambda: len([line for line in self.lines if line["event"] == "reloaded"]) >= seen + 2)

    async def create(self, secret: str, **fields: Any) -> str:
        """A session; its id."""
        request = ingest_pb.CreateSessionRequest(**({"size": len(CONTENT)} | fields))
        answer = await self.ingest.CreateSession(request, timeout=20, metadata=bearer(secret))
        return str(answer.session.session_id)

    async def upload(self, secret: str, session: str, indexes: Sequence[int] = range(len(CHUNKS))) -> Any:
        call = self.ingest.UploadChunks(iter(messages(session, indexes)), timeout=20, metadata=bearer(secret))
        return await call

    async def commit(self, secret: str, session: str) -> Any:
        return await self.assembly.CommitSession(commit_request(session), timeout=20, metadata=bearer(secret))


def messages(session: str, indexes: Sequence[int] = range(len(CHUNKS))) -> list[ingest_pb.UploadChunksRequest]:
    """One stream's."""
    frames = [
        ingest_pb.UploadChunksRequest(
            frame=ingest_pb.ChunkFrame(chunk_index=i, data=CHUNKS[i], blake3=blake3(CHUNKS[i]).digest())
        )
        for i in indexes
    ]
    return [ingest_pb.UploadChunksRequest(header=ingest_pb.StreamHeader(session_id=session)), *frames]


def commit_request(session: str, kind: Any = assembly_pb.CommitSessionRequest) -> Any:
    return kind(session_id=session, chunk_count=len(CHUNKS), size=len(CONTENT), blake3=blake3(CONTENT).digest())


def wall_clock() -> datetime:
    """Certificates are good until a real day; the simulated store lives in a year of its own."""
    return datetime.now(UTC)


def log_into(lines: list[Any]) -> None:
    """Every logger's lines, whatever the level."""
    capture = structlog.testing.LogCapture()
    capture.entries = lines
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False)


@asynccontextmanager
async def secured(
    directory: Path, *, credentials: Any = None, now: Callable[[], datetime] = wall_clock, **settings: Any
) -> AsyncIterator[Secured]:
    """``settings`` are both services'; by default tokens, in plaintext on loopback. ``credentials``: the stubs' TLS."""
    ports = free_ports(2)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    (directory / "identities.toml").write_text(identities())
    (directory / "peer-token").write_text(PEER)
    given = {
        "s3_endpoint": "http://127.0.0.1:1",
        "identity": "tokens",
        "identities_file": directory / "identities.toml",
        "peer_token_file": directory / "peer-token",
        "watch_seconds": 0.05,
        "watch_heartbeat_seconds": 0.1,
    } | settings
    world = Secured(directory, SimulatedStore(), addresses[0], addresses[1], now)
    log_into(world.lines)
    try:
        async with AsyncExitStack() as stack:
            await _ingest(world, stack, IngestSettings(listen=addresses[0], peer=addresses[1], **given))
            del given["watch_seconds"], given["watch_heartbeat_seconds"]
            await _assembly(world, stack, AssemblySettings(listen=addresses[1], peer=addresses[0], **given))
            for kind, address, stub in (
                ("ingest", addresses[0], ingest_service_pb2_grpc.IngestServiceStub),
                ("assembly", addresses[1], assembly_service_pb2_grpc.AssemblyServiceStub),
            ):
                line = await stack.enter_async_context(channel(address, credentials=credentials, own_connection=True))
                setattr(world, kind, stub(line))
            yield world
    finally:
        structlog.reset_defaults()


async def _serve(stack: AsyncExitStack, settings: Any, register_on: Any, made: Any, counts: Any) -> None:
    for coroutine in made.background:
        task = asyncio.create_task(coroutine)
        stack.callback(task.cancel)
    server = aio.server(
        interceptors=server_interceptors(
            identity=made.identity, settings=settings, log=structlog.get_logger("rpc"), counters=counts
        ),
        options=[*server_options(100, 64 * KIB), *age_options(settings)],
    )
    register_on(server)
    if made.tls is None:
        assert server.add_insecure_port(settings.listen)
    else:
        assert server.add_secure_port(settings.listen, made.tls.credentials())
    await server.start()
    stack.push_async_callback(server.stop, 0)


async def _ingest(world: Secured, stack: AsyncExitStack, settings: IngestSettings) -> None:
    made = security(settings, world.now, every=0.005)
    stack.push_async_callback(made.peer.close)
    ingest = compose(
        settings,
        store=world.store,
        outcome=GrpcOutcomeClient(made.peer, made.peer_metadata),
        blake3_hashes=by_library(reference_chunk_cv),
        executor=None,
        entropy=os.urandom,
        rng=random.Random(1),
        limits=LIMITS,
        report=lambda: None,
    )
    await stack.enter_async_context(ingest.scope)
    await _serve(stack, settings, lambda server: register(ingest.servicer, server), made, ingest.statistics)


async def _assembly(world: Secured, stack: AsyncExitStack, settings: AssemblySettings) -> None:
    made = security(settings, world.now, every=0.005)
    stack.push_async_callback(made.peer.close)
    assembly = Assembly.on(
        RetryingStore(world.store, rng=random.Random(2)),
        GrpcReceiptsClient(made.peer, timeout=5.0, metadata=made.peer_metadata),
        rng=random.Random(3),
        events=LoggedEvents(structlog.get_logger("assembly")),
        limits=LIMITS,
    )
    await _serve(stack, settings, AssemblyServicer(assembly, limits=LIMITS).register, made, Statistics())


async def until(condition: Callable[[], Any]) -> None:
    """Return once ``condition`` holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a condition of the world, not of one event
            await asyncio.sleep(0.005)


async def refusal(call: Any) -> aio.AioRpcError:
    """What a call, unary or streaming, ends with."""
    try:
        answers = [answer async for answer in call] if hasattr(call, "__aiter__") else [await call]
    except aio.AioRpcError as error:
        return error
    raise AssertionError(f"it was answered: {answers}")


def everything(error: grpc.RpcError) -> str:
    """All that a caller sees of an error."""
    return repr((error.code(), error.details(), error.initial_metadata(), error.trailing_metadata()))
