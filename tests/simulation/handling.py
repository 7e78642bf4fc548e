"""What a handler gets of a call: the messages of its stream, and its context."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

if TYPE_CHECKING:
    from tests.simulation.calls import Call


class Messages:
    """The request iterator of a stream, as a handler gets it."""

    def __init__(self, read_one: Callable[[], None]) -> None:
        self._read_one = read_one
        self._ready: deque[bytes] = deque()
        self._closed = False
        self._waiting: asyncio.Future[None] | None = None
        self.deserialize: Callable[[bytes], Any] = bytes

    @property
    def unread(self) -> int:
        return len(self._ready)

    def put(self, message: bytes) -> None:
        if not self._closed:
            self._ready.append(message)
            self._wake()

    def end(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._closed:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        message = self._ready.popleft()
        self._read_one()
        return self.deserialize(message)


class Context:
    """As much of grpc.aio.ServicerContext as the interceptor and the boundary use."""

    def __init__(self, call: Call, until: float | None) -> None:
        self._call = call
        self._until = until
        self.trailers: Any = ()
        self.status: tuple[grpc.StatusCode, str, Any] = (grpc.StatusCode.OK, "", ())

    def peer(self) -> str:
        return self._call.client.name

    def auth_context(self) -> dict[str, Any]:
        """What TLS would have verified."""
        return {"name": [self._call.client.name.encode()]}

    def invocation_metadata(self) -> Sequence[Any]:
        return self._call.metadata

    def set_trailing_metadata(self, trailers: Any) -> None:
        self.trailers = trailers

    def time_remaining(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - asyncio.get_running_loop().time())

    def code(self) -> grpc.StatusCode:
        return self.status[0]

    def cancelled(self) -> bool:
        return False

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> None:
        self.status = (code, details, trailing_metadata)
        raise aio.AbortError

    async def write(self, message: Any) -> None:
        self._call.push(message.SerializeToString())
        await asyncio.sleep(0)
