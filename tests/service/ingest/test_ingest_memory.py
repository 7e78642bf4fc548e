"""I13 in bytes that are really there, and in time: what failed, slow and departed clients leave behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Iterator

import pytest
from ingest_replica import KIB, Replica, chunk, frame, header, receipt_keys, refused, running, until
from store_faults import Faults

import ingest_service.admission
import ingest_service.app
from ingest_service.statistics import Statistics
from sealane.domain.errors import ChunkConflict, ChunkCorrupt, InvalidStream, Overloaded
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb


class Buffer(bytearray):
    """A bytearray whose end can be seen."""


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[weakref.WeakSet[Buffer]]:
    """The chunk buffers that exist, with the collector of cycles off: only what nothing refers to is gone."""
    buffers: weakref.WeakSet[Buffer] = weakref.WeakSet()

    class Seen(Buffer):
        __hash__ = object.__hash__  # type: ignore[assignment]  # a WeakSet of them, each for itself
        __eq__ = object.__eq__

        def __init__(self, length: int) -> None:
            super().__init__(length)
            buffers.add(self)

    monkeypatch.setattr(ingest_service.admission, "bytearray", Seen, raising=False)
    gc.collect()
    gc.disable()
    try:
        yield buffers
    finally:
        gc.enable()


async def _quiet(replica: Replica) -> None:
    await until(lambda: replica.ingest.streams.held == 0, what="no stream is there")
    await until(lambda: replica.ingest.scope.running == 0, what="no upload is under way")


ODD = 700
"""Bytes of a chunk whose buffer is not kept for the next one: no power of two."""


@pytest.mark.parametrize("failure", ["corrupt", "conflict", "cut", "stopped in the middle"])
async def test_a_chunk_that_failed_leaves_no_bytes_behind_even_before_garbage_is_collected_i13(
    failure: str, alive: weakref.WeakSet[Buffer]
) -> None:
    """Its error lives on in the task, the stream and the log; none of them may hold the chunk."""
    faults = Faults()
    async with running(SimulatedStore(faults=faults)) as replica:
        session = (await replica.create(size=ODD)).session_id
        good, other = b"g" * ODD, b"o" * ODD
        if failure == "conflict":
            await replica.upload(session, [good])
        for _ in range(3):
            match failure:
                case "corrupt":
                    error = await refused(replica.send([header(session), *chunk(0, good, digest=b"\1" * 32)]))
                    assert isinstance(error, ChunkCorrupt)
                case "conflict":
                    assert isinstance(await refused(replica.upload(session, [other])), ChunkConflict)
                case "cut":
                    error = await refused(replica.send([header(session), frame(0, 0, good[:10])]))
                    assert isinstance(error, InvalidStream)
                case _:
                    held = faults.hold("list_objects", "/receipts/")
                    call = replica.stub.UploadChunks(timeout=20)
                    for message in [header(session), *chunk(0, good)]:
                        await call.write(message)
                    await held.reached.wait()
                    for task in tuple(replica.ingest.scope._tasks):
                        task.cancel()
                    with pytest.raises(Exception, match="shutting down"):
                        await call
            await _quiet(replica)
            assert not alive
            assert replica.ingest.memory.in_use == 0


async def test_a_stream_between_two_chunks_holds_nothing_of_the_one_before_i13(alive: weakref.WeakSet[Buffer]) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=ODD)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), *chunk(0, b"g" * ODD)]:
            await call.write(message)
        await until(lambda: bool(receipt_keys(store, session)), what="the chunk is stored")
        await until(lambda: replica.ingest.scope.running == 0, what="its upload has ended")
        assert not alive
        call.cancel()


async def test_a_chunk_that_failed_harms_no_other_sessions_short_one() -> None:
    """The failed chunk's buffer is used again: nothing that still looks at it may keep it from being cut."""
    async with running(memory_budget=2 * KIB) as replica:
        bad, good = [(await replica.create()).session_id for _ in range(2)]  # of unknown size
        gc.disable()
        try:
            error = await refused(replica.send([header(bad), *chunk(0, b"x" * KIB, digest=b"\1" * 32)]))
            assert isinstance(error, ChunkCorrupt)
            answer = await replica.upload(good, [b"short"])
        finally:
            gc.enable()
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED]


