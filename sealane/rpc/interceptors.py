"""What happens to every call before its servicer sees it: identity, deadline, drain, and the boundary around it all.

One interceptor, in this order: a request id; the boundary; refuse while draining or before the store is proven; who
asks, and may they; until when. Calls of gRPC's own services (health, reflection) pass by.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from grpc import aio
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.stdlib import BoundLogger

from sealane.domain.errors import Draining, InvalidRequest, InvalidStream, StoreUnavailable
from sealane.domain.ids import Entropy, Tenant
from sealane.identity.access import RULES, Rules, require
from sealane.identity.caller import Identity, Metadata, Presented, Role, standing
from sealane.rpc.boundary import Boundary, Counters, parsing
from sealane.rpc.call import Call, enter_call, this_call
from sealane.rpc.observation import CallObserver
from sealane.rpc.status import REQUEST_ID_KEY
from sealane.store.deadline import Deadline

T = TypeVar("T")
Context: TypeAlias = Any
"""A ``grpc.aio.ServicerContext``; grpc has no types."""

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_OPEN_BEFORE_VERDICT = frozenset({"GetServerInfo"})
"""Methods answered before the store's probe has a verdict: they are how one asks for it."""


class TimeoutSettings(Protocol):
    """Seconds; see :class:`sealane.config.CommonSettings`."""

    @property
    def default_timeout(self) -> float: ...
    @property
    def max_timeout(self) -> float: ...
    @property
    def max_stream_timeout(self) -> float: ...


class Gate(Protocol):
    """Whether the store has been proven; see :class:`sealane.store.gate.ProbeGate`."""

    @property
    def accepted(self) -> bool: ...


class Rates(Protocol):
    """Who calls too often; see :class:`sealane.rpc.rates.RequestRates`."""

    def admit(self, tenant: Tenant) -> None: ...


def server_interceptors(
    *,
    identity: Identity,
    settings: TimeoutSettings,
    log: BoundLogger,
    counters: Counters,
    drain: asyncio.Event | None = None,
    gate: Gate | None = None,
    rules: Rules = RULES,
    observer: CallObserver | None = None,
    rates: Rates | None = None,
    entropy: Entropy = os.urandom,  # noqa: TID251 - ids of calls; no simulation runs a gRPC server
) -> Sequence[aio.ServerInterceptor]:
    """The whole chain for ``grpc.aio.server(interceptors=…)``.

    Once ``drain`` is set, new calls get UNAVAILABLE DRAINING; until ``gate`` accepts the store, UNAVAILABLE
    STORE_UNAVAILABLE, for nothing may be promised on a store that may lie.
    """
    boundary = Boundary(log=log, counters=counters, entropy=entropy, observer=observer)
    return [CallInterceptor(boundary, identity, settings, drain, gate, entropy, rules, rates)]


def call_deadline(remaining: float | None, *, default: float, maximum: float) -> Deadline:
    """The handler's deadline: the caller's or ``default``, at most ``maximum`` seconds from now.

    A little before the caller's own, so that our answer with its reason still arrives before gRPC's without one.
    """
    if remaining is None:
        return Deadline.after(min(default, maximum))
    return Deadline.after(min(remaining - min(0.1 * remaining, 0.25), maximum))


