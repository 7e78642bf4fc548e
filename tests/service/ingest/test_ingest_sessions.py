"""Sessions: created once per request, shown with or without assembly, listed, watched, drained, counted."""

from __future__ import annotations

import asyncio
import random

import pytest
from assembly_replica import assembly_at
from blake3 import blake3
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from ingest_replica import KIB, TINY, Replica, chunk, chunks_of, frame, header, receipt_keys, refused, running, until
from store_faults import Faults

from sealane.dev.ports import free_ports
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import Draining, InvalidRequest, Overloaded, RequestIdUsed, SealaneError, StoreUnavailable
from sealane.domain.ids import SessionId, Tenant
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedBucket, SimulatedStore
from sealane.v1 import assembly_service_pb2, session_pb2
from sealane.v1 import ingest_service_pb2 as pb

TENANT = Tenant("default")
DATA = random.Random(4).randbytes(3 * KIB + 5)
PIECES = chunks_of(DATA)


def _session_puts(store: SimulatedStore) -> list[str]:
    return [call.key for call in store.calls if call.op == "put" and call.key.endswith(keys.SESSION)]


def _decide(store: SimulatedStore, session: str, outcome: Outcome) -> None:
    key = keys.record(TENANT, SessionId(session), keys.DECISION)
    store.state.put(key, Decision(session, outcome).encode(), EPOCH, if_absent=True, content_type="")


# --- create ---


async def test_a_session_shows_the_plan_the_ttl_and_the_stores_own_time() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = await replica.create(
            size=len(DATA),
            filename="a.bin",
            content_type="text/plain",
            metadata={"b": "2", "a": "1"},
            ttl=Duration(seconds=600),
        )
        assert (session.chunk_size, session.chunk_count, session.size) == (KIB, 4, len(DATA))
        assert session.state == session_pb2.SESSION_STATE_OPEN
        assert session.expire_time.seconds - session.create_time.seconds == 600
        head = store.state.head(keys.record(TENANT, SessionId(session.session_id), keys.SESSION))
        assert session.create_time.ToDatetime(head.last_modified.tzinfo) == head.last_modified
        shown = await replica.get(session.session_id)
        assert dict(shown.metadata) == {"a": "1", "b": "2"}
        assert (shown.filename, shown.content_type, shown.object_key) == ("a.bin", "text/plain", "")


async def test_a_session_whose_write_was_not_answered_gets_another_id_never_the_same() -> None:
    """⚠ Were the first write to land late, after a purge, the session would rise from the dead."""
    for fault in ("lose_answer", "never_arrives", "lands_late"):
        faults = Faults()
        getattr(faults, fault)("put", keys.SESSION, times=2)
        store = SimulatedStore(faults=faults)
        async with running(store) as replica:
            session = (await replica.create(size=KIB)).session_id
            puts = _session_puts(store)
            assert len(puts) == len(set(puts)) == 3
            assert puts[-1] == keys.record(TENANT, SessionId(session), keys.SESSION)


async def test_a_store_that_never_answers_a_create_is_unavailable_after_few_ids() -> None:
    faults = Faults()
    faults.never_arrives("put", keys.SESSION, times=1000)
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        assert isinstance(await refused(replica.create(size=KIB)), StoreUnavailable)
        assert len(set(_session_puts(store))) == len(_session_puts(store)) <= 5


async def test_the_same_request_id_answers_the_same_session_from_any_replica() -> None:
    bucket = SimulatedBucket()
    async with running(SimulatedStore(bucket)) as one, running(SimulatedStore(bucket)) as two:
        made = await one.create(size=KIB, request_id="r-1")
        again = await two.create(size=KIB, request_id="r-1")
        assert again == made
        other = await two.create(size=KIB, request_id="r-2")
        assert other.session_id != made.session_id
        assert len(bucket.keys(".sealane/default/sessions/")) == 2  # and none was left behind


async def test_many_creates_of_one_request_id_at_once_answer_one_session() -> None:
    rng = random.Random(1)
    bucket = SimulatedBucket()
    stores = [SimulatedStore(bucket, latency=lambda op, key: rng.random() * 0.01) for _ in range(2)]
    async with running(stores[0]) as one, running(stores[1]) as two:
        made = await asyncio.gather(*(r.create(size=KIB, request_id="same") for r in (one, two) * 8))
        assert len({session.session_id for session in made}) == 1


@pytest.mark.parametrize("fault", ["lose_answer", "never_arrives", "lands_late"])
async def test_a_request_record_whose_write_was_not_answered_is_read_before_anything_is_said(fault: str) -> None:
    """⚠ 412 and unknown are no answers: only the record that stands is."""
    faults = Faults()
    planned = getattr(faults, fault)("put", "/requests/")
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        made = await replica.create(size=KIB, request_id="r")
        if planned.late:
            with pytest.raises(Exception, match="there already"):
                planned.late[0]()
        assert await replica.create(size=KIB, request_id="r") == made


