"""gRPC without sockets: the generated stubs and the real servicers, interceptor and boundary, with a network between.

Messages are serialized both ways, arrive later than they were sent, and in order. What a client meets is what grpc.aio
shows it: an answer, an AioRpcError with the server's status and trailers, UNAVAILABLE where a connection breaks,
DEADLINE_EXCEEDED by its own clock. What a server meets, too: when the client leaves, or its deadline passes, the
request iterator ends **normally** and the handler is cancelled at its next await (measured, house.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from sealane.rpc.channel import request_metadata
from sealane.rpc.interceptors import CallInterceptor
from tests.simulation.calls import Call
from tests.simulation.upload_calls import UploadCall
from tests.simulation.virtual_loop import Loop, Process

if TYPE_CHECKING:
    from tests.simulation.world import World


class ServerEnd:
    """A replica as the network sees it: the handlers that its servicer registers, behind the real interceptor.

    ``register`` is called with this when the first call comes: to many a replica none does.
    """

    def __init__(
        self, network: Network, process: Process, interceptor: CallInterceptor, register: Callable[[Any], None]
    ) -> None:
        self.process = process
        self.calls: dict[int, Call] = {}
        self._interceptor = interceptor
        self._register = register
        self._bare: dict[str, grpc.RpcMethodHandler] = {}
        self._wrapped: dict[str, grpc.RpcMethodHandler] = {}
        process.ends.append(self._crashed)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Part of grpc.aio.Server: the registered ones are enough."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Part of grpc.aio.Server."""
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._bare[method] = handler

    def handler(self, method: str) -> grpc.RpcMethodHandler:
        """The handler within the interceptor and the boundary."""
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            if not self._bare:
                self._register(self)
            wrapped = self._wrapped[method] = self._interceptor._wrap(self._bare[method], method)
        return wrapped

    def _crashed(self) -> None:
        for call in list(self.calls.values()):
            call.broken("the server is gone")


class Network:
    """Who reaches whom. ``ends`` are the replicas' by name; a target names a service, and its calls take turns."""

    def __init__(self, world: World, loop: Loop, rng: random.Random) -> None:
        self.world = world
        self.loop = loop
        self.rng = rng
        self.ends: dict[str, ServerEnd] = {}
        self.cuts: list[tuple[str, str, float, float]] = []
        """Partitions: (who, whom, from, until); whose names begin so can't hear each other."""
        self.faults: list[Any] = []
        self._serial = 0

    def channel(self, target: str, **options: Any) -> Channel:
        """In place of :func:`sealane.rpc.channel.channel`."""
        return Channel(self, target)

    def parted(self, one: str, other: str) -> bool:
        if not self.cuts:
            return False
        now = self.loop.now
        return any(
            begin <= now < end
            and ((one.startswith(a) and other.startswith(b)) or (one.startswith(b) and other.startswith(a)))
            for a, b, begin, end in self.cuts
        )

    def pick(self, target: str, turn: int) -> ServerEnd | None:
        """The replica whose turn it is, of those that accept connections."""
        there = [end for name, end in self.ends.items() if name.startswith(target) and not end.process.dead]
        return there[turn % len(there)] if there else None

    def delay(self) -> float:
        return 0.0005 + self.rng.random() * 0.005

    def number(self) -> int:
        self._serial += 1
        return self._serial


class Channel:
    """As much of grpc.aio.Channel as stubs and the client use."""

    def __init__(self, network: Network, target: str) -> None:
        self.network = network
        self._target = target
        self._turn = network.rng.randrange(2)

    def unary_unary(self, method: str, **kinds: Any) -> Method:
        return Method(self, method, False, False, **kinds)

    def unary_stream(self, method: str, **kinds: Any) -> Method:
        return Method(self, method, False, True, **kinds)

    def stream_unary(self, method: str, **kinds: Any) -> Method:
        return Method(self, method, True, False, **kinds)

    def next_end(self) -> ServerEnd | None:
        """Whose turn it is."""
        self._turn += 1
        return self.network.pick(self._target, self._turn)

    async def close(self) -> None:
        """Calls end with their callers here."""


class Method:
    """A multicallable. A stub makes one for each method of its service, and calls few of them: they hold little."""

    __slots__ = ("channel", "deserialize", "method", "serialize", "streams_in", "streams_out")

    def __init__(
        self,
        channel: Channel,
        method: str,
        streams_in: bool,
        streams_out: bool,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool = False,
    ) -> None:
        self.channel = channel
        self.method = method
        self.streams_in = streams_in
        self.streams_out = streams_out
        self.serialize = request_serializer
        self.deserialize = response_deserializer

    def __call__(self, request: Any = None, *, timeout: float | None = None, metadata: Sequence[Any] = ()) -> Call:
        channel = self.channel
        end = channel.next_end()
        metadata = tuple(metadata) or request_metadata()
        kind = UploadCall if self.streams_in else Call
        call = kind(channel.network, self.method, end, timeout, metadata, self.streams_out, self.deserialize)
        call.start(None if self.streams_in else self.serialize(request))
        return call
