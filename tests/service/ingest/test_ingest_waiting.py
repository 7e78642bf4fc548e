"""Watches and streams that wait: heartbeats, a drain, and memory that does not come."""

from __future__ import annotations

import pytest
from assembly_writes import decide
from blake3 import blake3
from grpc import aio
from ingest_replica import KIB, Replica, chunk, frame, header, receipt_keys, refused, running, until
from uneven_data import DATA, PIECES

from sealane.domain.decision import Outcome
from sealane.domain.errors import Draining, Overloaded, SealaneError
from sealane.rpc.status import from_rpc_error
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import session_pb2

# --- watch ---


async def test_a_watch_shows_the_session_at_once_each_change_and_ends_with_it() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        watch = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        assert (await watch.read()).session.coverage.stored_chunks == 0
        await replica.upload(session, {1: PIECES[1]})
        assert (await watch.read()).session.coverage.stored_chunks == 1
        decide(store.state, session, Outcome.ABORT)
        assert (await watch.read()).session.state == session_pb2.SESSION_STATE_ABORTED
        assert await watch.read() is aio.EOF
        assert replica.ingest.watchers.held == 0


async def test_an_unchanged_session_is_shown_again_as_a_heartbeat() -> None:
    async with running(watch_heartbeat_seconds=0.05) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        watch = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        first = await watch.read()
        assert await watch.read() == first
        watch.cancel()
        await until(lambda: replica.ingest.watchers.held == 0, what="the watcher has left")


async def test_watchers_beyond_the_limit_are_overloaded() -> None:
    async with running(max_watchers=1) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        one = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        await one.read()
        two = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        assert isinstance(await _ended(two.read()), Overloaded)
        one.cancel()


async def _ended(awaited: object) -> SealaneError:
    try:
        await awaited  # type: ignore[misc]
    except aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("it did not end")


# --- drain ---


async def _drain(replica: Replica) -> None:
    replica.drain.set()
    replica.ingest.drain()


async def test_a_drain_lets_a_stream_finish_the_chunk_in_hand_and_no_other() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), *chunk(0, PIECES[0]), frame(1, 0, PIECES[1][:500])]:
            await call.write(message)
        await until(lambda: len(receipt_keys(store, session)) == 1, what="chunk 0 is stored")
        await until(lambda: replica.ingest.memory.in_use == KIB, what="chunk 1 is arriving")
        await _drain(replica)
        digest = blake3(PIECES[1]).digest()
        await call.write(frame(None, 500, PIECES[1][500:], digest))
        assert isinstance(await _ended(call), Draining)
        assert len(receipt_keys(store, session)) == 2  # nothing that was sent whole is sent again
        assert replica.ingest.memory.in_use == 0


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_drain_ends_streams_that_wait_between_chunks_and_watches_at_once(sent: int) -> None:
    store = SimulatedStore()
    async with running(store, watch_seconds=30.0) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        call = replica.stub.UploadChunks(timeout=20)
        await call.write(header(session))
        for index in range(sent):
            for message in chunk(index, PIECES[index]):
                await call.write(message)
        await until(lambda: len(receipt_keys(store, session)) == sent, what="what was sent is stored")
        watch = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        await watch.read()
        await until(lambda: replica.ingest.memory.in_use == KIB, what="the stream waits for a chunk")
        await _drain(replica)
        assert isinstance(await _ended(call), Draining)
        assert isinstance(await _ended(watch.read()), Draining)
        assert isinstance(await refused(replica.get(session)), Draining)


async def test_a_drain_gets_a_stream_out_of_the_queue_for_memory() -> None:
    async with running(memory_budget=2 * KIB) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        calls = [replica.stub.UploadChunks(timeout=20) for _ in range(3)]
        for call in calls:
            await call.write(header(session))
        await until(lambda: replica.ingest.memory.waiting == 1, what="one stream waits for memory")
        await _drain(replica)
        for call in calls:
            assert isinstance(await _ended(call), Draining)
        assert replica.ingest.memory.in_use == 0


# --- memory that does not come ---


async def test_a_stream_of_a_small_object_leases_no_more_than_its_bytes() -> None:
    async with running() as replica:
        session = (await replica.create(size=10)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        await call.write(header(session))
        await until(lambda: replica.ingest.memory.leases == 1, what="the stream waits for a chunk")
        assert replica.ingest.memory.in_use == 10
        call.cancel()


async def test_a_stream_that_gets_no_memory_in_time_is_overloaded_and_harms_nobody() -> None:
    async with running(memory_budget=2 * KIB, memory_wait_seconds=0.05) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        held = [replica.stub.UploadChunks(timeout=20) for _ in range(2)]
        for call in held:
            await call.write(header(session))
        await until(lambda: replica.ingest.memory.in_use == 2 * KIB, what="all memory is taken")
        error = await refused(replica.upload(session, PIECES))
        assert isinstance(error, Overloaded)
        assert error.retry_after > 0
        for call, index in zip(held, (0, 1), strict=True):
            for message in chunk(index, PIECES[index]):
                await call.write(message)
            await call.done_writing()
            assert len((await call).chunks) == 1
