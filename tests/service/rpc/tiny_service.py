"""The smallest service that has every kind of handler: what the interceptors are tried on.

Requests and answers are StringValue. The text of a request says what the handler shall do (:data:`DEEDS`); a name that
is no deed is echoed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from structlog.contextvars import bind_contextvars

from sealane.domain.errors import SessionNotFound
from sealane.identity.caller import USER_ROLES
from sealane.rpc.call import Call, this_call
from sealane.store import port

SERVICE = "tiny.Tiny"
SECRET = "hunter2 at 10.0.0.1"

Deed = Callable[[Any], Awaitable[Any]]


async def _refuse(context: Any) -> None:
    raise SessionNotFound(private=SECRET)


async def _crash(context: Any) -> None:
    raise ValueError(SECRET)


async def _crash_in_a_group(context: Any) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        group.create_task(fail(SessionNotFound(private=SECRET)))
        group.create_task(fail(KeyError(SECRET)))


async def _refuse_in_a_group(context: Any) -> None:
    async def fail() -> None:
        raise SessionNotFound(private=SECRET)

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


async def _forbidden(context: Any) -> None:
    raise port.AccessDenied(SECRET)


async def _cut(context: Any) -> None:
    raise port.OutcomeUnknown(SECRET)


async def _hang(context: Any) -> None:
    await asyncio.Event().wait()


async def _time_out_within(context: Any) -> None:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


async def _abort(context: Any) -> None:
    await context.abort(grpc.StatusCode.ABORTED, "by hand")


async def _nonsense(context: Any) -> Any:
    return 17  # no StringValue


DEEDS: dict[str, Deed] = {
    "refuse": _refuse,
    "crash": _crash,
    "crash in a group": _crash_in_a_group,
    "refuse in a group": _refuse_in_a_group,
    "forbidden": _forbidden,
    "cut": _cut,
    "hang": _hang,
    "time out within": _time_out_within,
    "abort": _abort,
    "nonsense": _nonsense,
}


class Tiny:
    """``calls`` has the Call of each handler that ran; ``cancelled`` is set when one was cancelled."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.closed = asyncio.Event()

    async def _do(self, request: StringValue, context: Any) -> Any:
        self.calls.append(this_call())
        bind_contextvars(session_id="s-1")
        self.entered.set()
        deed = DEEDS.get(request.value)
        try:
            answer = None if deed is None else await deed(context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return StringValue(value=request.value) if answer is None else answer

    async def unary_unary(self, request: StringValue, context: Any) -> Any:
        return await self._do(request, context)

    async def unary_stream(self, request: StringValue, context: Any) -> AsyncIterator[Any]:
        try:
            yield await self._do(request, context)
        finally:
            self.closed.set()

    async def unary_write(self, request: StringValue, context: Any) -> None:
        await context.write(await self._do(request, context))

    async def stream_unary(self, requests: AsyncIterator[StringValue], context: Any) -> Any:
        answer: Any = StringValue()
        async for request in requests:
            answer = await self._do(request, context)
        return answer

    async def stream_stream(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield await self._do(request, context)

    async def stream_write(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not aio.EOF:
            await context.write(await self._do(request, context))

    async def GetServerInfo(self, request: StringValue, context: Any) -> Any:  # noqa: N802 - a method of the wire
        return await self._do(request, context)

    def register(self, server: aio.Server) -> None:
        makers = {
            "UnaryUnary": (grpc.unary_unary_rpc_method_handler, self.unary_unary),
            "UnaryStream": (grpc.unary_stream_rpc_method_handler, self.unary_stream),
            "UnaryWrite": (grpc.unary_stream_rpc_method_handler, self.unary_write),
            "StreamUnary": (grpc.stream_unary_rpc_method_handler, self.stream_unary),
            "StreamStream": (grpc.stream_stream_rpc_method_handler, self.stream_stream),
            "StreamWrite": (grpc.stream_stream_rpc_method_handler, self.stream_write),
            "GetServerInfo": (grpc.unary_unary_rpc_method_handler, self.GetServerInfo),
        }
        handlers = {
            name: make(
                behaviour,
                request_deserializer=StringValue.FromString,
                response_serializer=StringValue.SerializeToString,
            )
            for name, (make, behaviour) in makers.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


METHODS = ("UnaryUnary", "UnaryStream", "UnaryWrite", "StreamUnary", "StreamStream", "StreamWrite")
RULES = {f"/{SERVICE}/{method}": USER_ROLES for method in (*METHODS, "GetServerInfo")}
"""Whoever is of a tenant may call everything."""


async def call(
    channel: aio.Channel, method: str, messages: str | Sequence[str | bytes], **options: Any
) -> tuple[list[str], Any]:
    """Call ``method`` with ``messages`` (bytes go out as they are); answer the texts that came back, and the call.

    Raises AioRpcError. ``options`` go to the call: timeout, metadata, compression.
    """
    streams_in = method.startswith("Stream")
    streams_out = not method.endswith("Unary") and method != "GetServerInfo"
    make = getattr(channel, f"{'stream' if streams_in else 'unary'}_{'stream' if streams_out else 'unary'}")
    stub = make(
        f"/{SERVICE}/{method}",
        request_serializer=lambda m: m if isinstance(m, bytes) else StringValue(value=m).SerializeToString(),
        response_deserializer=StringValue.FromString,
    )
    outgoing = [messages] if isinstance(messages, str | bytes) else list(messages)

    async def stream() -> AsyncIterator[str | bytes]:
        for message in outgoing:
            yield message

    running = stub(stream() if streams_in else outgoing[0], **options)
    if streams_out:
        return [answer.value async for answer in running], running
    return [(await running).value], running
