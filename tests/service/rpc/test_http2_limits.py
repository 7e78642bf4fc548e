"""What a client may not do to a connection, seen on the wire itself: frames of HTTP/2, by hand."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc import aio
from tiny_server import Served
from tiny_service import call

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE, _MAX_HEADER_LIST_SIZE = 3, 4, 6
_ENHANCE_YOUR_CALM = 11


def _frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


async def _next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(9)
    return head[3], await reader.readexactly(int.from_bytes(head[:3], "big"))


@asynccontextmanager
async def _connection(target: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_PREFACE + _frame(_SETTINGS))
        yield reader, writer
    finally:
        writer.close()


async def test_a_client_that_pings_all_the_time_is_sent_away(served: Served) -> None:
    """Keepalive enforcement: a ping each 20 s is allowed, and three too many."""
    async with _connection(served.target) as (reader, writer):
        # In one write: the server closes after the fourth, and what is written after that ends the reading, too.
        writer.write(b"".join(_frame(_PING, number.to_bytes(8, "big")) for number in range(10)))
        while (frame := await _next_frame(reader))[0] != _GOAWAY:
            pass
    code, text = struct.unpack(">I", frame[1][4:8])[0], frame[1][8:]
    assert (code, text) == (_ENHANCE_YOUR_CALM, b"too_many_pings")


async def test_a_connection_is_told_how_many_calls_it_may_have_and_how_far_it_may_send_ahead(served: Served) -> None:
    async with _connection(served.target) as (reader, _):
        kind, payload = await _next_frame(reader)
    assert kind == _SETTINGS
    told = dict(struct.iter_unpack(">HI", payload))
    assert told[_MAX_CONCURRENT_STREAMS] == 100
    assert told[_INITIAL_WINDOW_SIZE] <= 1 << 20
    assert told[_MAX_HEADER_LIST_SIZE] <= 16 << 10


async def test_oversized_metadata_is_refused_before_any_handler(served: Served) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await call(served.channel, "UnaryUnary", ["hello"], metadata=[("x-large", "a" * (17 << 10))])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not served.tiny.entered.is_set()
    assert (await call(served.channel, "UnaryUnary", ["plain"]))[0] == ["plain"]
