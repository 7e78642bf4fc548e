"""What the client makes of servers that say what no real one says on demand: rests, half streams, silence, old age."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from client_world import KIB, QUICK, World, content, options
from grpc import aio

from sealane.client import (
    AuditFinding,
    AuditKind,
    AuditSummary,
    BackoffPolicy,
    ChunkRange,
    Client,
    DeletedSession,
    Removal,
    SessionState,
    SyncClient,
    errors,
)
from sealane.rpc.status import to_status
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1 import assembly_service_pb2_grpc, ingest_service_pb2, ingest_service_pb2_grpc, session_pb2

ID = "0123456789abcdef" * 2


class Scripted(assembly_service_pb2_grpc.AssemblyServiceServicer, ingest_service_pb2_grpc.IngestServiceServicer):
    """Answers what ``script`` says, method by method: messages, an error to raise, or a coroutine function."""

    def __init__(self, **script: Any) -> None:
        self.script = script
        self.requests: list[Any] = []
        self.asked = asyncio.Event()

    async def _unary(self, method: str, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.asked.set()
        return await self._answer(self.script[method], context)

    async def _stream(self, method: str, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.asked.set()
        for each in self.script[method]:
            yield await self._answer(each, context)

    @staticmethod
    async def _answer(answer: Any, context: Any) -> Any:
        try:
            if isinstance(answer, errors.SealaneError):
                raise answer
            return await answer() if callable(answer) else answer
        except errors.SealaneError as error:
            status = to_status(error, "e" * 16)
            await context.abort(status.code, status.message, status.trailing_metadata)

    async def CreateSession(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        return await self._unary("CreateSession", request, context)

    async def GetSession(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        return await self._unary("GetSession", request, context)

    async def WatchSession(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's
        async for each in self._stream("WatchSession", request, context):
            yield each

    async def GetKey(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        return await self._unary("GetKey", request, context)

    async def DeleteSession(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        return await self._unary("DeleteSession", request, context)

    async def AuditStore(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's
        async for each in self._stream("AuditStore", request, context):
            yield each

    async def ExplainSession(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's
        async for each in self._stream("ExplainSession", request, context):
            yield each


@asynccontextmanager
async def serving(**script: Any) -> AsyncIterator[tuple[Scripted, str]]:
    scripted, server = Scripted(**script), aio.server()
    assembly_service_pb2_grpc.add_AssemblyServiceServicer_to_server(scripted, server)  # type: ignore[no-untyped-call]  # generated
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(scripted, server)  # type: ignore[no-untyped-call]  # generated
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield scripted, address
    finally:
        await server.stop(0)


@asynccontextmanager
async def client_of(backoff: BackoffPolicy = QUICK, **script: Any) -> AsyncIterator[tuple[Scripted, Client]]:
    async with (
        serving(**script) as (scripted, address),
        Client(address, address, backoff=backoff, rng=random.Random(1)) as client,
    ):
        yield scripted, client


async def forever() -> Any:
    return await asyncio.get_running_loop().create_future()


# --- keys ---


async def test_a_resting_key_is_said_at_once_and_the_same_upload_later_sends_nothing_again(
    here: World, tmp_path: Path
) -> None:
    """Nobody expects a call to sleep for an hour. Everything has arrived; the journal is kept."""
    path = tmp_path / "film"
    path.write_bytes(content(5 * KIB))
    here.assembly.trouble.refuse["CommitSession"] = errors.KeyCooling(retry_after=3000.0)
    async with here.client() as client:
        with pytest.raises(errors.KeyCooling) as resting:
            await asyncio.wait_for(client.upload(path, object_key="k", stream_options=options()), 60)
        assert resting.value.retry_after == 3000.0
        assert len(here.journals()) == 1
        later = await client.upload(path, object_key="k", stream_options=options())
    assert (later.bytes_sent, later.bytes_resumed, later.generation) == (0, 5 * KIB, 1)


async def test_a_key_whose_rest_is_nearly_over_is_waited_for(here: World) -> None:
    here.assembly.trouble.refuse["CommitSession"] = errors.KeyCooling(retry_after=0.05)
    async with here.client() as client:
        result = await client.upload(content(KIB), filename="a", object_key="k", stream_options=options())
    assert result.generation == 1
    assert result.retries == 1


async def test_a_server_that_knows_no_chosen_keys_gets_no_byte() -> None:
    """It would answer a session with a key of its own: an object in the wrong place."""
    session = ingest_service_pb2.CreateSessionResponse()
    session.session.session_id = ID
    session.session.chunk_size = KIB
    session.session.state = session_pb2.SESSION_STATE_OPEN
    async with client_of(CreateSession=session, GetKey=pb.GetKeyResponse()) as (scripted, client):
        with pytest.raises(errors.Unimplemented):
            await client.upload(b"x", filename="a", object_key="k")
        assert [type(request).__name__ for request in scripted.requests] == ["GetKeyRequest", "CreateSessionRequest"]


async def test_a_resting_key_says_until_when() -> None:
    until = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
    answer = pb.GetKeyResponse(generation=0)
    answer.cooling_until.FromDatetime(until)
    async with client_of(GetKey=answer) as (_, client):
        assert (await client.get_key("k")).cooling_until == until


# --- delete, audit, explain ---


async def test_delete_says_what_went_and_that_it_can_not() -> None:
    removed = [pb.Removal(kind="part", count=3, bytes=24), pb.Removal(kind="record", count=4, bytes=900)]
    answer = pb.DeleteSessionResponse(state=session_pb2.SESSION_STATE_ABORTED, removed=removed)
    async with client_of(DeleteSession=answer) as (scripted, client):
        assert await client.delete_session(ID) == DeletedSession(
            ID, SessionState.ABORTED, (Removal("part", 3, 24), Removal("record", 4, 900))
        )
        scripted.script["DeleteSession"] = errors.DeleteUnsupported()
        with pytest.raises(errors.DeleteUnsupported):
            await client.delete_session(ID)


FINDING = pb.AuditStoreResponse(
    finding=pb.AuditFinding(
        kind=pb.AUDIT_KIND_RECEIPT_WITHOUT_SESSION, session_id=ID, key="k", count=7, bytes=0, text="Why.", repaired=True
    )
)
FINDING.finding.age.FromSeconds(1800)
SUMMARY = pb.AuditStoreResponse(
    summary=pb.AuditSummary(
        keys=100,
        sessions=9,
        objects=3,
        object_bytes=12,
        findings=[pb.AuditCount(kind=pb.AUDIT_KIND_RECEIPT_WITHOUT_SESSION, findings=2, count=7, repaired=1)],
    )
)


async def test_an_audit_yields_findings_and_at_last_their_sum() -> None:
    progress: list[tuple[int, int]] = []
    step = pb.AuditStoreResponse(progress=pb.AuditProgress(keys=5, sessions=1))
    newer = pb.AuditStoreResponse(finding=pb.AuditFinding(kind=99, text="Of the future."))  # type: ignore[arg-type]
    async with client_of(AuditStore=[step, FINDING, newer, SUMMARY]) as (scripted, client):
        *found, summary = [
            each async for each in client.audit(min_age=90, repair=True, progress=lambda *at: progress.append(at))
        ]
    assert found[0] == AuditFinding(AuditKind.RECEIPT_WITHOUT_SESSION, ID, "k", 7, 0, 1800.0, "Why.", True)
    assert isinstance(found[1], AuditFinding)
    assert (found[1].kind, found[1].text) == (AuditKind.OTHER, "Of the future.")
    assert isinstance(summary, AuditSummary)
    assert (summary.keys, summary.objects, summary.left, summary.clean) == (100, 3, 1, False)
    assert progress == [(5, 1)]
    (request,) = scripted.requests
    assert (request.min_age.seconds, request.repair) == (90, True)


async def test_an_audits_sum_is_told_behind_the_end_of_its_stream() -> None:
    """Who leaves before the end cancels the call, and each audit would be logged as one that was given up."""
    async with client_of(AuditStore=[SUMMARY, FINDING]) as (_, client):
        finding, summary = [each async for each in client.audit()]
    assert (type(finding), type(summary)) == (AuditFinding, AuditSummary)


async def test_an_audit_that_ends_without_its_sum_is_no_clean_one() -> None:
    async with client_of(AuditStore=[]) as (_, client):
        with pytest.raises(errors.PeerUnavailable, match="before its summary"):
            _ = [each async for each in client.audit()]


async def test_a_history_begins_anew_when_its_stream_breaks() -> None:
    """Nothing of the first try is told twice."""
    one, two = pb.SessionEvent(event="created", text="a"), pb.SessionEvent(event="decided", fields={"x": "y"})
    one.time.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    two.chunks.add(first=2, last=4)
    whole = [pb.ExplainSessionResponse(events=[one]), pb.ExplainSessionResponse(events=[two])]

    async def break_once() -> Any:
        scripted.script["ExplainSession"] = whole
        raise errors.Draining(retry_after=0.0)

    async with client_of(ExplainSession=[whole[0], break_once]) as (scripted, client):
        events = await asyncio.wait_for(client.explain_session(ID), 20)
        assert len(scripted.requests) == 2
    assert [event.event for event in events] == ["created", "decided"]
    assert events[0].time == datetime(2030, 1, 1, tzinfo=UTC)
    assert (events[1].time, events[1].fields, events[1].chunks) == (None, {"x": "y"}, (ChunkRange(2, 4),))


def test_the_blocking_client_has_them_too() -> None:
    async def serve(ready: asyncio.Queue[str], over: asyncio.Event) -> None:
        script = {
            "GetKey": pb.GetKeyResponse(generation=0),
            "DeleteSession": pb.DeleteSessionResponse(state=session_pb2.SESSION_STATE_ABORTED),
            "AuditStore": [FINDING, SUMMARY],
            "ExplainSession": [pb.ExplainSessionResponse(events=[pb.SessionEvent(event="created")])],
        }
        async with serving(**script) as (_, address):
            ready.put_nowait(address)
            await over.wait()

    async def main() -> None:
        ready, over = asyncio.Queue[str](), asyncio.Event()
        server = asyncio.create_task(serve(ready, over))
        address = await ready.get()
        await asyncio.to_thread(use, address)
        over.set()
        await server

    def use(address: str) -> None:
        with SyncClient(address, address, backoff=QUICK) as client:
            assert client.get_key("k").holder is None
            assert client.delete_session(ID).state is SessionState.ABORTED
            finding, summary = client.audit()
            assert isinstance(finding, AuditFinding)
            assert isinstance(summary, AuditSummary)
            assert [event.event for event in client.explain_session(ID)] == ["created"]

    asyncio.run(main())


# --- close ---

WAITING: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "unary": lambda client: client.get_session(ID),
    "stream": lambda client: _all(client.watch_session(ID)),
    "collected": lambda client: client.explain_session(ID),
}


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in items]


@pytest.mark.parametrize("call", WAITING)
async def test_closing_ends_a_pending_call_with_an_error_that_says_so(call: str) -> None:
    """Not with a CancelledError, which would look as if the caller's own task had been cancelled."""
    script = {"GetSession": forever, "WatchSession": [forever], "ExplainSession": [forever]}
    async with client_of(**script) as (scripted, client):
        waiting = asyncio.ensure_future(WAITING[call](client))
        await scripted.asked.wait()
        await client.close()
        with pytest.raises(errors.ClientClosed):
            await asyncio.wait_for(waiting, 20)
        with pytest.raises(errors.ClientClosed):
            await WAITING[call](client)


@pytest.mark.parametrize("call", WAITING)
async def test_closing_ends_a_pause_between_two_tries(call: str) -> None:
    """The server asked for an hour; nobody waits for it, nor opens a connection after it."""
    busy = errors.Overloaded(retry_after=3600.0)
    script: dict[str, Any] = {"GetSession": busy, "WatchSession": [busy], "ExplainSession": [busy]}
    patient = BackoffPolicy(0.01, 0.1, patience_seconds=1e6)
    async with client_of(patient, **script) as (scripted, client):
        client._timeout = 1e6
        paused = asyncio.Event()
        pause = client._connections.pause

        async def told(seconds: float) -> None:
            paused.set()
            await pause(seconds)

        client._connections.pause = told  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(WAITING[call](client))
        await asyncio.wait_for(paused.wait(), 20)
        await client.close()
        with pytest.raises(errors.ClientClosed):
            await asyncio.wait_for(waiting, 20)
        assert len(scripted.requests) == 1


async def test_who_cancels_its_own_call_gets_its_own_cancellation() -> None:
    async with client_of(GetSession=forever) as (scripted, client):
        waiting = asyncio.ensure_future(client.get_session(ID))
        await scripted.asked.wait()
        waiting.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