async def test_a_request_record_that_another_call_wrote_first_names_the_session_that_is_answered() -> None:
    faults = Faults()
    bucket = SimulatedBucket()
    async with running(SimulatedStore(bucket)) as other:
        made: list[session_pb2.Session] = []
        held = faults.hold("put", "/requests/")
        async with running(SimulatedStore(bucket, faults=faults)) as replica:
            slow = asyncio.ensure_future(replica.create(size=KIB, request_id="r"))
            await held.reached.wait()
            made.append(await other.create(size=KIB, request_id="r"))
            held.go.set()
            assert await slow == made[0]


async def test_a_request_id_with_other_parameters_is_refused() -> None:
    async with running() as replica:
        await replica.create(size=KIB, filename="a", request_id="r")
        for fields in ({"size": 2 * KIB}, {"filename": "b"}, {"metadata": {"k": "v"}}, {"ttl": Duration(seconds=90)}):
            request = {"size": KIB, "filename": "a", "request_id": "r", **fields}
            error = await refused(replica.create(**request))
            assert type(error) is InvalidRequest
            assert error.field == "request_id"


async def test_a_request_id_answers_its_session_whatever_its_state_and_is_used_up_once_it_is_gone() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = await replica.create(size=KIB, request_id="r")
        _decide(store, made.session_id, Outcome.ABORT)
        assert (await replica.create(size=KIB, request_id="r")).state == session_pb2.SESSION_STATE_ABORTED
        store.state.delete(keys.record(TENANT, SessionId(made.session_id), keys.SESSION))
        assert isinstance(await refused(replica.create(size=KIB, request_id="r")), RequestIdUsed)


async def test_two_sessions_of_one_filename_have_keys_of_their_own() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        sessions = [(await replica.create(size=KIB, filename="same")).session_id for _ in range(2)]
        for number, session in enumerate(sessions):
            await replica.upload(session, [bytes([number]) * KIB])
        assert len(set(store.state.open_uploads())) == 2
        digests = [(await replica.get(session)).coverage.prefix.blake3 for session in sessions]
        assert digests == [blake3(bytes([number]) * KIB).digest() for number in range(2)]


# --- get, with assembly there and away ---


async def test_coverage_is_answered_while_assembly_is_away_and_the_outcome_once_it_is_back() -> None:
    """Each service survives the other's absence and recovers by itself."""
    store = SimulatedStore()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with running(store, peer=address) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        away = await replica.get(session)
        assert away.outcome_unavailable
        assert away.coverage.complete
        async with assembly_at(address, store, replica.address) as assembly:
            await _until_outcome(replica, session)
            committed = await assembly.CommitSession(
                assembly_service_pb2.CommitSessionRequest(
                    session_id=session, chunk_count=len(PIECES), size=len(DATA), blake3=blake3(DATA).digest()
                ),
                timeout=20,
            )
            shown = await replica.get(session)
            assert shown.state == session_pb2.SESSION_STATE_COMMITTED
            assert shown.committed_object.etag == committed.committed_object.etag
            assert shown.coverage.complete
        # The outcome is in the store: nobody has to be asked for it.
        after = await replica.get(session)
        assert after.state == session_pb2.SESSION_STATE_COMMITTED
        assert not after.outcome_unavailable
        assert after.object_key == after.committed_object.key == keys.object_key(TENANT, SessionId(session), "object")