async def test_tiny_chunks_of_clients_that_have_left_do_not_pile_up() -> None:
    """Bytes alone do not bound uploads of one byte each: their number is bounded by what streams can have in hand."""
    faults = Faults()
    held = faults.hold("upload_part", times=1000)
    async with running(
        SimulatedStore(faults=faults), max_streams=2, parts_in_flight=2, memory_wait_seconds=0.02
    ) as replica:
        session = (await replica.create(size=1)).session_id
        for number in itertools.count():
            call = replica.stub.UploadChunks(timeout=20)
            before = replica.ingest.scope.running
            for message in [header(session), *chunk(0, b"z")]:
                await call.write(message)
            if number == 4:
                break
            await until(lambda seen=before: replica.ingest.scope.running > seen, what="it is being stored")  # type: ignore[misc]
            call.cancel()
            await until(lambda: replica.ingest.streams.held == 0, what="the client has left")
        with pytest.raises(Exception, match="full"):
            await call
        assert replica.ingest.scope.running == 4
        held.times = 0
        held.go.set()
        await _quiet(replica)
        assert [c.status for c in (await replica.upload(session, [b"z"])).chunks] == [pb.CHUNK_STATUS_DUPLICATE]


async def test_a_lease_is_held_by_progress_and_not_for_the_whole_chunks_time_at_the_lowest_rate() -> None:
    """At 100 bytes a second 4 KiB may take 41 s, but not the first bytes of it."""
    async with running(stream_idle_seconds=0.3, stream_min_rate=100.0) as replica:
        session = (await replica.create(size=4 * KIB, chunk_size=4 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=15)
        await call.write(header(session))

        async def dribble() -> None:
            for offset in range(4 * KIB):
                await call.write(frame(0 if offset == 0 else None, offset, b"a"))
                await asyncio.sleep(0.04)  # the client's slowness is the subject: 25 bytes a second

        dribbling = asyncio.ensure_future(dribble())
        with pytest.raises(Exception, match="silent or too slow"):
            await call
        dribbling.cancel()
        await asyncio.gather(dribbling, return_exceptions=True)
        assert replica.ingest.memory.in_use == 0


async def test_a_store_that_is_slow_to_show_the_session_is_not_the_clients_silence() -> None:
    """The clock runs while a message is awaited, and not while this side reads records."""
    faults = Faults()
    async with running(SimulatedStore(faults=faults), stream_idle_seconds=0.15) as replica:
        session = (await replica.create(size=KIB)).session_id
        held = faults.hold("get", session)
        sending = asyncio.ensure_future(replica.upload(session, [b"z" * KIB]))
        await held.reached.wait()
        loop = asyncio.get_running_loop()
        late = loop.create_future()
        loop.call_later(0.6, late.set_result, None)  # four times the silence that a client is allowed
        await asyncio.wait([sending, late], return_when=asyncio.FIRST_COMPLETED)
        held.go.set()
        assert (await sending).coverage.complete


async def test_an_upload_whose_client_has_left_does_not_get_the_whole_drain_a_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's stop has waited for drain_seconds already; what is left then gets a last few seconds."""
    monkeypatch.setattr(ingest_service.app, "LAST_UPLOADS_SECONDS", 0.05)
    faults = Faults()
    held = faults.hold("upload_part")
    async with asyncio.timeout(20):
        async with running(SimulatedStore(faults=faults), drain_seconds=3600.0) as replica:
            session = (await replica.create(size=1)).session_id
            call = replica.stub.UploadChunks(timeout=20)
            for message in [header(session), *chunk(0, b"z")]:
                await call.write(message)
            await held.reached.wait()
            call.cancel()
            await until(lambda: replica.ingest.streams.held == 0, what="the client has left")
        assert replica.ingest.scope.running == 0
        assert replica.ingest.memory.in_use == 0


async def test_who_finds_no_room_is_told_once_the_chunks_before_are_stored() -> None:
    """Told at once, the client would not find them in the coverage, and would send them again, when that can least be
    borne."""
    waits: list[float] = []
    faults, told = Faults(), Statistics(memory_wait=waits.append)
    room_for_one = {"memory_budget": KIB, "memory_wait_seconds": 0.1}
    async with running(SimulatedStore(faults=faults), statistics=told, **room_for_one) as replica:
        session = (await replica.create(size=2 * KIB)).session_id
        held = faults.hold("upload_part")
        refusal = asyncio.create_task(refused(replica.upload(session, [b"a" * KIB, b"b" * KIB])))
        await until(lambda: len(waits) == 2, what="the second chunk has found no room")
        for _ in range(3):
            await replica.info()  # an answer that was sent before these would be here by now
        assert not refusal.done()
        held.go.set()
        assert isinstance(await refusal, Overloaded)
        assert (await replica.get(session)).coverage.stored_chunks == 1
