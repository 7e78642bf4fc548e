"""Both services behind real gRPC servers in this process, with tiny chunks, on any store."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from blake3 import blake3
from grpc import aio

from assembly_service.assembly import Assembly
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.retention import Retention
from assembly_service.servicer import AssemblyServicer
from ingest_service.app import Ingest, compose
from ingest_service.hashing import Blake3Hashes, by_library
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.servicer import register
from ingest_service.settings import IngestSettings
from sealane.client.frames import frames, header
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.ids import Tenant
from sealane.domain.limits import KiB, Limits
from sealane.identity.caller import StaticIdentity
from sealane.logs import get_logger
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import server_options
from sealane.rpc.status import from_rpc_error
from sealane.store.port import ObjectStore
from sealane.store.retry import RetryingStore
from sealane.v1 import assembly_service_pb2, assembly_service_pb2_grpc, ingest_service_pb2, ingest_service_pb2_grpc

TENANT = Tenant("default")
TINY = Limits(
    max_frame_bytes=KiB,
    min_chunk_bytes=KiB,
    default_chunk_bytes=KiB,
    unknown_size_chunk_bytes=KiB,
    max_chunk_bytes=4 * KiB,
    chunks_per_stream=4,
)
UPLOAD = "/sealane.v1.IngestService/UploadChunks"
CALL_SECONDS = 20.0


@dataclass
class Events:
    """What assembly would log; alarms are what an operator must see."""

    alarms: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def alarm(self, event: str, **facts: object) -> None:
        self.alarms.append((event, facts))

    def note(self, event: str, **facts: object) -> None: ...


@dataclass
class Counts:
    errors_by_reason: Counter[str] = field(default_factory=Counter)


class Received(aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Counts the messages that a server has read off the wire, whatever becomes of them. Goes first."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        parse = handler.request_deserializer or bytes

        def counted(message: bytes) -> Any:
            self.messages += 1
            self.bytes += len(message)
            return parse(message)

        return handler._replace(request_deserializer=counted)


@dataclass
class World:
    """What runs, and clients of it."""

    ingest: Ingest
    assembly: Assembly
    events: Events
    counts: Counts
    received: Received
    ingest_address: str
    assembly_address: str
    to_ingest: aio.Channel
    to_assembly: aio.Channel

    @property
    def ingest_stub(self) -> Any:
        return ingest_service_pb2_grpc.IngestServiceStub(self.to_ingest)  # type: ignore[no-untyped-call]  # generated

    @property
    def assembly_stub(self) -> Any:
        return assembly_service_pb2_grpc.AssemblyServiceStub(self.to_assembly)  # type: ignore[no-untyped-call]  # generated

    @property
    def bugs(self) -> int:
        """Answers with INTERNAL so far, of both services."""
        return self.counts.errors_by_reason["INTERNAL"] + self.ingest.statistics.errors_by_reason["INTERNAL"]

    def at_rest(self) -> bool:
        """No stream open, no byte of a chunk held."""
        return not (self.ingest.streams.held or self.ingest.watchers.held or self.ingest.memory.in_use)

    async def call(self, stub: Any, method: str, request: Any) -> Any:
        """A unary call; raises the domain error that the server raised."""
        try:
            return await getattr(stub, method)(request, timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def create(self, **fields: Any) -> str:
        request = ingest_service_pb2.CreateSessionRequest(**fields)
        return str((await self.call(self.ingest_stub, "CreateSession", request)).session.session_id)

    async def send(self, messages: list[bytes]) -> ingest_service_pb2.UploadChunksResponse:
        """One upload stream of exactly these bytes; raises what the server says."""
        opener = self.to_ingest.stream_unary(
            UPLOAD,
            request_serializer=None,
            response_deserializer=ingest_service_pb2.UploadChunksResponse.FromString,
        )
        stream = UploadStream(opener(timeout=CALL_SECONDS), stall_seconds=CALL_SECONDS)
        try:
            for message in messages:
                await stream.send(message)
        except StreamEnded:
            pass  # the answer says why
        try:
            return await stream.answer()
        finally:
            stream.cancel()

    async def put_chunk(self, session: str, index: int, data: bytes, *, frame_bytes: int = KiB) -> None:
        pieces = frames(index, memoryview(data), blake3(data).digest(), frame_bytes)
        await self.send([header(session), *(message for _, message in pieces)])

    async def commit(self, session: str, content: bytes, chunk_size: int = KiB, **lies: Any) -> Any:
        truth: dict[str, Any] = {
            "chunk_count": -(-len(content) // chunk_size),
            "size": len(content),
            "blake3": blake3(content).digest(),
        }
        request = assembly_service_pb2.CommitSessionRequest(session_id=session, **(truth | lies))
        return (await self.call(self.assembly_stub, "CommitSession", request)).committed_object


@asynccontextmanager
async def world(
    store: ObjectStore,
    *,
    limits: Limits = TINY,
    blake3_hashes: Blake3Hashes = by_library(reference_chunk_cv),  # noqa: B008 - a function
    seed: int = 1,
    second_store: ObjectStore | None = None,
    **values: Any,
) -> AsyncIterator[World]:
    """Both services on ``store`` (assembly on ``second_store`` if given), until the block ends."""
    given: dict[str, Any] = {
        "s3_endpoint": "http://127.0.0.1:1",
        "memory_budget": max(64 * limits.max_chunk_bytes, 64 * KiB),
        "memory_wait_seconds": 5.0,
        "watch_seconds": 0.05,
        "watch_heartbeat_seconds": 0.5,
        "stream_idle_seconds": 5.0,
        "drain_seconds": 2.0,
        "chunk_store_seconds": 20.0,
        "default_timeout": CALL_SECONDS,
    } | values
    settings = IngestSettings.model_construct(**given)
    events, counts, received, rng = Events(), Counts(), Received(), random.Random(seed)
    largest = max(limits.max_frame_bytes + 64 * KiB, 64 * KiB)
    async with AsyncExitStack() as scope:

        def interceptors(counters: Any) -> list[Any]:
            made = server_interceptors(
                identity=StaticIdentity(TENANT), settings=settings, log=get_logger("hostile"), counters=counters
            )
            return [received, *made]

        assembly_server = aio.server(interceptors=interceptors(counts), options=server_options(100, largest))
        assembly_port = assembly_server.add_insecure_port("127.0.0.1:0")
        to_assembly_peer = await scope.enter_async_context(channel(f"127.0.0.1:{assembly_port}", own_connection=True))
        ingest = compose(
            settings,
            store=store,
            outcome=GrpcOutcomeClient(to_assembly_peer),
            blake3_hashes=blake3_hashes,
            executor=None,
            entropy=os.urandom,
            rng=rng,
            limits=limits,
            report=lambda: None,
        )
        ingest_server = aio.server(interceptors=interceptors(ingest.statistics), options=server_options(100, largest))
        register(ingest.servicer, ingest_server)
        ingest_port = ingest_server.add_insecure_port("127.0.0.1:0")
        to_ingest_peer = await scope.enter_async_context(channel(f"127.0.0.1:{ingest_port}", own_connection=True))
        assembly = Assembly.on(
            RetryingStore(second_store or store, rng=rng),
            GrpcReceiptsClient(to_ingest_peer, timeout=10.0),
            rng=rng,
            events=events,
            limits=limits,
            retention=Retention(outcome=timedelta(0), receipts=timedelta(hours=1)),
        )
        AssemblyServicer(assembly, limits=limits).register(assembly_server)
        for server in (assembly_server, ingest_server):
            await server.start()
            scope.push_async_callback(server.stop, 0)
        await scope.enter_async_context(ingest.scope)
        yield World(
            ingest,
            assembly,
            events,
            counts,
            received,
            f"127.0.0.1:{ingest_port}",
            f"127.0.0.1:{assembly_port}",
            await scope.enter_async_context(channel(f"127.0.0.1:{ingest_port}", own_connection=True)),
            await scope.enter_async_context(channel(f"127.0.0.1:{assembly_port}", own_connection=True)),
        )


async def until(condition: Callable[[], bool], *, what: str, seconds: float = 20.0) -> None:
    """Wait until ``condition`` holds; fails, naming ``what``, if it never does."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - a condition of the world, not of one event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None
