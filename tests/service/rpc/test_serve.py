"""serve(): health, reflection, background work, and how a process ends that cannot go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tiny_server import Counts, Settings
from tiny_service import RULES, Tiny, call

from sealane.domain.ids import Tenant
from sealane.identity.caller import StaticIdentity
from sealane.logs import get_logger
from sealane.rpc.health import Readiness
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import EXIT_FAILED, EXIT_OK, EXIT_STORE_REFUSED, serve
from sealane.store.gate import StoreRefused
from sealane.store.probe import ProbeReport, Verdict
from sealane.v1 import ingest_service_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Running:
    """serve() as a task, with channels to both of its ports."""

    def __init__(self, *, settings: Settings | None = None, background: tuple[Coroutine[Any, Any, Any], ...] = ()):
        self.tiny, self.readiness, self.drain = Tiny(), Readiness(), asyncio.Event()
        self.addresses: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        interceptors = server_interceptors(
            identity=StaticIdentity(Tenant("acme")),
            settings=Settings(),
            log=get_logger("tiny"),
            counters=Counts(),
            drain=self.drain,
            rules=RULES,
        )
        self.task = asyncio.create_task(
            serve(
                name="tiny",
                settings=settings or Settings(),
                register=self.tiny.register,
                service_names=["tiny.Tiny", "sealane.v1.IngestService"],
                interceptors=interceptors,
                readiness=self.readiness,
                drain=self.drain,
                background=background,
                on_serving=lambda *addresses: self.addresses.set_result(addresses),
            )
        )


@contextlib.asynccontextmanager
async def running(**arguments: Any) -> AsyncIterator[tuple[Running, aio.Channel, aio.Channel]]:
    started = Running(**arguments)
    try:
        async with asyncio.timeout(60):
            target, health = await started.addresses
            async with aio.insecure_channel(target) as service, aio.insecure_channel(health) as probes:
                yield started, service, probes
    finally:
        started.drain.set()
        await started.task


async def watch_until(stub: Any, service: str, status: int) -> None:
    """Watch a health service until it says ``status``."""
    watching = stub.Watch(health_pb2.HealthCheckRequest(service=service))
    async for answer in watching:
        if answer.status == status:
            break
    watching.cancel()


async def test_readiness_follows_its_conditions_and_liveness_does_not() -> None:
    """A store that is away makes a replica not ready, never not alive; the services' own names follow readiness."""
    async with running() as (started, _, probes):
        stub: Any = health_pb2_grpc.HealthStub(probes)
        await watch_until(stub, "liveness", SERVING)
        await watch_until(stub, "readiness", NOT_SERVING)
        started.readiness.set(True, of="store")
        for service in ("readiness", "", "tiny.Tiny", "sealane.v1.IngestService"):
            await watch_until(stub, service, SERVING)
        started.readiness.set(False, "away", of="store")
        for service in ("readiness", "", "tiny.Tiny", "sealane.v1.IngestService"):
            await watch_until(stub, service, NOT_SERVING)
        alive = await stub.Check(health_pb2.HealthCheckRequest(service="liveness"))
        assert alive.status == SERVING
        with pytest.raises(aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_grpcurl_finds_services_and_their_messages_by_reflection() -> None:
    """On both ports: the service's, and health's."""
    async with running() as (_, service, probes):
        request = reflection_pb2.ServerReflectionRequest
        symbol = "sealane.v1.CreateSessionRequest"
        for connected, expected in ((service, "sealane.v1.IngestService"), (probes, "grpc.health.v1.Health")):
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(connected)
            asked = stub.ServerReflectionInfo(iter([request(list_services=""), request(file_containing_symbol=symbol)]))
            listed, described = [answer async for answer in asked]
            assert expected in [found.name for found in listed.list_services_response.service]
            files = [
                FileDescriptorProto.FromString(f) for f in described.file_descriptor_response.file_descriptor_proto
            ]
            assert ingest_service_pb2.DESCRIPTOR.name in [file.name for file in files]


async def test_a_port_that_is_taken_is_a_failure_and_never_shared() -> None:
    """grpc.so_reuseport would let two servers share it silently, each with some of the calls."""
    async with running() as (started, service, _):
        target, health = await started.addresses
        for settings in (Settings(listen=target), Settings(health_listen=health)):
            other = Running(settings=settings, background=(asyncio.Event().wait(),))
            assert await other.task == EXIT_FAILED
        assert (await call(service, "UnaryUnary", ["unimpressed"]))[0] == ["unimpressed"]


async def test_background_work_that_ends_is_no_reason_to_stop_and_the_rest_is_cancelled_last() -> None:
    """It runs beside the server, and ends after the last call."""
    events: list[str] = []

    async def short() -> None:
        events.append("short")

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("long ended")

    async with running(background=(short(), long())) as (started, service, _):
        assert (await call(service, "UnaryUnary", ["hello"]))[0] == ["hello"]
        assert events == ["short"]
        started.drain.set()
        assert await started.task == EXIT_OK
        assert events == ["short", "long ended"]


async def test_background_work_that_fails_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Half a service is none: exit code 1, not ready first."""
    fail = asyncio.Event()

    async def failing() -> None:
        await fail.wait()
        raise RuntimeError("sweeper broke")

    async with running(background=(failing(), asyncio.Event().wait())) as (started, _, _):
        fail.set()
        assert await started.task == EXIT_FAILED
        assert "drain" in started.readiness.why
        assert started.drain.is_set()


async def test_a_refused_store_ends_the_process_with_a_code_of_its_own() -> None:
    """Section 2: a negative verdict ends the process, naming the guarantee; calls in hand are cut, not answered."""
    refuse = asyncio.Event()
    report = ProbeReport((Verdict("R2", False, "30 of 30 races lost", 1.0),), (), "prefix", True)

    async def gate() -> None:
        await refuse.wait()
        raise StoreRefused(report, ["R2"])

    async with running(background=(gate(),)) as (started, service, _):
        hanging = asyncio.ensure_future(call(service, "UnaryUnary", ["hang"]))
        await started.tiny.entered.wait()
        refuse.set()
        assert await started.task == EXIT_STORE_REFUSED
        with pytest.raises(aio.AioRpcError) as cut:
            await hanging
        assert cut.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_refusal_names_the_guarantee_and_what_was_seen() -> None:
    """An operator reads it once and knows which store not to use."""
    report = ProbeReport(
        (Verdict("R1", True, "fine", 1.0), Verdict("R2", False, "30 of 30 races lost", 1.0)), (), "prefix", True
    )
    text = str(StoreRefused(report, ["R2"]))
    assert "R2" in text
    assert "30 of 30 races lost" in text
    assert "fine" not in text
    assert "SEALANE_ACCEPT_WEAK_STORE=R2" in text
