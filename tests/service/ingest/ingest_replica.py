"""An ingest replica as its clients meet it: real gRPC over loopback, the real composition, any store beneath.

Chunks are tiny (1 KiB to 4 KiB) and the chaining value is the reference's, so a whole object is a few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from blake3 import blake3
from grpc import aio

from ingest_service.app import Ingest, compose
from ingest_service.hashing import Blake3Hashes, by_library
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.servicer import register
from ingest_service.sessions import OutcomeClient
from ingest_service.settings import IngestSettings
from ingest_service.sha256_batches import Sha256Batches
from ingest_service.statistics import Statistics
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.errors import SealaneError
from sealane.domain.ids import Tenant
from sealane.domain.limits import Limits
from sealane.domain.quotas import Quotas
from sealane.identity.caller import Identity, StaticIdentity
from sealane.logs import get_logger
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.rates import RequestRates
from sealane.rpc.server import server_options
from sealane.rpc.status import from_rpc_error
from sealane.store.port import ObjectStore
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc, session_pb2

T = TypeVar("T")
Frames = Iterable[pb.UploadChunksRequest]

KIB = 1024
TINY = Limits(
    max_frame_bytes=KIB,
    min_chunk_bytes=KIB,
    default_chunk_bytes=KIB,
    unknown_size_chunk_bytes=KIB,
    max_chunk_bytes=4 * KIB,
    chunks_per_stream=4,
)
NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


def settings(**values: Any) -> IngestSettings:
    """Settings for tiny chunks, not from the environment."""
    defaults: dict[str, Any] = {
        "s3_endpoint": "http://127.0.0.1:1",
        "memory_budget": 64 * KIB,
        "reserved_share": 0.0,  # there is one tenant
        "memory_wait_seconds": 5.0,
        "watch_seconds": 0.02,
        "outcome_seconds": 2.0,
        "drain_seconds": 5.0,
        "chunk_store_seconds": 20.0,
    }
    return IngestSettings.model_construct(**(defaults | values))


def chunks_of(data: bytes, size: int = KIB) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def header(session: str) -> pb.UploadChunksRequest:
    return pb.UploadChunksRequest(header=pb.StreamHeader(session_id=session))


def frame(index: int | None, offset: int, data: bytes, digest: bytes = b"") -> pb.UploadChunksRequest:
    return pb.UploadChunksRequest(frame=pb.ChunkFrame(chunk_index=index, offset=offset, data=data, blake3=digest))


def chunk(index: int, data: bytes, *, frame_bytes: int = 400, digest: bytes | None = None) -> Frames:
    """A chunk's frames, the last with its digest."""
    digest = blake3(data).digest() if digest is None else digest
    pieces = chunks_of(data, frame_bytes) or [b""]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        yield frame(index if number == 0 else None, number * frame_bytes, piece, digest if last else b"")


@dataclass
class Replica:
    """One running ingest and a client's channel to it."""

    ingest: Ingest
    store: ObjectStore
    address: str
    stub: Any
    drain: asyncio.Event

    async def call(self, method: str, request: Any, timeout: float = 20.0) -> Any:
        """A unary call; raises the domain error that the server raised."""
        try:
            return await getattr(self.stub, method)(request, timeout=timeout)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def create(self, **fields: Any) -> session_pb2.Session:
        return (await self.call("CreateSession", pb.CreateSessionRequest(**fields))).session

    async def get(self, session: str) -> session_pb2.Session:
        return (await self.call("GetSession", pb.GetSessionRequest(session_id=session))).session

    async def info(self) -> pb.GetServerInfoResponse:
        return await self.call("GetServerInfo", pb.GetServerInfoRequest())

    async def send(self, messages: Iterable[pb.UploadChunksRequest], timeout: float = 20.0) -> pb.UploadChunksResponse:
        """One upload stream of exactly these messages."""
        return await send_all(self.stub.UploadChunks(timeout=timeout), messages)

    async def upload(
        self, session: str, chunks: dict[int, bytes] | Sequence[bytes], *, frame_bytes: int = 400
    ) -> pb.UploadChunksResponse:
        """These chunks, in this order, in one stream."""
        items = chunks.items() if isinstance(chunks, dict) else enumerate(chunks)
        frames = (f for index, data in items for f in chunk(index, data, frame_bytes=frame_bytes))
        return await self.send([header(session), *frames])

    async def receipts(self, session: str) -> list[session_pb2.Receipt]:
        stream = self.stub.StreamReceipts(pb.StreamReceiptsRequest(session_id=session), timeout=20.0)
        try:
            return [receipt async for answer in stream for receipt in answer.receipts]
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


@asynccontextmanager
async def running(
    store: ObjectStore | None = None,
    *,
    limits: Limits = TINY,
    outcome: OutcomeClient | None = None,
    peer: str = NOBODY,
    tenant: str = "default",
    seed: int = 1,
    max_message_bytes: int = 64 * KIB,
    blake3_hashes: Blake3Hashes = by_library(reference_chunk_cv),  # noqa: B008 - a function
    report: Callable[[], Any] = lambda: None,
    batches: Sha256Batches | None = None,
    identity: Identity | None = None,
    quotas: Quotas | None = None,
    statistics: Statistics | None = None,
    **values: Any,
) -> AsyncIterator[Replica]:
    """A replica on ``store`` (default: a simulated one of its own), until the block ends. Assembly is at ``peer``."""
    store = SimulatedStore() if store is None else store
    drain = asyncio.Event()
    with_settings = settings(**values)
    async with channel(peer, own_connection=True) as to_peer:
        ingest = compose(
            with_settings,
            store=store,
            outcome=GrpcOutcomeClient(to_peer) if outcome is None else outcome,
            blake3_hashes=blake3_hashes,
            executor=None,
            entropy=os.urandom,
            rng=random.Random(seed),
            limits=limits,
            report=report,
            batches=batches,
            quotas=quotas,
            statistics=statistics,
        )
        server = aio.server(
            interceptors=server_interceptors(
                identity=identity or StaticIdentity(Tenant(tenant)),
                settings=with_settings,
                log=get_logger("test"),
                counters=ingest.statistics,
                drain=drain,
                rates=RequestRates(quotas or Quotas()),
            ),
            options=server_options(100, max_message_bytes),
        )
        register(ingest.servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with ingest.scope, channel(f"127.0.0.1:{port}", own_connection=True) as to_us:
                stub = ingest_service_pb2_grpc.IngestServiceStub(to_us)
                yield Replica(ingest, store, f"127.0.0.1:{port}", stub, drain)
        finally:
            await server.stop(0)


async def until(condition: Callable[[], bool], *, what: str, seconds: float = 20.0) -> None:
    """Wait until ``condition`` holds; fails, naming ``what``, if it never does."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - a condition of the world, not of one event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


async def send_all(call: Any, messages: Iterable[Any]) -> pb.UploadChunksResponse:
    """Send, and answer what the *server* said, which grpc.aio lets the write that it made fail overwrite."""
    stream = UploadStream(call, stall_seconds=20.0)
    with contextlib.suppress(StreamEnded):
        for message in messages:
            await stream.send(message)
    return await stream.answer()


def receipt_keys(store: SimulatedStore, session: str, tenant: str = "default") -> list[str]:
    return store.state.keys(f".sealane/{tenant}/sessions/{session}/receipts/")


async def refused(awaited: Any) -> SealaneError:
    """The domain error that ``awaited`` ends with."""
    try:
        answer = await awaited
    except SealaneError as error:
        return error
    raise AssertionError(f"it was not refused, but answered {answer}")
