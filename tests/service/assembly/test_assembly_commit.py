"""CommitSession on the simulated store: the object, its one answer, and C1 of protocol.md section 5."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest
from assembly_faults import Fault, lands_late, loses_answer
from assembly_time import run
from assembly_world import CHUNK, TENANT, Session, World, content_of
from blake3 import blake3
from commit_acts import other

from sealane.domain.blake3_kernel import chunk_cv, compile_kernel
from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.errors import (
    DigestMismatch,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.ids import SessionId
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.simulated_traits import AWS, SEAWEEDFS


@pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7])
def test_i4_the_committed_object_is_the_chunks_in_order(dialect, size) -> None:
    """I4: size, bytes and digest are those of the verified chunks; I7: done.json is there once success is answered."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session(content_of(size))
        answer = await world.replica().commit(session)
        assert world.object(session) == session.content
        assert (answer.size, answer.blake3) == (size, blake3(session.content).digest())
        assert (answer.key, answer.bucket, answer.replayed) == (session.record.key, "simulated", False)
        done = world.done(session)
        assert isinstance(done, DoneRecord)
        assert (done.etag, done.size, done.blake3) == (answer.etag, answer.size, answer.blake3)
        stored = world.bucket.object(session.record.key)
        assert stored is not None
        assert stored.head.etag == answer.etag
        assert stored.head.metadata["colour"] == "blue"

    run(main())


def test_committed_at_is_the_decisions_last_modified_so_that_all_writers_agree() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        answer = await world.replica(latency=lambda op, key: 1.7).commit(session)
        decision = world.bucket.object(keys.record(TENANT, session.id, keys.DECISION))
        assert decision is not None
        assert answer.commit_time == decision.head.last_modified

    run(main())


def test_commit_reads_and_copies_no_byte_of_data() -> None:
    """⚠ C8: no tags and no copies either - a late unfenced write could land on another's object."""

    async def main() -> None:
        world = World()
        session = await world.session(content_of(64 * CHUNK))
        replica = world.replica()
        await replica.commit(session)
        touched = [call for call in replica.store.calls if call.key == session.record.key]
        assert {call.op for call in touched} <= {"complete_multipart", "head"}
        assert {call.op for call in replica.store.calls} <= {"get", "put", "complete_multipart", "head"}
        records = sum(len(world.read(session, name) or b"") for name in keys.RECORDS)
        assert replica.store.bytes_read <= 4 * records

    run(main())


def test_i6_all_answers_of_one_commit_are_equal_from_any_replica_however_often() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        answers = [await world.replica().commit(session) for _ in range(4)]
        assert [answer.replayed for answer in answers] == [False, True, True, True]
        assert {dataclasses.replace(answer, replayed=False) for answer in answers} == {answers[0]}

    run(main())


def test_i6_sixty_four_callers_at_once_get_one_answer() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replicas = [world.replica() for _ in range(4)]
        answers = await asyncio.gather(*(replicas[n % 4].commit(session) for n in range(64)))
        assert len({dataclasses.replace(answer, replayed=False) for answer in answers}) == 1
        assert world.object(session) == session.content
        assert not any(replica.events.alarms for replica in replicas)

    run(main())


def test_ten_thousand_chunks_commit_without_a_byte_kept() -> None:
    """10,000 chunks: decision of 10,000 rows, one CMU."""

    async def main() -> None:
        world = World(keep_bytes=False)
        compile_kernel()
        content = content_of(10_000 * CHUNK)
        session = await world.open_session(content)
        for index in random.Random(5).sample(range(10_000), 10_000):
            await world.store_chunk(session, index, cv=chunk_cv)
        answer = await world.replica().commit(session)
        assert answer.blake3 == blake3(content).digest()
        assert answer.size == len(content)

    run(main())


@pytest.mark.parametrize("size", [None, 0])
def test_an_object_without_chunks_is_one_empty_part_and_never_a_put(size) -> None:
    """C4: assembly makes multipart.json and the empty part itself; PutObject is not fenced."""

    async def main() -> None:
        world = World()
        session = await world.session(b"", size=size)
        replica = world.replica()
        answer = await replica.commit(session)
        assert (answer.size, answer.blake3) == (0, blake3(b"").digest())
        assert world.object(session) == b""
        assert not [call for call in replica.store.calls if call.op == "put" and call.key == session.record.key]
        assert keys.MULTIPART in world.names(session)
        decision = world.decision(session)
        assert decision is not None
        assert len(decision.parts) == 1
        stored = world.bucket.object(session.record.key)
        assert stored is not None
        assert stored.head.metadata[keys.TOKEN_METADATA] == session.record.token
        assert (await world.replica().commit(session)).replayed

    run(main())


