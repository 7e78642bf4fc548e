"""What happens to a call before its handler: identity, request id, deadline, drain, and the gate."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio
from tiny_server import Serve, Served, Settings, eventually
from tiny_service import METHODS, call

from sealane.domain import errors
from sealane.domain.ids import Tenant
from sealane.identity.caller import USER_ROLES, Caller, Identity, Presented, Role
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import call_deadline
from sealane.rpc.status import from_rpc_error


async def refused(served: Served, method: str = "UnaryUnary", **options: Any) -> errors.SealaneError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call(served.channel, method, ["hello"], **options)
    return from_rpc_error(caught.value)


async def test_no_header_names_a_tenant(serve_tiny: Serve) -> None:
    """I12: the tenant is the identity's, whatever the metadata says; and who pretends to be a service is told no, also
    where a service may call."""
    async with serve_tiny(rules={"/tiny.Tiny/UnaryUnary": frozenset(Role)}) as served:
        await call(served.channel, "UnaryUnary", ["hello"], metadata=[("tenant", "other")])
        (seen,) = served.tiny.calls
        assert (seen.tenant, seen.subject, seen.method) == ("acme", "tester", "/tiny.Tiny/UnaryUnary")
        for named in ("other", "acme"):
            error = await refused(served, metadata=[("x-sealane-tenant", named)])
            assert type(error) is errors.PermissionDenied
        assert len(served.tiny.calls) == 1


async def test_a_caller_without_identity_gets_no_further(serve_tiny: Serve) -> None:
    """The identity sees the metadata; what it raises is answered, and no handler runs."""

    async def identity(presented: Presented) -> Caller:
        if dict(presented.metadata).get("authorization") != "Bearer right":
            raise errors.Unauthenticated
        return Caller("bearer", USER_ROLES, Tenant("acme"))

    async with serve_tiny(identity=identity) as served:
        assert type(await refused(served)) is errors.Unauthenticated
        assert not served.tiny.calls
        await call(served.channel, "UnaryUnary", ["hello"], metadata=[("authorization", "Bearer right")])
        assert served.tiny.calls[0].subject == "bearer"


def known_as(caller: Caller) -> Identity:
    async def identity(presented: Presented) -> Caller:
        return caller

    return identity


async def test_a_service_names_its_tenant_and_is_nothing_but_a_service_then(serve_tiny: Serve) -> None:
    """Whoever is a service and more besides must not be more in every tenant."""
    method = "/tiny.Tiny/UnaryUnary"
    both = Caller("half", frozenset({Role.SERVICE, Role.UPLOADER}), Tenant("own"))
    rules = {method: frozenset({Role.SERVICE}), "/tiny.Tiny/UnaryStream": frozenset({Role.UPLOADER})}
    other = [("x-sealane-tenant", "other")]
    async with serve_tiny(identity=known_as(both), rules=rules) as served:
        await call(served.channel, "UnaryUnary", ["hello"], metadata=other)
        assert (served.tiny.calls[0].tenant, served.tiny.calls[0].roles) == ("other", {Role.SERVICE})
        with pytest.raises(aio.AioRpcError) as caught:
            await call(served.channel, "UnaryStream", ["hello"], metadata=other)
        assert type(from_rpc_error(caught.value)) is errors.PermissionDenied
        await call(served.channel, "UnaryStream", ["hello"])  # for its own tenant
        assert served.tiny.calls[1].tenant == "own"
        for several in ([*other, *other], [("x-sealane-tenant", "../x")]):
            assert isinstance(await refused(served, metadata=several), errors.InvalidRequest)
    async with serve_tiny(identity=known_as(Caller("peer", frozenset({Role.SERVICE}))), rules=rules) as served:
        assert type(await refused(served)) is errors.PermissionDenied


@pytest.mark.parametrize("method", METHODS)
async def test_what_no_rule_allows_nobody_may_call(serve_tiny: Serve, method: str) -> None:
    """An rpc that somebody added and forgot fails closed; the answer says what is missing."""
    async with serve_tiny(rules={}) as served:
        with pytest.raises(aio.AioRpcError) as caught:
            await call(served.channel, method, ["hello"])
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not served.tiny.calls
    async with serve_tiny(rules={f"/tiny.Tiny/{method}": frozenset({Role.SERVICE})}) as served:
        with pytest.raises(aio.AioRpcError) as caught:
            await call(served.channel, method, ["hello"])
        assert (
            f"{method} needs the role service; this identity has operator, reader, uploader"
            in from_rpc_error(caught.value).message
        )


async def test_a_stream_of_answers_ends_with_the_credentials_that_opened_it(serve_tiny: Serve) -> None:
    """Expired or revoked meanwhile: UNAUTHENTICATED before the next message."""

    def recheck() -> None:
        raise errors.Unauthenticated

    async with serve_tiny(identity=known_as(Caller("late", USER_ROLES, Tenant("acme"), recheck))) as served:
        with pytest.raises(aio.AioRpcError) as caught:
            await call(served.channel, "UnaryStream", ["hello"])
        assert type(from_rpc_error(caught.value)) is errors.Unauthenticated
        await call(served.channel, "UnaryUnary", ["hello"])  # one answer: checked when it was asked


async def test_a_request_id_goes_into_every_line_and_reply(served: Served) -> None:
    """The caller's own if it is fit to print, on success and on failure."""
    _, running = await call(served.channel, "UnaryUnary", ["hello"], metadata=[("x-request-id", "mine-1")])
    assert ("x-request-id", "mine-1") in tuple(await running.trailing_metadata())
    error = None
    try:
        await call(served.channel, "UnaryUnary", ["refuse"], metadata=[("x-request-id", "mine-2")])
    except aio.AioRpcError as caught:
        error = caught
    assert error is not None
    assert ("x-request-id", "mine-2") in tuple(error.trailing_metadata())
    assert "request_id=mine-2" in from_rpc_error(error).private
    await eventually(lambda: len(served.outcomes) == 2)
    assert [line["request_id"] for line in served.outcomes] == ["mine-1", "mine-2"]


