"""One UploadChunks call: what the server said is what the client hears, however the call ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio

from sealane.client.backoff import BackoffPolicy
from sealane.client.connections import Connections
from sealane.client.credentials import Credentials
from sealane.client.errors import ChunkConflict, DeadlineExceeded, PeerUnavailable, SealaneError, translate
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.rpc.status import to_status
from sealane.v1 import ingest_service_pb2 as pb

MiB = 1 << 20
Behaviour = Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]


@asynccontextmanager
async def stream_to(behaviour: Behaviour) -> AsyncIterator[Callable[..., UploadStream]]:
    """A server that does only this with an upload stream, and a maker of streams to it."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.stream_unary_rpc_method_handler(behaviour)

    server = aio.server(options=[("grpc.max_receive_message_length", 2 * MiB)])
    server.add_generic_rpc_handlers((Handler(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    connections = Connections(
        address, address, tls=None, credentials=Credentials((), None), policy=BackoffPolicy(), rng=random.Random(1)
    )
    try:
        yield lambda stall=20.0: connections.upload_stream(0, seconds=30, stall_seconds=stall, request_id="r")
    finally:
        await connections.close()
        await server.stop(0)


async def outcome(stream: UploadStream, messages: int = 30) -> pb.UploadChunksResponse | SealaneError:
    """Send until the server has had enough."""
    body = bytes(MiB)
    try:
        try:
            for _ in range(messages):
                await stream.send(body)
        except StreamEnded:
            pass
        return await stream.answer()
    except SealaneError as error:
        return error
    finally:
        stream.cancel()


async def test_the_servers_reason_survives_the_write_that_it_made_fail() -> None:
    """grpc.aio shows "Internal error from Core" in its place, now and then."""
    conflict = to_status(ChunkConflict.of(3, stored=b"a" * 32, sent=b"b" * 32))

    async def refuse(messages: AsyncIterator[bytes], context: Any) -> bytes:
        await anext(messages)
        await anext(messages)
        await context.abort(*conflict)
        raise AssertionError("abort raises")

    async with stream_to(refuse) as stream:
        answers = [await outcome(stream()) for _ in range(60)]
    assert {type(answer) for answer in answers} == {ChunkConflict}
    assert {answer.chunks[0].index for answer in answers if isinstance(answer, ChunkConflict)} == {3}


async def test_an_answer_before_the_streams_end_is_an_answer() -> None:
    async def early(messages: AsyncIterator[bytes], context: Any) -> bytes:
        await anext(messages)
        return pb.UploadChunksResponse(chunks=[pb.ChunkResult(chunk_index=7)]).SerializeToString()

    async with stream_to(early) as stream:
        answers = [await outcome(stream()) for _ in range(20)]
    assert [a.chunks[0].chunk_index for a in answers if isinstance(a, pb.UploadChunksResponse)] == [7] * 20


async def test_a_server_that_takes_nothing_is_left() -> None:
    async def sleep(messages: AsyncIterator[bytes], context: Any) -> bytes:
        await anext(messages)
        await asyncio.Event().wait()
        return b""

    async with stream_to(sleep) as stream:
        answer = await outcome(stream(0.3))
    assert isinstance(answer, DeadlineExceeded)
    assert "took nothing" in answer.message


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused", "PEER_UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, "CANCELLED", "PEER_UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", "PEER_UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", "PEER_UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "Exception serializing request!", "INTERNAL"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "frame too large", "INTERNAL"),
        (grpc.StatusCode.UNIMPLEMENTED, "", "UNIMPLEMENTED"),
    ],
)
def test_what_only_broke_on_the_way_is_worth_another_try(code: grpc.StatusCode, text: str, expected: str) -> None:
    error = translate(aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details=text))
    assert error.reason.value == expected
    assert isinstance(error, PeerUnavailable) == (expected == "PEER_UNAVAILABLE")
