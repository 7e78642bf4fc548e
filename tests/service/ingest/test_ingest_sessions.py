"""CreateSession, GetSession, StreamReceipts, GetServerInfo: one session whatever is lost, and what is known of it."""

from __future__ import annotations

import asyncio
import random

import pytest
from assembly_replica import assembly_at
from assembly_writes import TENANT, decide
from blake3 import blake3
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from ingest_replica import KIB, TINY, Replica, refused, running
from store_faults import Faults
from uneven_data import DATA, PIECES

from sealane.dev.ports import free_ports
from sealane.domain.decision import Outcome
from sealane.domain.errors import InvalidRequest, RequestIdUsed, StoreUnavailable
from sealane.domain.ids import SessionId
from sealane.store import keys
from sealane.store.simulated import SimulatedBucket, SimulatedStore
from sealane.v1 import assembly_service_pb2, session_pb2


def _session_puts(store: SimulatedStore) -> list[str]:
    return [call.key for call in store.calls if call.op == "put" and call.key.endswith(keys.SESSION)]


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
        decide(store.state, made.session_id, Outcome.ABORT)
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
