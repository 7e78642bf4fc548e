"""One RPC: what its client holds, and what its server does, with a network between that loses and breaks.

A stream of requests is :class:`~tests.simulation.upload_calls.UploadCall`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from tests.simulation.handling import Context, Messages
from tests.simulation.virtual_loop import PROCESS

if TYPE_CHECKING:
    from tests.simulation.wire import Network, ServerEnd

CALL: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)
"""What a task of a server works for."""
KEEPALIVE_SECONDS = 40.0
"""After so long a silence of a peer that stands still, gRPC gives the connection up (sealane.rpc.channel)."""
_END = object()
_CODE = grpc.StatusCode


class Call:
    """One RPC: what the client holds, and what the server does."""

    session_id = ""
    """Of an upload stream, from its header."""
    messages: Messages | None = None
    """Of an upload stream, as its handler gets them."""

    def __init__(
        self,
        network: Network,
        method: str,
        end: ServerEnd | None,
        timeout: float | None,
        metadata: Sequence[Any],
        streams_out: bool,
        deserialize: Callable[[bytes], Any],
    ) -> None:
        self.network = network
        self.method = method
        self.name = method.rpartition("/")[2]
        self.end = end
        self.metadata = metadata
        client = PROCESS.get()
        assert client is not None, "a call by nobody"
        self.client = client
        self.request: bytes | None = None
        self.landings: list[tuple[float, str, str]] = []
        """The store calls made for it that have arrived: when, operation, key."""
        self.children: list[Call] = []
        """Calls to the other service that it has made."""
        parent = CALL.get()
        if parent is not None:
            parent.children.append(self)
        self._streams_out = streams_out
        self._deserialize = deserialize
        self._loop = network.loop
        self._number = network.number()
        self._answer: asyncio.Future[Any] = self._loop.create_future()
        self._answer.add_done_callback(self._left)
        self._incoming: asyncio.Queue[Any] | None = asyncio.Queue() if streams_out else None
        self._task: asyncio.Task[Any] | None = None
        self._timer: Any = None
        self._timeout = timeout
        self._arrives_at = 0.0
        self._callbacks: list[Callable[[Any], None]] = []
        self._status: tuple[grpc.StatusCode, str, Any] = (_CODE.UNKNOWN, "", ())
        self._ended = False
        self.fault = network.world.net_fault(self.client.name, self.name)

    # --- the client's side ---

    def start(self, request: bytes | None) -> None:
        loop, network = self._loop, self.network
        self.request = request
        if self._timeout is not None:
            self._timer = loop.call_later(self._timeout, self._fail, _CODE.DEADLINE_EXCEEDED, "Deadline Exceeded")
        if self.end is None:
            loop.call_later(network.delay(), self._fail, _CODE.UNAVAILABLE, "failed to connect to all addresses")
            return
        server = self.end.process
        # What breaks with either end.
        self.end.calls[self._number] = self
        self.client.ends.append(self._client_gone)
        fault = self.fault
        if network.parted(self.client.name, server.name) or (fault is not None and fault.kind == "lose_request"):
            return  # nothing arrives, and nothing says so, until somebody's patience ends
        self._arrives_at = loop.now + network.delay() + (fault.seconds if fault and fault.kind == "delay" else 0.0)
        loop.world_at(self._arrives_at, self._arrive)
        if fault is not None and fault.kind == "cut":
            loop.world_later(fault.seconds, self.broken, "the connection was reset")

    def __await__(self) -> Any:
        return self._answer.__await__()

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> Any:
        assert self._incoming is not None
        item = await self._incoming.get()
        if item is _END:
            if self._status[0] is not _CODE.OK:
                raise self._error()
            raise StopAsyncIteration
        return self._deserialize(item)

    def done(self) -> bool:
        return self._ended

    def cancel(self) -> bool:
        if self._ended:
            return False
        self._finish(_CODE.CANCELLED, "Locally cancelled by application!", ())
        self._to_server(self._cancel_handler)
        return True

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    async def code(self) -> grpc.StatusCode:
        return self._status[0]

    async def details(self) -> str:
        return self._status[1]

    async def trailing_metadata(self) -> Any:
        return self._status[2]

    def _error(self) -> aio.AioRpcError:
        code, text, trailers = self._status
        return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(*trailers), details=text)

    def _left(self, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled():
            self.cancel()
        else:
            answer.exception()  # it may be that nobody awaits it any more

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        if not self._ended:
            self._finish(code, text, ())
            self._to_server(self._cancel_handler)

    def _finish(self, code: grpc.StatusCode, text: str, trailers: Any, answer: bytes | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._status = (code, text, trailers)
        if self._timer is not None:
            self._timer.cancel()
        if self.end is not None:
            self.end.calls.pop(self._number, None)
            self.client.ends.remove(self._client_gone)
        for callback in self._callbacks:
            callback(self)
        self.ended()
        if self._incoming is not None:
            self._incoming.put_nowait(_END)
            if not self._answer.done():
                self._answer.set_result(None)
        elif not self._answer.done():
            if code is _CODE.OK:
                assert answer is not None
                self._answer.set_result(self._deserialize(answer))
            else:
                self._answer.set_exception(self._error())

    def ended(self) -> None:
        """Nobody waits any more."""

    def _client_gone(self) -> None:
        """The client has crashed: its server hears of it, or its own deadline comes first."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self.end is not None:
            self.end.calls.pop(self._number, None)
        self._to_server(self._cancel_handler)

    def broken(self, why: str) -> None:
        """The connection is gone: each end that is left notices."""
        self._loop.world_later(self.network.delay(), self._finish, _CODE.UNAVAILABLE, f"Socket closed: {why}", ())
        self._to_server(self._cancel_handler)

    # --- the server's side; all in the world's context ---

    def _to_server(self, what: Callable[..., None]) -> None:
        if self.end is not None and not self.end.process.dead:
            self._loop.world_later(self.network.delay(), what)

    def _arrive(self) -> None:
        end = self.end
        assert end is not None
        process = end.process
        if self._ended and self._task is None:
            return  # cancelled before it came
        if process.dead:
            self.broken("connection refused")
            return
        if process.stalled:
            self._loop.world_later(KEEPALIVE_SECONDS, self._silent)
        handler = end.handler(self.method)
        remaining = None
        if self._timeout is not None:
            remaining = max(0.001, self._timeout - self.network.delay())
        context = Context(self, None if remaining is None else process.clock + remaining)
        if self.messages is not None:
            self.messages.deserialize = handler.request_deserializer
            work = handler.stream_unary(self.messages, context)
        elif self._streams_out:
            work = handler.unary_stream(self.request, context)
        else:
            work = handler.unary_unary(self.request, context)
        self._task = process.spawn(self._serve(work, context))

    def _silent(self) -> None:
        if self.end is not None and self.end.process.stalled:
            self.broken("keepalive")

    async def _serve(self, work: Any, context: Context) -> None:
        CALL.set(self)
        began = self._loop.time()
        try:
            answer = await work
        except aio.AbortError:
            self._reply(context.status[0], context.status[1], context.status[2], None)
        except asyncio.CancelledError:
            self._send_back(0.0, self._finish, _CODE.CANCELLED, "", (), None)  # unless its client has left
        else:
            self._reply(_CODE.OK, "", context.trailers, answer)
        finally:
            self.network.world.served(self, context, self._loop.time() - began)

    def _reply(self, code: grpc.StatusCode, text: str, trailers: Any, answer: bytes | None) -> None:
        """The answer leaves the server."""
        world, fault = self.network.world, self.fault
        world.answered(self, code, trailers, answer)
        assert self.end is not None
        if fault is not None and fault.kind == "lose_answer":
            world.faulted("answer lost on the wire")
            self.broken("the answer was lost")
            return
        if self.network.parted(self.client.name, self.end.process.name):
            return
        later = fault.seconds if fault is not None and fault.kind == "delay_answer" else 0.0
        self._send_back(later, self._finish, code, text, trailers, answer)

    def _send_back(self, later: float, what: Callable[..., Any], *arguments: Any) -> None:
        self._arrives_at = max(self._arrives_at, self._loop.now) + self.network.delay() + later
        self._loop.world_at(self._arrives_at, what, *arguments)

    def push(self, message: bytes) -> None:
        """A message of an answer stream leaves the server."""
        if self._incoming is not None:
            self.network.world.told(self, message)
            self._send_back(0.0, self._incoming.put_nowait, message)

    def _cancel_handler(self) -> None:
        loop, rng = self._loop, self.network.rng
        assert self.end is not None
        process = self.end.process
        if process.stalled:  # it goes on for a little before it notices
            process.after_wake.append(lambda: loop.world_later(3.0 * rng.random(), self._cancel_handler))
            return
        if self.messages is not None:
            self.messages.end()
        if self._task is not None:
            loop.world_later(0.01 * rng.random(), self._task.cancel)
