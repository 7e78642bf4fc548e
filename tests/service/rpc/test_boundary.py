"""The boundary, through a real server: every kind of handler, every way to fail, and nothing private on the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from tiny_server import Serve, Served, eventually
from tiny_service import METHODS, SECRET, SERVICE, call

from sealane.domain import errors
from sealane.domain.errors import Reason
from sealane.rpc.status import STATUS_DETAILS_KEY, from_rpc_error

STREAMED_IN = tuple(method for method in METHODS if method.startswith("Stream"))


async def failure(served: Served, method: str, message: str | bytes, **options: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call(served.channel, method, [message], **options)
    await eventually(lambda: bool(served.outcomes))
    return caught.value


def everything(error: aio.AioRpcError) -> str:
    return repr((error.code(), error.details(), error.initial_metadata(), error.trailing_metadata()))


@pytest.mark.parametrize("method", METHODS)
async def test_every_kind_of_handler_answers_through_the_interceptor(served: Served, method: str) -> None:
    """Coroutines and generators, context.read() and context.write(), all keep their (de)serializers."""
    answers, running = await call(served.channel, method, ["hello"])
    assert answers == ["hello"]
    assert await running.code() is grpc.StatusCode.OK
    await eventually(lambda: bool(served.outcomes))
    (line,) = served.outcomes
    assert (line["code"], line["log_level"], line["method"]) == ("OK", "info", f"/{SERVICE}/{method}")
    assert (line["tenant"], line["subject"], line["session_id"]) == ("acme", "tester", "s-1")
    assert line["duration_ms"] >= 0
    assert not served.errors_by_reason


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("deed", ["refuse", "refuse in a group"])
async def test_a_domain_error_reaches_the_client_as_itself(served: Served, method: str, deed: str) -> None:
    """Raised in the handler, raised again at the client; its private text goes to the log alone."""
    error = await failure(served, method, deed)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert type(from_rpc_error(error)) is errors.SessionNotFound
    assert SECRET not in everything(error)
    (line,) = served.outcomes
    assert (line["reason"], line["log_level"], line["private"]) == ("SESSION_NOT_FOUND", "info", SECRET)
    assert "alarm" not in line
    assert served.errors_by_reason == {"SESSION_NOT_FOUND": 1}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("deed", ["crash", "crash in a group", "nonsense"])
async def test_no_text_of_an_unforeseen_exception_reaches_the_client(served: Served, method: str, deed: str) -> None:
    """INTERNAL, a fixed text and an error id; traceback, alarm and the same id in the log; the server goes on."""
    error = await failure(served, method, deed)
    assert error.code() is grpc.StatusCode.INTERNAL
    received = from_rpc_error(error)
    assert type(received) is errors.InternalError
    for private in (SECRET, "Error'", "Traceback", "tiny_service"):
        assert private not in everything(error)
    (line,) = served.outcomes
    assert (line["log_level"], line["alarm"], line["reason"]) == ("error", True, "INTERNAL")
    assert line["exc_info"] is not None
    assert line["error_id"] in received.message
    assert (await call(served.channel, method, ["still there"]))[0] == ["still there"]


@pytest.mark.parametrize("method", METHODS)
async def test_a_message_that_cannot_be_parsed_is_the_callers_fault(served: Served, method: str) -> None:
    """Section 11: INVALID_ARGUMENT with our reason, not gRPC's "Exception deserializing request"."""
    error = await failure(served, method, b"\xff\xff\xff")
    received = from_rpc_error(error)
    assert type(received) is (errors.InvalidStream if method in STREAMED_IN else errors.InvalidRequest)
    assert "Decode" not in everything(error)
    assert "parsing" not in everything(error)
    assert not served.tiny.entered.is_set()


@pytest.mark.parametrize(
    ("deed", "reason", "alarm"),
    [("cut", Reason.STORE_UNAVAILABLE, False), ("forbidden", Reason.STORE_UNAVAILABLE, True)],
)
async def test_a_store_error_that_nobody_handled_is_translated(
    served: Served, deed: str, reason: Reason, alarm: bool
) -> None:
    """UNAVAILABLE, for nothing is lost; refused credentials are an operator's business at once."""
    error = await failure(served, "UnaryUnary", deed)
    received = from_rpc_error(error)
    assert (error.code(), received.reason) == (grpc.StatusCode.UNAVAILABLE, reason)
    assert isinstance(received, errors.RetryLater)
    assert SECRET not in everything(error)
    (line,) = served.outcomes
    assert line.get("alarm", False) is alarm
    assert SECRET in line["private"]