@pytest.mark.parametrize("unfit", ["x" * 129, "two words", ""])
async def test_an_unfit_request_id_is_replaced(served: Served, unfit: str) -> None:
    """Nobody writes what he likes into the log."""
    await call(served.channel, "UnaryUnary", ["hello"], metadata=[("x-request-id", unfit)])
    (seen,) = served.tiny.calls
    assert seen.request_id != unfit
    assert len(seen.request_id) == 16


async def test_a_request_id_travels_on_to_the_other_service(serve_tiny: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call made while serving another carries its id: one id in the logs of both services."""
    import tiny_service

    async with serve_tiny() as behind, serve_tiny() as front, channel(behind.target) as peer:

        async def ask(context: Any) -> None:
            await call(peer, "UnaryUnary", ["hello"])
            await call(peer, "UnaryStream", ["hello"])

        monkeypatch.setitem(tiny_service.DEEDS, "ask", ask)
        await call(front.channel, "UnaryUnary", ["ask"], metadata=[("x-request-id", "one-for-all")])
        assert [seen.request_id for seen in behind.tiny.calls] == ["one-for-all"] * 2


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_without_deadline_gets_the_default(served: Served, method: str) -> None:
    """30 s for a unary call, the stream's maximum for a stream (Settings of these tests)."""
    before = asyncio.get_running_loop().time()
    await call(served.channel, method, ["hello"])
    after = asyncio.get_running_loop().time()
    (seen,) = served.tiny.calls
    given = 30.0 if method == "UnaryUnary" else 90.0
    assert before + given <= seen.deadline.at <= after + given


async def test_the_servers_own_limit_comes_first(serve_tiny: Serve) -> None:
    """A caller that would wait an hour gets DEADLINE_EXCEEDED with our reason after max_timeout (I14)."""
    async with serve_tiny(Settings(max_timeout=0.05, max_stream_timeout=0.05)) as served:
        for method in METHODS:
            with pytest.raises(aio.AioRpcError) as caught:
                await call(served.channel, method, ["hang"], timeout=3600)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "error_id" in from_rpc_error(caught.value).private  # ours, not gRPC's
        assert served.errors_by_reason == {"DEADLINE_EXCEEDED": len(METHODS)}


async def test_the_handlers_deadline_is_a_little_before_the_callers() -> None:
    """So that the answer with its reason is there before gRPC's without one: 10 %, at most a quarter of a second."""
    clock = asyncio.get_running_loop().time
    for remaining, expected in [(1.0, 0.9), (100.0, 99.75), (10_000.0, 600.0), (None, 30.0), (0.0, 0.0)]:
        before = clock()
        deadline = call_deadline(remaining, default=30.0, maximum=600.0)
        assert before + expected - 1e-6 <= deadline.at <= clock() + expected + 1e-6


async def test_while_draining_new_calls_are_sent_elsewhere_and_old_ones_end(served: Served) -> None:
    """UNAVAILABLE DRAINING with RetryInfo for a new call on a living connection; the call in hand gets its answer."""
    requests: asyncio.Queue[str | None] = asyncio.Queue()
    old = asyncio.ensure_future(_slow_stream(served, requests))
    await served.tiny.entered.wait()
    served.drain.set()
    error = await refused(served)
    assert type(error) is errors.Draining
    assert error.retry_after == pytest.approx(0.1)
    await requests.put("second")
    await requests.put(None)
    assert await old == ["first", "second"]


async def _slow_stream(served: Served, requests: asyncio.Queue[str | None]) -> list[str]:
    from google.protobuf.wrappers_pb2 import StringValue

    stub = served.channel.stream_stream(
        "/tiny.Tiny/StreamStream",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    running = stub()
    await running.write(StringValue(value="first"))
    while (text := await requests.get()) is not None:
        await running.write(StringValue(value=text))
    await running.done_writing()
    return [answer.value async for answer in running]


async def test_before_the_store_is_proven_only_the_servers_info_is_answered(serve_tiny: Serve) -> None:
    """Nothing is promised on a store that may lie; GetServerInfo is how one asks for the verdict."""

    class Gate:
        accepted = False

    gate = Gate()
    async with serve_tiny(gate=gate) as served:
        assert type(await refused(served)) is errors.StoreUnavailable
        assert not served.tiny.calls
        assert (await call(served.channel, "GetServerInfo", ["hello"]))[0] == ["hello"]
        gate.accepted = True
        assert (await call(served.channel, "UnaryUnary", ["hello"]))[0] == ["hello"]