async def test_an_assembly_that_hangs_delays_no_coverage_beyond_its_time() -> None:
    """A resume must not hang on the outcome: the peer takes the call and never answers."""
    server = aio.server()
    hanging = asyncio.Event()

    class Hangs:
        async def GetCommit(self, request: object, context: object) -> object:  # noqa: N802
            hanging.set()
            return await asyncio.Event().wait()

        def __getattr__(self, name: str) -> object:
            return None

    from sealane.v1 import assembly_service_pb2_grpc

    assembly_service_pb2_grpc.add_AssemblyServiceServicer_to_server(Hangs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running(peer=f"127.0.0.1:{port}", outcome_seconds=0.1) as replica:
            session = (await replica.create(size=len(DATA))).session_id
            await replica.upload(session, PIECES)
            shown = await replica.get(session)
            assert hanging.is_set()
            assert shown.outcome_unavailable
            assert shown.coverage.complete
    finally:
        await server.stop(0)


async def _until_outcome(replica: Replica, session: str) -> None:
    async with asyncio.timeout(20):
        while (await replica.get(session)).outcome_unavailable:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_receipts_come_in_order_in_batches_and_only_of_a_session_that_is_there() -> None:
    store = SimulatedStore()
    async with running(store, memory_budget=64 * KIB) as replica:
        session = (await replica.create(size=4 * KIB)).session_id
        await replica.upload(session, dict.fromkeys((3, 0, 2, 1), DATA[:KIB]))
        assert [r.chunk_index for r in await replica.receipts(session)] == [0, 1, 2, 3]
        faults = Faults()
        store.faults = faults
        key = keys.record(TENANT, SessionId(session), keys.SESSION)
        faults.just_before("list_objects", "receipts/", lambda: store.state.delete(key))
        assert (await refused(replica.receipts(session))).reason == "SESSION_NOT_FOUND"


# --- list ---


async def test_sessions_are_listed_once_each_in_the_order_of_their_ids_over_any_page_size() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = sorted([(await replica.create(size=KIB, filename=f"f{n}")).session_id for n in range(11)])
        for session in made[::3]:
            await replica.upload(session, [b"x" * KIB])
        for size in (1, 2, 5, 11, 100):
            assert [s.session_id for s in await _list(replica, size)] == made


async def test_a_list_jumps_over_receipts_instead_of_reading_them() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = [(await replica.create(size=KIB)).session_id for _ in range(3)]
        for session in made:
            prefix = keys.receipts_prefix(TENANT, SessionId(session))
            for index in range(5000):
                store.state.put(f"{prefix}{index:08d}.x", b"", EPOCH, if_absent=False, content_type="")
        store.calls.clear()
        assert [s.session_id for s in await _list(replica, 10)] == sorted(made)
        assert sum(call.op == "list_objects" for call in store.calls) <= 2 * len(made) + 1


async def test_a_list_filters_by_state_and_its_token_belongs_to_that_filter() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = sorted([(await replica.create(size=KIB)).session_id for _ in range(6)])
        for session in made[:4]:
            _decide(store, session, Outcome.ABORT)
        aborted = await _list(replica, 2, session_pb2.SESSION_STATE_ABORTED)
        assert [s.session_id for s in aborted] == made[:4]
        assert [s.session_id for s in await _list(replica, 2, session_pb2.SESSION_STATE_OPEN)] == made[4:]
        page = await replica.call("ListSessions", pb.ListSessionsRequest(page_size=2))
        request = pb.ListSessionsRequest(
            page_size=2, page_token=page.next_page_token, state=session_pb2.SESSION_STATE_OPEN
        )
        assert (await refused(replica.call("ListSessions", request))).reason == "INVALID_PAGE_TOKEN"


async def test_what_a_purge_has_left_is_no_session() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        gone = (await replica.create(size=KIB)).session_id
        await replica.upload(gone, [b"x" * KIB])
        kept = (await replica.create(size=KIB)).session_id
        store.state.delete(keys.record(TENANT, SessionId(gone), keys.SESSION))
        _decide(store, gone, Outcome.ABORT)
        assert [s.session_id for s in await _list(replica, 10)] == [kept]


async def _list(replica: Replica, page_size: int, state: int = 0) -> list[session_pb2.Session]:
    found: list[session_pb2.Session] = []
    token = ""
    while True:
        request = pb.ListSessionsRequest(page_size=page_size, page_token=token, state=state)  # type: ignore[arg-type]
        page = await replica.call("ListSessions", request)
        assert len(page.sessions) <= page_size
        found += page.sessions
        token = page.next_page_token
        if not token:
            return found


# --- watch ---


async def test_a_watch_shows_the_session_at_once_each_change_and_ends_with_it() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        watch = replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=20)
        assert (await watch.read()).session.coverage.stored_chunks == 0
        await replica.upload(session, {1: PIECES[1]})
        assert (await watch.read()).session.coverage.stored_chunks == 1
        _decide(store, session, Outcome.ABORT)
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


async def test_a_drain_ends_streams_that_wait_between_chunks_and_watches_at_once() -> None:
    async with running(watch_seconds=30.0) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        call = replica.stub.UploadChunks(timeout=20)
        await call.write(header(session))
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


# --- server info ---


async def test_server_info_shows_limits_statistics_and_the_probes_rows() -> None:
    class Row:
        guarantee, ok, detail = "R2", True, "48 races, one winner each"

    class Report:
        verdicts = (Row(),)

    store = SimulatedStore()
    async with running(store, report=Report) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        await replica.upload(session, {0: PIECES[0]})
        await refused(replica.get("0" * 32))
        info = await replica.info()
        counted = info.statistics
        assert (counted.sessions_created, counted.chunks_stored, counted.chunks_duplicate) == (1, 4, 1)
        assert counted.bytes_stored == len(DATA)
        assert counted.errors_by_reason == {"SESSION_NOT_FOUND": 1}
        assert (counted.open_streams, counted.memory_in_use, counted.memory_budget) == (0, 0, 64 * KIB)
        assert info.limits.max_chunk_bytes == TINY.max_chunk_bytes
        assert [(v.guarantee, v.ok) for v in info.store_probe] == [("R2", True)]
        assert abs(info.start_time.seconds - store.now().timestamp()) < 3600
