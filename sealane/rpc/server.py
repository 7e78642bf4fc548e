"""A gRPC server with manners: reflection, health on a port of its own, and a drain.

The first SIGTERM or SIGINT makes the replica not ready, refuses new calls, and gives those in hand
``settings.drain_seconds``; the second one ends the process at once (after tusd's ``serve.go``).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1 import health_pb2 as health_protos
from grpc_reflection.v1alpha import reflection

from sealane.logs import get_logger
from sealane.rpc.health import DRAIN, Readiness, report
from sealane.rpc.tls import ServerTls
from sealane.store.gate import StoreRefused

KiB, MiB = 1 << 10, 1 << 20
MAX_FRAME_MESSAGE_BYTES = 1 * MiB + 64 * KiB
"""What ingest receives: a frame of 1 MiB with its envelope, and little more, as a guard."""
MAX_MESSAGE_BYTES = 4 * MiB
"""gRPC's default."""

EXIT_OK, EXIT_FAILED, EXIT_STORE_REFUSED, EXIT_SECOND_SIGNAL = 0, 1, 3, 130

_LAST_WORDS_SECONDS = 5.0
"""Background work has this long to end after it is cancelled."""

_log = get_logger(__name__)


class ServerSettings(Protocol):
    """See :class:`sealane.config.CommonSettings`."""

    @property
    def listen(self) -> str: ...
    @property
    def health_listen(self) -> str: ...
    @property
    def drain_seconds(self) -> float: ...
    @property
    def max_concurrent_streams(self) -> int: ...
    @property
    def max_connection_age(self) -> float: ...
    @property
    def max_stream_timeout(self) -> float: ...


def age_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Channel arguments that end a connection in good order when it is old: gRPC adds a tenth of jitter."""
    return [
        # Whoever connects anew meets new certificates, shows its own again, and finds new replicas.
        ("grpc.max_connection_age_ms", int(settings.max_connection_age * 1000)),
        # Calls in hand go on as long as a call may.
        ("grpc.max_connection_age_grace_ms", int(settings.max_stream_timeout * 1000)),
    ]


def server_options(max_concurrent_streams: int, max_message_bytes: int) -> list[tuple[str, int]]:
    """Channel arguments of the server, each with its reason (figures: docs/architecture.md)."""
    return [
        # By default two servers share a port silently, each getting some of the calls.
        ("grpc.so_reuseport", 0),
        # Identity only: content is often compressed already, and a small message could unpack to gigabytes.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_concurrent_streams", max_concurrent_streams),
        # What a stream that is not being read may have sent: measured, 3 MiB instead of 10. Left to itself, gRPC widens
        # the window for as long as the line is fast, and on a fast line four held streams kept 150 MiB (I13).
        ("grpc.http2.lookahead_bytes", 1 * MiB),
        ("grpc.http2.bdp_probe", 0),
        # Metadata is a few names: above 8 KiB a call may be refused, above 16 KiB it is.
        ("grpc.max_metadata_size", 8 * KiB),
        ("grpc.absolute_max_metadata_size", 16 * KiB),
        # A client that is gone without a word frees its stream and its memory within 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Our channels ping every 30 s, also while a stream is silent; whoever pings much more often is cut off.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.http2.max_ping_strikes", 3),
    ]


async def serve(
    *,
    name: str,
    settings: ServerSettings,
    register: Callable[[aio.Server], None],
    service_names: Sequence[str],
    interceptors: Sequence[aio.ServerInterceptor],
    readiness: Readiness,
    drain: asyncio.Event,
    background: Sequence[Coroutine[Any, Any, Any]] = (),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    tls: ServerTls | None = None,
    on_serving: Callable[[str, str], None] | None = None,
) -> int:
    """Serve until a signal (or until somebody sets ``drain``); answer the process's exit code.

    ``background`` runs beside it in one scope; each may return, but if one fails the whole process ends:
    :class:`~sealane.store.gate.StoreRefused` with code 3, anything else with 1. ``tls`` None: plaintext, as health
    always is. ``on_serving`` gets the addresses of gRPC and of health once both listen.
    """
    scope = asyncio.create_task(_run_all(background), name=f"{name} background")
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                health_address = await stack.enter_async_context(_health_server(settings, readiness, service_names))
                server = aio.server(
                    interceptors=tuple(interceptors),
                    options=[
                        *server_options(settings.max_concurrent_streams, max_message_bytes),
                        *age_options(settings),
                    ],
                )
                register(server)
                reflection.enable_server_reflection((*service_names, reflection.SERVICE_NAME), server)
                address = _listen(server, settings.listen, tls.credentials() if tls else None)
            except OSError as error:
                _log.error("cannot_listen", detail=str(error))
                return EXIT_FAILED
            stack.enter_context(_signals(readiness, drain))
            await server.start()
            _log.info("serving", name=name, address=address, health_address=health_address, tls=tls is not None)
            if on_serving is not None:
                on_serving(address, health_address)
            try:
                code = await _until_drain(scope, drain)
                readiness.set(False, "draining", of=DRAIN)
                drain.set()  # for those who wait for it, if it is a failure that ends us
                await _stop(server, settings.drain_seconds if code == EXIT_OK else 0.0)
            finally:
                await server.stop(0)
            _log.info("stopped", name=name, exit_code=code)
            return code
    finally:
        await _end(scope)
        for coroutine in background:
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:  # cancelled before it could start
                coroutine.close()


async def _run_all(coroutines: Sequence[Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


async def _until_drain(scope: asyncio.Task[None], drain: asyncio.Event) -> int:
    """Wait for the drain, or for the background to fail; answer the exit code."""
    asked = asyncio.create_task(drain.wait(), name="drain asked for")
    try:
        await asyncio.wait({asked, scope}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done() and not scope.cancelled() and scope.exception() is None:
            await asked  # all of the background is done: nothing to watch any more
    finally:
        asked.cancel()
    failure = scope.exception() if scope.done() and not scope.cancelled() else None
    if failure is None:
        return EXIT_OK
    refused = _find(failure, StoreRefused)
    if refused is not None:
        _log.error("store_refused", alarm=True, detail=str(refused))
        return EXIT_STORE_REFUSED
    _log.error("background_failed", alarm=True, exc_info=failure)
    return EXIT_FAILED


def _find(failure: BaseException, kind: type[StoreRefused]) -> StoreRefused | None:
    if isinstance(failure, kind):
        return failure
    if isinstance(failure, BaseExceptionGroup):
        return next((found for leaf in failure.exceptions if (found := _find(leaf, kind)) is not None), None)
    return None


async def _stop(server: aio.Server, grace: float) -> None:
    """Refuse new connections at once, wait ``grace`` seconds for calls in hand, cut the others off."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await server.stop(grace)
    elapsed = loop.time() - started
    _log.info("drained" if elapsed < grace else "drain_cut_off", seconds=round(elapsed, 3))