class CallInterceptor(aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """See the module's text. It works for all four kinds of handlers, written as coroutines or as generators."""

    def __init__(
        self,
        boundary: Boundary,
        identity: Identity,
        settings: TimeoutSettings,
        drain: asyncio.Event | None,
        gate: Gate | None,
        entropy: Entropy,
        rules: Rules = RULES,
        rates: Rates | None = None,
    ) -> None:
        self._boundary = boundary
        self._identity = identity
        self._settings = settings
        self._drain = drain
        self._gate = gate
        self._entropy = entropy
        self._rules = rules
        self._rates = rates

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            return handler
        return self._wrap(handler, method)

    def _wrap(self, handler: grpc.RpcMethodHandler, method: str) -> grpc.RpcMethodHandler:
        """The same handler inside of the boundary, parsing of the request and serializing of the answer included.

        A unary request is parsed here, as a parser's exception would pass us by as text on the wire; the messages of
        a stream are parsed inside of the handler's own await, so there the handler's deserializer stays in its place.
        """
        streaming = handler.request_streaming or handler.response_streaming
        behaviour = _behaviour(handler)
        parse = parsing(handler.request_deserializer, _malformed_request)

        def arguments(request: Any) -> Any:
            return request if handler.request_streaming else parse(request)

        serialize: Callable[[Any], bytes] = handler.response_serializer or bytes

        async def unary(request: Any, context: Context) -> bytes:
            async def work() -> bytes:
                return serialize(await behaviour(arguments(request), context))

            return await self._run(method, context, streaming, work)

        async def stream(request: Any, context: Context) -> None:
            async def work() -> None:
                answers = behaviour(arguments(request), context)
                if isinstance(answers, AsyncIterable):
                    await _write_all(answers, context)
                else:  # a coroutine, which calls context.write() by itself
                    await answers

            await self._run(method, context, streaming, work)

        requests = parsing(handler.request_deserializer, _malformed_message) if handler.request_streaming else None
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if requests else grpc.unary_stream_rpc_method_handler
            return make(stream, request_deserializer=requests, response_serializer=handler.response_serializer)
        make = grpc.stream_unary_rpc_method_handler if requests else grpc.unary_unary_rpc_method_handler
        return make(unary, request_deserializer=requests, response_serializer=None)

    async def _run(self, method: str, context: Context, streaming: bool, work: Callable[[], Awaitable[T]]) -> T:
        metadata = context.invocation_metadata() or ()
        request_id = self._request_id(metadata)
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))

        async def admitted() -> T:
            self._admit(method)
            longest = self._settings.max_stream_timeout if streaming else self._settings.max_timeout
            default = longest if streaming else self._settings.default_timeout
            deadline = call_deadline(context.time_remaining(), default=default, maximum=longest)
            async with asyncio.timeout_at(deadline.at):
                enter_call(await self._identified(method, metadata, context, request_id, deadline))
                return await work()

        return await self._boundary.run(context, method, request_id, admitted)

    async def _identified(
        self, method: str, metadata: Metadata, context: Context, request_id: str, deadline: Deadline
    ) -> Call:
        """The call, once its caller is known and may make it."""
        caller = await self._identity(Presented(metadata, context.auth_context()))
        bind_contextvars(subject=caller.subject)
        tenant, roles = standing(caller, metadata)
        bind_contextvars(tenant=tenant)
        require(self._rules, method, roles)
        if self._rates is not None and Role.SERVICE not in roles:  # what a service asks, its own caller has paid for
            self._rates.admit(tenant)
        return Call(method, tenant, caller.subject, request_id, deadline, roles, caller.recheck)

    def _admit(self, method: str) -> None:
        if self._drain is not None and self._drain.is_set():
            raise Draining
        if self._gate is not None and not self._gate.accepted and method.rpartition("/")[2] not in _OPEN_BEFORE_VERDICT:
            raise StoreUnavailable("The object store has not been proven yet. Nothing is lost: repeat the request.")

    def _request_id(self, metadata: Metadata) -> str:
        for key, value in metadata:
            if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
                return value
        return self._entropy(8).hex()


def _behaviour(handler: grpc.RpcMethodHandler) -> Callable[[Any, Context], Any]:
    kinds = {
        (False, False): handler.unary_unary,
        (False, True): handler.unary_stream,
        (True, False): handler.stream_unary,
        (True, True): handler.stream_stream,
    }
    return kinds[bool(handler.request_streaming), bool(handler.response_streaming)]  # type: ignore[no-any-return]


async def _write_all(answers: AsyncIterable[Any], context: Context) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if hasattr(answers, "aclose"):  # a generator ends with its call, not whenever it is collected
            stack.push_async_callback(answers.aclose)
        async for answer in answers:
            this_call().recheck()  # a stream may outlive the credentials that opened it
            await context.write(answer)


def _malformed_request() -> InvalidRequest:
    return InvalidRequest("The request is not a message of this method.")


def _malformed_message() -> InvalidStream:
    return InvalidStream("A message of the stream is not one of this method.")