async def test_a_time_out_within_is_a_deadline(served: Served) -> None:
    """TimeoutError is never INTERNAL: repeat with more time."""
    error = await failure(served, "UnaryUnary", "time out within")
    assert type(from_rpc_error(error)) is errors.DeadlineExceeded


async def test_an_abort_made_by_a_handler_passes_as_it_is(served: Served) -> None:
    """AbortError is an answer already given."""
    error = await failure(served, "UnaryUnary", "abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "by hand")
    (line,) = served.outcomes
    assert line["code"] == "ABORTED"


@pytest.mark.parametrize("method", ["UnaryUnary", "UnaryStream"])
async def test_a_client_that_leaves_cancels_the_handler_and_nothing_else(served: Served, method: str) -> None:
    """CancelledError passes untouched, generators are closed, the line says CANCELLED, no error is counted."""
    task = asyncio.ensure_future(call(served.channel, method, ["hang"]))
    await served.tiny.entered.wait()
    task.cancel()
    await served.tiny.cancelled.wait()
    await eventually(lambda: bool(served.outcomes))
    assert [line["code"] for line in served.outcomes] == ["CANCELLED"]
    assert not served.errors_by_reason
    if method == "UnaryStream":
        await served.tiny.closed.wait()


async def test_a_method_that_a_subclass_lacks_is_unimplemented(serve_tiny: Serve) -> None:
    """The generated base raises NotImplementedError: not a bug to be alarmed about."""
    from sealane.v1 import ingest_service_pb2, ingest_service_pb2_grpc

    async with serve_tiny() as served:
        server_side: Any = ingest_service_pb2_grpc.IngestServiceServicer()

        def base(request: StringValue, context: Any) -> Any:
            return server_side.GetSession(ingest_service_pb2.GetSessionRequest(), context)

        served.tiny._do = base  # type: ignore[method-assign]
        error = await failure(served, "UnaryUnary", "anything")
        assert type(from_rpc_error(error)) is errors.Unimplemented


async def test_a_method_that_nobody_knows_is_unimplemented(served: Served) -> None:
    """gRPC's own answer, without a line of ours."""
    stub = served.channel.unary_unary(f"/{SERVICE}/Nothing")
    with pytest.raises(aio.AioRpcError) as caught:
        await stub(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_trailers_of_an_error_with_much_to_say_still_arrive(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trailers of 12 KB fail the whole call in gRPC: ours are cut to 4 KiB, and the reason arrives."""
    import tiny_service

    from sealane.domain.chunks import ChunkRange

    async def much(context: Any) -> None:
        holes = [ChunkRange(3 * i, 3 * i + 1) for i in range(5_000)]
        raise errors.CoverageIncomplete("é" * 20_000, missing=holes, missing_chunks=10_000)

    monkeypatch.setitem(tiny_service.DEEDS, "much", much)
    error = await failure(served, "UnaryUnary", "much")
    received = from_rpc_error(error)
    assert isinstance(received, errors.CoverageIncomplete)
    assert received.truncated
    assert received.missing
    assert received.missing_chunks == 10_000
    (details,) = [value for key, value in error.trailing_metadata() if key == STATUS_DETAILS_KEY]
    assert len(details) < 3072


async def test_compressed_messages_are_refused(served: Served) -> None:
    """A bomb of a few bytes never unpacks (section 11): UNIMPLEMENTED before any handler."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call(served.channel, "UnaryUnary", ["x" * 10_000], compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert not served.tiny.entered.is_set()
    assert (await call(served.channel, "UnaryUnary", ["plain"]))[0] == ["plain"]


async def test_a_message_beyond_the_limit_is_refused_before_it_is_held(served: Served) -> None:
    """RESOURCE_EXHAUSTED by gRPC itself, and not one that a client retries."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call(served.channel, "StreamUnary", ["x" * (1 << 20)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not isinstance(from_rpc_error(caught.value), errors.RetryLater)
    assert not served.tiny.entered.is_set()
