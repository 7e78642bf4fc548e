"""The ⚠ rules of protocol.md sections 3 and 4, each with the moment at which it is easy to break."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from assembly_writes import PIECES, TENANT, calls_of, record_key, write_record
from grpc import aio
from ingest_replica import KIB, chunk, frame, header, receipt_keys, refused, running, until
from store_faults import Faults

from sealane.domain.errors import (
    InternalError,
    InvalidStream,
    SessionNotFound,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId
from sealane.store import keys
from sealane.store.port import ChecksumMismatch
from sealane.store.simulated import EPOCH, SimulatedBucket, SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

# --- only the digest ends a chunk ---


@pytest.mark.parametrize("frames", [1, 2], ids=["half of its bytes", "all of its bytes"])
async def test_a_cancel_in_the_middle_of_a_chunk_stores_nothing_of_it_and_frees_its_memory(frames: int) -> None:
    """⚠ A gRPC server sees a normal end of the stream when its client cancels."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), frame(0, 0, PIECES[0][:500]), frame(None, 500, PIECES[0][500:])][: 1 + frames]:
            await call.write(message)
        await until(lambda: replica.ingest.memory.in_use > 0, what="the chunk arrives")
        call.cancel()
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert replica.ingest.memory.in_use == 0
        assert not receipt_keys(store, session)
        assert not calls_of(store, "upload_part")


async def test_a_deadline_in_the_middle_of_a_chunk_stores_nothing_of_it() -> None:
    """⚠ … and when its deadline passes."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=0.2)
        await call.write(header(session))
        await call.write(frame(0, 0, PIECES[0]))
        with pytest.raises(aio.AioRpcError):
            await call
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert not receipt_keys(store, session)
        assert replica.ingest.memory.in_use == 0


async def test_an_end_of_stream_in_the_middle_of_a_chunk_keeps_the_whole_chunks_before_it() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        error = await refused(replica.send([header(session), *chunk(0, PIECES[0]), frame(1, 0, PIECES[1])]))
        assert isinstance(error, InvalidStream)
        await until(lambda: len(receipt_keys(store, session)) == 1, what="chunk 0 is stored")
        assert [r.chunk_index for r in await replica.receipts(session)] == [0]


async def test_a_whole_chunk_is_stored_though_its_client_went_away_meanwhile() -> None:
    """Part uploads run in a scope outside of the handler: the bytes that were sent are not lost."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    held = faults.hold("upload_part")
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), *chunk(0, PIECES[0])]:
            await call.write(message)
        await held.reached.wait()
        call.cancel()
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert replica.ingest.memory.in_use == KIB  # I13: the store's call still looks at it
        held.go.set()
        await until(lambda: len(receipt_keys(store, session)) == 1, what="the receipt is written")
        await until(lambda: replica.ingest.memory.in_use == 0, what="its memory comes back")


# --- fail closed ---


@pytest.mark.parametrize(
    "name",
    [
        "00000000.1024.forged",
        "junk",
        "nested/00000000.1024.a.b.c.d",
        "nested/00000000.1024." + ".".join(["A" * 43] * 3) + ".etag",  # but for its folder a good one
        "00000000.01024." + ".".join(["A" * 43] * 3) + ".etag",
        "00000000.1024." + ".".join(["A" * 42] * 3) + ".etag",
    ],
)
async def test_a_forged_receipt_stops_every_answer_that_would_rest_on_it(name: str) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, {1: PIECES[1]})
        prefix = keys.receipts_prefix(TENANT, SessionId(session))
        store.state.put(prefix + name, b"", EPOCH, if_absent=False, content_type="")
        for awaited in (replica.get(session), replica.receipts(session), replica.upload(session, {2: PIECES[2]})):
            error = await refused(awaited)
            assert isinstance(error, InternalError)
            assert name not in error.message


@pytest.mark.parametrize("body", [b"", b"{", b'{"version":2,"kind":"session"}', b"[]", b"\xff" * 10])
async def test_a_torn_forged_or_future_session_record_decides_nothing(body: bytes) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = "ab" * 16
        write_record(store.state, session, keys.SESSION, body)
        for awaited in (replica.get(session), replica.receipts(session), replica.upload(session, PIECES)):
            assert isinstance(await refused(awaited), InternalError)


async def test_a_session_record_that_names_another_tenants_key_is_refused_i12() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        shown = await replica.create(size=3 * KIB)
        key = record_key(shown.session_id, keys.SESSION)
        body = b"".join(p or b"" for p in store.state.get(key).pieces)
        store.state.delete(key)
        write_record(
            store.state, shown.session_id, keys.SESSION, body.replace(b'"default/by-session', b'"victim/by-session')
        )
        assert isinstance(await refused(replica.upload(shown.session_id, PIECES)), InternalError)
        assert not calls_of(store, "upload_part")