async def _end(scope: asyncio.Task[None]) -> None:
    """Cancel the background and wait for it, for a while."""
    scope.cancel()
    done, _ = await asyncio.wait({scope}, timeout=_LAST_WORDS_SECONDS)
    if not done:
        _log.error("background_stuck", alarm=True)
    elif not scope.cancelled():
        scope.exception()  # said already, or of the way down


def _listen(server: aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> str:
    """Bind; answer the address with its real port. OSError naming the address if it can't be had."""
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:  # what grpc raises
        raise OSError(f"can't listen on {address}: {error}") from error
    return f"{address.rpartition(':')[0]}:{port}"


@contextlib.asynccontextmanager
async def _health_server(
    settings: ServerSettings, readiness: Readiness, service_names: Sequence[str]
) -> AsyncIterator[str]:
    """grpc.health.v1 by itself: a probe must get through when every stream of the service is taken."""
    server = aio.server(options=server_options(max_concurrent_streams=100, max_message_bytes=64 * KiB))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    service = health_protos.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((service, reflection.SERVICE_NAME), server)
    address = _listen(server, settings.health_listen)
    reporter = asyncio.create_task(report(readiness, servicer, service_names), name="health")
    await server.start()
    try:
        yield address
    finally:
        reporter.cancel()
        await server.stop(0)


@contextlib.contextmanager
def _signals(readiness: Readiness, drain: asyncio.Event) -> Iterator[None]:
    """The first signal drains, the second one exits."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if drain.is_set():
            _log.warning("second_signal", signal=number.name)
            sys.stdout.flush()
            os._exit(EXIT_SECOND_SIGNAL)
        _log.info("draining", signal=number.name)
        readiness.set(False, "draining", of=DRAIN)
        drain.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