def test_an_empty_object_needs_the_digest_of_nothing() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(b"")
        with pytest.raises(DigestMismatch):
            await world.replica().commit(session, CommitParameters(0, 0, bytes(32)))
        assert world.names(session) == [keys.SESSION]

    run(main())


@pytest.mark.parametrize("action", [loses_answer, lands_late(3), lands_late(0.01)], ids=["lost", "late", "soon"])
def test_an_own_upload_is_aborted_only_when_multipart_json_was_read_and_names_another(action) -> None:
    """⚠ Section 4, step 5: after an unknown outcome of PUT multipart.json what it names is used, never aborted."""

    async def main() -> None:
        world = World()
        session = await world.session(b"")
        await world.replica(faults=Fault("put", keys.MULTIPART, action)).commit(session)
        assert world.object(session) == b""
        assert world.bucket.open_uploads() == []

    run(main())


def test_two_commits_of_an_empty_object_use_one_upload_and_leave_none() -> None:
    """⚠ The multipart.json race: the loser aborts its own upload and uses the winner's."""

    async def main() -> None:
        for seed in range(20):
            world = World(seed=seed)
            session = await world.session(b"")
            await asyncio.gather(*(world.replica().commit(session) for _ in range(5)))
            assert world.object(session) == b""
            assert world.bucket.open_uploads() == []

    run(main())


def test_an_unknown_session_is_not_found() -> None:
    async def main() -> None:
        world = World()
        ghost = Session(SessionId("0" * 32), (await world.open_session(b"")).record, b"x")
        for call in (world.replica().commit, world.replica().verify, world.replica().abort, world.replica().outcome):
            with pytest.raises(SessionNotFound):
                await call(ghost)

    run(main())


def test_other_parameters_of_a_committed_session_are_sealed_out() -> None:
    """C1: the parameters are compared first, then the answer is given."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        good = session.parameters
        for bad in (
            other(good),
            dataclasses.replace(good, size=good.size - 1),
            dataclasses.replace(good, chunk_count=good.chunk_count + 1),
        ):
            with pytest.raises(SessionSealed) as caught:
                await world.replica().commit(session, bad)
            assert caught.value.state is SessionState.COMMITTED
            with pytest.raises(SessionSealed):
                await world.replica().verify(session, bad)

    run(main())


def test_other_parameters_of_a_committing_session_are_sealed_out() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        with pytest.raises(SessionSealed) as caught:
            await world.replica().commit(session, other(session.parameters))
        assert caught.value.state is SessionState.COMMITTING
        assert world.done(session) is None

    run(main())


def test_a_lost_session_is_lost_whatever_the_parameters() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await world.put_record(session, keys.DONE, LostRecord(session.id, "gone").encode())
        for parameters in (session.parameters, other(session.parameters)):
            with pytest.raises(SessionLost):
                await world.replica().commit(session, parameters)
            with pytest.raises(SessionLost):
                await world.replica().verify(session, parameters)
        with pytest.raises(SessionLost):
            await world.replica().abort(session)
        assert await world.replica().outcome(session) == (SessionState.LOST, None)

    run(main())


@pytest.mark.parametrize(
    ("outcome", "error"), [(Outcome.ABORT, SessionAborted), (Outcome.EXPIRE, SessionExpired)], ids=str
)
def test_a_given_up_session_answers_its_outcome(outcome, error) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.put_record(session, keys.DECISION, Decision(session.id, outcome).encode())
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(error):
                await call(session)
        assert world.object(session) is None

    run(main())


def test_everything_obeys_deleted_json() -> None:
    """C1: deleted → NOT_FOUND, before done.json is looked at; and a sweep goes on with the removal (W5)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
        for call in (world.replica().commit, world.replica().verify, world.replica().abort):
            with pytest.raises(SessionNotFound):
                await call(session)
        assert await world.replica().outcome(session) == (SessionState.DELETED, None)
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


def test_c1_reads_session_deleted_done_decision_in_this_order() -> None:
    """⚠ C1's order: the order of the purge turned round."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        read = [call.key.rsplit("/", 1)[-1] for call in replica.store.calls if call.op == "get"]
        assert read[:4] == [keys.SESSION, keys.DELETED, keys.DONE, keys.DECISION]

    run(main())
