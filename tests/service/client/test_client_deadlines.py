"""How long the client lets a call take: what the server is told, and when a silent one is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from client_world import KIB, TINY_FRAMES, world
from grpc import aio

from ingest_service.settings import IngestSettings
from sealane.client import BackoffPolicy, Client, StreamOptions, streams, verification
from sealane.client.connections import Connections
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1 import assembly_service_pb2_grpc


class Scripted(assembly_service_pb2_grpc.AssemblyServiceServicer):
    """Says nothing more after the first message of the first verification; notes the deadlines of all calls."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def VerifyObject(self, request: Any, context: Any) -> AsyncIterator[pb.VerifyObjectResponse]:  # noqa: N802 - gRPC's
        self.seconds.append(context.time_remaining())
        yield pb.VerifyObjectResponse(bytes_read=1, size=5)
        if len(self.seconds) == 1:
            await asyncio.get_running_loop().create_future()
        yield pb.VerifyObjectResponse(bytes_read=5, size=5, verified=True, blake3=bytes(32))

    async def CommitSession(self, request: Any, context: Any) -> pb.CommitSessionResponse:  # noqa: N802 - gRPC's
        self.seconds.append(context.time_remaining())
        response = pb.CommitSessionResponse()
        response.committed_object.size = request.size
        response.committed_object.blake3 = request.blake3
        response.committed_object.commit_time.GetCurrentTime()
        return response

    async def VerifySession(self, request: Any, context: Any) -> pb.VerifySessionResponse:  # noqa: N802 - gRPC's
        self.seconds.append(context.time_remaining())
        return pb.VerifySessionResponse(state="SESSION_STATE_OPEN", size=request.size, blake3=request.blake3)


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, Client]]:
    servicer, server = Scripted(), aio.server()
    assembly_service_pb2_grpc.add_AssemblyServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]  # generated
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with Client(address, address, backoff=BackoffPolicy(0.01, 0.05), rng=random.Random(1)) as client:
            yield servicer, client
    finally:
        await server.stop(0)


async def test_reading_an_object_back_takes_as_long_as_it_takes_unless_the_server_falls_silent(
    scripted: tuple[Scripted, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "VERIFY_STALL_SECONDS", 0.3)
    servicer, client = scripted
    verified = await asyncio.wait_for(client.verify_object("0" * 32), 20)
    assert verified.size == 5
    assert len(servicer.seconds) == 2
    assert min(servicer.seconds) > 12 * 3600


@pytest.mark.parametrize("call", ["commit_session", "verify_session"])
async def test_a_commit_and_its_rehearsal_may_use_the_callers_time(
    scripted: tuple[Scripted, Client], call: str
) -> None:
    servicer, client = scripted
    await getattr(client, call)("0" * 32, chunk_count=0, size=0, blake3=blake3(b"").digest(), timeout=200)
    assert servicer.seconds[0] > 100


def test_a_stream_has_time_for_a_chunk_on_the_slowest_line_that_ingest_bears() -> None:
    """A chunk that can't land within one stream never lands: every stream sends it from its first byte."""
    floor = IngestSettings.model_fields["stream_min_rate"].default
    for chunk_size in (1 << 20, 64 << 20, 512 << 20):
        assert StreamOptions().seconds(chunk_size) > chunk_size / floor
    assert StreamOptions().seconds(1 << 20) == 1800
    assert StreamOptions(stream_seconds=5).seconds(64 << 20) == 5


async def test_every_stream_is_opened_with_the_deadline_that_its_chunk_size_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SLOWEST_BYTES_PER_SECOND", 1)
    deadlines: list[float] = []
    opened = Connections.upload_stream

    def upload_stream(self: Connections, lane: int, *, seconds: float, **rest: Any) -> Any:
        deadlines.append(seconds)
        return opened(self, lane, seconds=seconds, **rest)

    monkeypatch.setattr(Connections, "upload_stream", upload_stream)
    async with world(tmp_path) as here, here.client() as client:
        await client.upload(bytes(8 * KIB), filename="a", chunk_size=8 * KIB, stream_options=TINY_FRAMES)
    assert deadlines == [60 + 1.1 * 8 * KIB]