async def test_another_tenants_session_is_not_found_and_no_key_of_theirs_is_touched_i12() -> None:
    bucket = SimulatedBucket()
    async with running(SimulatedStore(bucket), tenant="alice") as alice:
        session = (await alice.create(size=3 * KIB)).session_id
        await alice.upload(session, PIECES)
    eve_store = SimulatedStore(bucket)
    async with running(eve_store, tenant="eve") as eve:
        for awaited in (eve.get(session), eve.receipts(session), eve.upload(session, PIECES)):
            assert isinstance(await refused(awaited), SessionNotFound)
        await eve.create(size=KIB, filename="mine")
    for call in eve_store.calls:
        assert call.key.startswith((".sealane/eve/", "eve/"))


# --- I13 over real gRPC ---


async def test_random_streams_of_random_fates_never_hold_more_than_the_budget_i13() -> None:
    rng = random.Random(11)
    store = SimulatedStore(latency=lambda op, key: rng.random() * 0.002)
    budget = 6 * KIB
    async with running(store, memory_budget=budget, max_streams=100, memory_wait_seconds=20.0) as replica:
        highest = 0

        async def watch() -> None:
            nonlocal highest
            while True:
                highest = max(highest, replica.ingest.memory.in_use)
                await asyncio.sleep(0)

        async def one(number: int) -> None:
            session = (await replica.create(size=3 * KIB)).session_id
            call = replica.stub.UploadChunks(timeout=20)
            messages = [header(session), *(f for i, data in enumerate(PIECES) for f in chunk(i, data))]
            fate = rng.choice(["whole", "whole", "cancel", "cut"])
            stop = len(messages) if fate == "whole" else rng.randrange(1, len(messages))
            try:
                for message in messages[:stop]:
                    await call.write(message)
                if fate == "cancel":
                    call.cancel()
                await call.done_writing()
                await call
            except (aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError):
                assert fate != "whole", number

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(one(number) for number in range(40)))
        await until(lambda: replica.ingest.scope.running == 0, what="all uploads have ended")
        await until(lambda: replica.ingest.streams.held == 0, what="all streams have ended")
        watching.cancel()
        assert 0 < highest <= budget
        assert replica.ingest.memory.peak <= budget
        assert replica.ingest.memory.in_use == 0


# --- deadlines and clocks ---


async def test_a_store_that_never_answers_ends_every_call_by_its_deadline_i14() -> None:
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.3, s3_attempt_seconds=0.1) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.send([header(session)])
        dead = [faults.hold(op, times=10_000) for op in ("get", "put", "list_objects", "upload_part")]
        for awaited in (
            replica.call("GetSession", pb.GetSessionRequest(session_id=session), timeout=0.5),
            replica.call("CreateSession", pb.CreateSessionRequest(), timeout=0.5),
            replica.call("ListSessions", pb.ListSessionsRequest(), timeout=0.5),
            replica.send([header(session), *chunk(0, PIECES[0])], timeout=5.0),
        ):
            assert (await refused(awaited)).reason in ("STORE_UNAVAILABLE", "DEADLINE_EXCEEDED")
        await until(lambda: replica.ingest.memory.in_use == 0, what="the memory comes back")
        await until(lambda: replica.ingest.scope.running == 0, what="the uploads end")
        for fault in dead:
            fault.times = 0
        assert (await replica.upload(session, PIECES)).coverage.complete


async def test_uploads_behind_one_that_hangs_end_by_their_own_deadline_and_the_next_ones_go_on_i14() -> None:
    faults = Faults()
    held = faults.hold("upload_part", times=100)
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.5, s3_max_connections=1) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        errors = await asyncio.gather(*(refused(replica.upload(session, {n: PIECES[n]})) for n in range(3)))
        assert {type(error) for error in errors} == {StoreUnavailable}
        held.times = 0
        assert (await replica.upload(session, PIECES)).coverage.complete


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_replica_whose_clock_is_a_day_off_answers_the_stores_times_i15(days: int) -> None:
    bucket = SimulatedBucket()
    skew = timedelta(days=days)
    async with running(SimulatedStore(bucket, skew=skew)) as wrong, running(SimulatedStore(bucket)) as right:
        session = await wrong.create(size=3 * KIB)
        answer = await wrong.upload(session.session_id, PIECES)
        assert answer.coverage.complete
        shown = await right.get(session.session_id)
        assert shown == await wrong.get(session.session_id)
        assert shown.create_time == session.create_time
        started = (await wrong.info()).start_time, (await right.info()).start_time
        assert abs(started[0].seconds - started[1].seconds) < 60


async def test_a_chunk_whose_bytes_are_garbled_on_the_way_to_the_store_is_sent_again() -> None:
    faults = Faults()

    def garble() -> None:
        raise ChecksumMismatch("as the store saw it")

    faults.just_before("upload_part", "", garble)
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert (await replica.upload(session, PIECES)).coverage.complete
