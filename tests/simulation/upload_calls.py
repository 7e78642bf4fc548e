"""A call with a stream of requests: messages on their way, a window, and connections that break in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import grpc

from sealane.v1 import ingest_service_pb2
from tests.simulation.calls import KEEPALIVE_SECONDS, Call
from tests.simulation.handling import Messages

WINDOW = 4
"""Messages of a stream that may be on their way, or unread: flow control."""


class UploadCall(Call):
    """What :class:`~tests.simulation.calls.Call` is for one request, for many of them."""

    messages: Messages

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sent_at = 0.0
        self._on_the_way: deque[bytes] = deque()
        self._room = asyncio.Event()
        self._lost = False
        self.messages = Messages(self._read_one)

    async def write(self, message: bytes) -> None:
        """One message; waits while the window is full."""
        if not self.session_id:
            self.session_id = ingest_service_pb2.UploadChunksRequest.FromString(message).header.session_id
        if self._ended:
            raise asyncio.InvalidStateError("RPC already finished.")
        if self.fault is not None and self.fault.kind == "corrupt" and len(message) > 200:
            self.network.world.faulted("corrupt frame")
            broken = bytearray(message)
            broken[len(message) // 2] ^= 0x10
            message, self.fault = bytes(broken), None
        self._on_the_way.append(message)
        self._sent_at = max(self._sent_at, self._arrives_at, self._loop.now) + self.network.delay()
        self._loop.world_at(self._sent_at, self._pass_on)
        while len(self._on_the_way) + self.messages.unread >= WINDOW and not self._ended:
            self._room.clear()
            await self._room.wait()
        if self.done() and self._status[0] is not grpc.StatusCode.OK:
            raise self._error()

    async def done_writing(self) -> None:
        self._sent_at = max(self._sent_at, self._arrives_at, self._loop.now) + self.network.delay()
        self._loop.world_at(self._sent_at, self._half_closed)

    def ended(self) -> None:
        self._room.set()

    def _pass_on(self) -> None:
        message = self._on_the_way.popleft()
        if self.end is not None and not self._ended and not self._cut_off():
            self.messages.put(message)

    def _half_closed(self) -> None:
        if self.end is not None and not self._cut_off():
            self.messages.end()

    def _cut_off(self) -> bool:
        """Whether a partition has swallowed what was sent: all that follows is lost with it."""
        assert self.end is not None
        if not self._lost and self.network.parted(self.client.name, self.end.process.name):
            self._lost = True
            self._loop.world_later(KEEPALIVE_SECONDS, self.broken, "keepalive")
        return self._lost

    def _read_one(self) -> None:
        """The server has read a message: there is room for another."""
        if not self.client.dead:
            self._loop.world_later(self.network.delay(), self._room.set)
