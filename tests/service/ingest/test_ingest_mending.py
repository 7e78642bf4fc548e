"""A commit found a part overwritten: its client sends those bytes again (protocol.md section 4, step 1 ⚠)."""

from __future__ import annotations

import random
import threading

import pytest
from assembly_acts import TENANT, commit, finish, upload_id, write
from blake3 import blake3
from ingest_replica import KIB, Replica, chunks_of, header, refused, running, until
from store_faults import Faults

from sealane.domain.decision import CommitParameters, DecidedPart, Decision, Outcome
from sealane.domain.errors import SessionLost, SessionSealed
from sealane.domain.ids import SessionId
from sealane.domain.records import LostRecord
from sealane.domain.states import SessionState
from sealane.rpc import convert
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import LARGE_BYTES, SessionRecords
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

DATA = random.Random(17).randbytes(8 * KIB)
PIECES = chunks_of(DATA)


def _reads(store: SimulatedStore, name: str) -> int:
    return sum(call.op == "get" and call.key.endswith(f"/{name}") for call in store.calls)


async def _uploaded(replica: Replica) -> str:
    session = (await replica.create(size=len(DATA))).session_id
    await replica.upload(session, dict(enumerate(PIECES)))
    return session


async def test_a_mend_right_after_a_commit_is_none_of_the_duplicates_from_before_it() -> None:
    """⚠ "No decision" may be believed for two seconds within a stream, and by no stream that begins after it."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = await _uploaded(replica)
        call = replica.stub.UploadChunks(timeout=20)  # reads "no decision", and breaks before it confirms anything
        await call.write(header(session))
        store.calls.clear()
        await until(lambda: _reads(store, keys.DECISION) == 1, what="the stream is open")
        call.cancel()
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        await commit(replica, session, DATA)
        store.calls.clear()
        answer = await replica.upload(session, {1: PIECES[1]})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED]
        assert sum(call.op == "upload_part" for call in store.calls) == 1


async def test_mending_reads_the_decision_once_however_many_chunks_and_streams_it_takes() -> None:
    """It never changes, and may have 10,000 parts."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = await _uploaded(replica)
        await commit(replica, session, DATA)
        store.calls.clear()
        for start in (0, 4):
            answer = await replica.upload(session, {n: PIECES[n] for n in range(start, start + 4)})
            assert {c.status for c in answer.chunks} == {pb.CHUNK_STATUS_STORED}
        assert _reads(store, keys.DECISION) == 1
        assert store.calls[-1].key.endswith(keys.SESSION)  # the last word is still the store's ⚠


async def test_a_decision_that_was_seen_does_not_outlive_its_session() -> None:
    """⚠ A decision counts only if session.json is read after it and is there; and done.json is looked for anew."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = await _uploaded(replica)
        await commit(replica, session, DATA)
        await replica.upload(session, {1: PIECES[1]})
        finish(store.state, session, DATA)
        error = await refused(replica.upload(session, {1: PIECES[1]}))
        assert isinstance(error, SessionSealed)
        assert error.state is SessionState.COMMITTED


async def test_a_chunk_whose_mending_another_replicas_commit_overtook_is_in_the_object_and_acknowledged() -> None:
    """Its client then commits again, and is answered: SESSION_SEALED would tell it to stop."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = await _uploaded(replica)
        await commit(replica, session, DATA)
        faults.just_before("upload_part", "", lambda: finish(store.state, session, DATA))
        answer = await replica.upload(session, {1: PIECES[1]})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED]


async def test_a_chunk_whose_mending_came_too_late_for_a_lost_upload_says_lost() -> None:
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = await _uploaded(replica)
        await commit(replica, session, DATA)

        def give_up() -> None:
            store.state.lose_upload(upload_id(store.state, session))
            write(store.state, session, keys.DONE, LostRecord(session, "given up").encode())

        faults.just_before("upload_part", "", give_up)
        assert isinstance(await refused(replica.upload(session, {1: PIECES[1]})), SessionLost)


async def test_a_finished_session_is_shown_without_reading_its_decision() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = await _uploaded(replica)
        await commit(replica, session, DATA)
        finish(store.state, session, DATA)
        store.calls.clear()
        shown = await replica.get(session)
        assert convert.state_from_proto(shown.state) is SessionState.COMMITTED
        assert shown.coverage.prefix.blake3 == blake3(DATA).digest()
        listed = (await replica.call("ListSessions", pb.ListSessionsRequest())).sessions
        assert [convert.state_from_proto(found.state) for found in listed] == [SessionState.COMMITTED]
        assert _reads(store, keys.DECISION) == 0


async def test_a_large_decision_is_parsed_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 10,000 parts takes more than 100 ms, in which no stream would be served."""
    session = SessionId("ab" * 16)
    count = 3000
    part = DecidedPart("e" * 32, b"\1" * 32, b"\2" * 32, KIB)
    parameters = CommitParameters(count, count * KIB, b"\3" * 32)
    large = Decision(session, Outcome.COMMIT, parameters, "upload", (part,) * count)
    assert len(large.encode()) > LARGE_BYTES
    threads: list[threading.Thread] = []
    parse = Decision.parse

    def watched(body: bytes) -> Decision:
        threads.append(threading.current_thread())
        return parse(body)

    monkeypatch.setattr(Decision, "parse", watched)
    store = SimulatedStore()
    write(store.state, session, keys.DECISION, large.encode())
    records = SessionRecords(RetryingStore(store, rng=random.Random(1)))
    read = await records.decision(TENANT, session, Deadline.after(20))
    assert read is not None
    assert read.record == large
    assert threads[0] is not threading.main_thread()
