"""CommitSession on the simulated store: C1–C8 of protocol.md section 5."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from datetime import timedelta

import pytest
from assembly_world import (
    CHUNK,
    IMPATIENT,
    TENANT,
    Fault,
    Session,
    World,
    content_of,
    first,
    lands_late,
    loses_answer,
    refuses,
    run,
    wait,
)
from blake3 import blake3

from sealane.domain.blake3_kernel import chunk_cv, compile_kernel
from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.errors import (
    ChunkConflict,
    ChunkOutOfRange,
    CoverageIncomplete,
    DigestMismatch,
    InternalError,
    InvalidSize,
    OutcomeUnknown,
    PeerUnavailable,
    SealaneError,
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
from sealane.store.deadline import Deadline
from sealane.store.port import OutcomeUnknown as StoreOutcomeUnknown
from sealane.store.port import WriteConflict
from sealane.store.simulated_traits import AWS, SEAWEEDFS


def other(parameters: CommitParameters) -> CommitParameters:
    return dataclasses.replace(parameters, blake3=bytes(32))


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


# --- C1 ---


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


# --- C2–C4 ---


@pytest.mark.parametrize("missing", [[0], [1], [3], [0, 1], [1, 3]], ids=str)
def test_a_missing_chunk_is_named(missing) -> None:
    """A missing chunk 0 or 1 is named, not "loading for ever"; the session stays OPEN and can still be committed."""

    async def main() -> None:
        world = World()
        session = await world.session(without=missing)
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(CoverageIncomplete) as caught:
                await call(session)
            named = [i for found in caught.value.missing for i in range(found.first, found.last + 1)]
            assert named == missing
            assert caught.value.missing_chunks == len(missing)
        assert world.decision(session) is None
        for index in missing:
            await world.store_chunk(session, index)
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_a_chunk_behind_the_end_is_out_of_range() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.store_chunk(session, 4, b"more")
        with pytest.raises(ChunkOutOfRange) as caught:
            await world.replica().commit(session)
        assert (caught.value.index, caught.value.field) == (4, "chunk_index")
        with pytest.raises(ChunkOutOfRange):
            await world.replica().commit(session, CommitParameters(0, 0, blake3(b"").digest()))

    run(main())


def test_a_short_chunk_in_the_middle_is_refused_though_its_digests_would_merge() -> None:
    """⚠ C2: a short middle chunk would merge into a root that is no file's digest."""

    async def main() -> None:
        world = World()
        session = await world.session(content_of(3 * CHUNK), without=[1])
        await world.store_chunk(session, 1, session.chunk(1)[:-1])
        by_index = sorted(session.receipts, key=lambda receipt: receipt.index)
        merged = object_digest([ChunkHash(receipt.blake3, receipt.chaining_value) for receipt in by_index])
        for parameters in (
            CommitParameters(3, 3 * CHUNK, merged),
            CommitParameters(3, 3 * CHUNK - 1, merged),
            session.parameters,
        ):
            with pytest.raises(ChunkOutOfRange) as caught:
                await world.replica().commit(session, parameters)
            assert (caught.value.field, caught.value.index) in (("length", 1), ("length", 2))
        assert world.decision(session) is None

    run(main())


def test_two_chunks_of_other_bytes_under_one_index_are_a_conflict_even_if_one_of_them_fits() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.store_chunk(session, 1, content_of(CHUNK, seed=9))
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(ChunkConflict) as caught:
                await call(session)
            assert caught.value.chunks[0].index == 1
        assert world.decision(session) is None

    run(main())


def test_another_digest_or_size_is_a_mismatch_with_both_values() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        with pytest.raises(DigestMismatch) as caught:
            await world.replica().commit(session, other(session.parameters))
        assert caught.value.expected == bytes(32)
        assert caught.value.actual == session.parameters.blake3
        await world.replica().commit(session)  # it stayed OPEN

    run(main())


def test_the_size_declared_at_create_binds() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(2 * CHUNK), size=2 * CHUNK + 5)
        with pytest.raises(DigestMismatch) as caught:
            await world.replica().commit(session)
        assert (caught.value.expected_size, caught.value.actual_size) == (2 * CHUNK, 2 * CHUNK + 5)

    run(main())


@pytest.mark.parametrize(
    ("count", "size"),
    [(0, 5), (1, 0), (2, CHUNK), (1, CHUNK + 1), (1, -1), (-1, 1), (1, 1 << 63), (10_001, 10_001 * CHUNK)],
)
def test_sizes_and_counts_that_no_object_has_are_invalid(count, size) -> None:
    """Section 11: n = 0 with size > 0, sizes that overflow."""

    async def main() -> None:
        world = World()
        session = await world.session()
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(InvalidSize):
                await call(session, CommitParameters(count, size, bytes(32)))
        assert world.decision(session) is None

    run(main())


@pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
@pytest.mark.parametrize("newest", [0, 1])
def test_of_several_etags_with_the_same_bytes_the_newest_part_is_named(dialect, newest) -> None:
    """C3: two replicas stored the same chunk with different ETags (as under SSE-KMS): ListParts' newest row decides."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        etags = [session.receipts[1].etag, "f" * 32]
        twin = dataclasses.replace(session.receipts[1], etag=etags[1])
        await world.plain.put(keys.receipt(TENANT, session.id, twin), b"", timeout=30)
        for etag in (etags[1 - newest], etags[newest]):
            await wait(5)
            _restore_part(world, session, 1, etag)
        replica = world.replica()
        await replica.commit(session)
        decision = world.decision(session)
        assert decision is not None
        assert decision.parts[1].etag == etags[newest]
        assert world.object(session) == session.content
        assert [call.op for call in replica.store.calls].count("list_parts") == 1

    run(main())


def _restore_part(world: World, session: Session, index: int, etag: str) -> None:
    """Store the chunk again, under an ETag that is no MD5."""
    bucket, data = world.bucket, session.chunk(index)
    receipt = session.receipts[index]
    bucket.upload_part(session.record.key, session.upload_id, index + 1, data, receipt.sha256, world.plain.now())
    row = bucket._uploads[session.upload_id].rows[index + 1][-1]
    row.listed = dataclasses.replace(row.listed, etag=etag)


def test_parts_are_listed_only_if_an_index_has_several_etags() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        assert "list_parts" not in {call.op for call in replica.store.calls}

    run(main())


def test_receipts_without_multipart_json_are_an_alarm_for_operators_not_a_loss() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.plain.delete(keys.record(TENANT, session.id, keys.MULTIPART), timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session)
        assert world.decision(session) is None

    run(main())


# --- before any negative answer ---


def commits(world: World, session: Session):
    async def act() -> None:
        await world.replica().commit(session)

    return act


def commits_and_drops_receipts(world: World, session: Session):
    async def act() -> None:
        await world.replica().commit(session)
        for key in world.bucket.keys(keys.receipts_prefix(TENANT, session.id)):
            await world.plain.delete(key, timeout=30)

    return act


def aborts_and_drops_receipts(world: World, session: Session):
    async def act() -> None:
        await world.replica().abort(session)
        await world.replica().sweep(session)

    return act


def aborts_and_purges(world: World, session: Session):
    async def act() -> None:
        replica = world.replica(retention=IMPATIENT)
        await replica.abort(session)
        await wait(2)
        await replica.sweep(session)

    return act


@pytest.mark.parametrize("method", ["commit", "verify"])
@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (commits_and_drops_receipts, None),
        (aborts_and_drops_receipts, SessionAborted),
        (aborts_and_purges, SessionNotFound),
    ],
)
def test_i8_holes_that_a_purge_or_another_commit_made_are_never_answered_as_holes(method, meanwhile, expected) -> None:
    """⚠ Before any negative answer: decision.json again, present → follow it; then session.json, gone → NOT_FOUND."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.before = meanwhile(world, session)
        call = getattr(replica, method)
        if expected is None:
            answer = await call(session)
            assert (answer.replayed if method == "commit" else answer.state) in (True, SessionState.COMMITTED)
        else:
            with pytest.raises(expected):
                await call(session)

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_i8_holes_of_a_session_that_is_purged_while_it_is_asked_again_are_not_found(method) -> None:
    """⚠ Session.json last: a purge between the reads takes the decision away, and "none" would look like OPEN."""

    async def main() -> None:
        world = World()
        session = await world.session(without=[1])
        fault = Fault("get", keys.DELETED, first(aborts_and_purges(world, session)), nth=2)
        with pytest.raises(SessionNotFound):
            await getattr(world.replica(faults=fault), method)(session)
        assert fault.fired == 1

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_i8_every_kind_of_negative_answer_asks_for_the_decision_first(method) -> None:
    """⚠ Mismatch, conflict, bounds, size: all follow a decision that was made meanwhile."""

    async def main() -> None:
        world = World()
        for spoil in ("conflict", "digest", "range", "size"):
            session = await world.session()
            good = session.parameters
            replica = world.replica()
            if spoil == "conflict":
                await world.store_chunk(session, 1, content_of(CHUNK, seed=3))
                session.receipts.pop()
            elif spoil == "range":
                await world.store_chunk(session, 4, b"x")
                session.receipts.pop()
            asked = other(good) if spoil == "digest" else good
            if spoil == "size":
                asked = dataclasses.replace(good, chunk_count=9)
            fault = Fault("get", keys.DECISION, first(lambda s=session: world.decide(s)), nth=2)
            replica.store.faults = fault
            if asked == good:
                answer = await getattr(replica, method)(session, asked)
                assert method == "commit" or answer.state is SessionState.COMMITTING
            else:
                with pytest.raises(SessionSealed):
                    await getattr(replica, method)(session, asked)
            assert fault.fired == 1

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_ingest_away_is_no_answer_and_changes_nothing(method) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.failure = PeerUnavailable()
        with pytest.raises(PeerUnavailable):
            await getattr(replica, method)(session)
        assert world.decision(session) is None
        replica.receipts.failure = None
        await replica.commit(session)

    run(main())


def test_i8_a_session_that_ingest_does_not_know_is_not_not_found_while_session_json_is_there() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.failure = SessionNotFound()
        with pytest.raises(PeerUnavailable):
            await replica.commit(session)

    run(main())


def test_verify_writes_nothing_and_says_what_a_commit_would() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        before = world.bucket.keys()
        replica = world.replica()
        verified = await replica.verify(session)
        assert (verified.state, verified.parameters) == (SessionState.OPEN, session.parameters)
        assert world.bucket.keys() == before
        assert {call.op for call in replica.store.calls} == {"get"}
        await world.decide(session)
        assert (await replica.verify(session)).state is SessionState.COMMITTING
        await replica.commit(session)
        assert (await replica.verify(session)).state is SessionState.COMMITTED

    run(main())


# --- the decision ---


def test_i1_the_decision_that_stands_is_obeyed_if_it_is_of_the_same_parameters() -> None:
    """Section 6, PUT decision, 412 and ours: on, with the part list that stands."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(lambda: world.decide(session)))
        await world.replica(faults=fault).commit(session)
        assert world.object(session) == session.content

    run(main())


@pytest.mark.parametrize(
    ("rival", "error"),
    [
        (Decision("", Outcome.ABORT), SessionAborted),
        (Decision("", Outcome.EXPIRE), SessionExpired),
    ],
    ids=["abort", "expire"],
)
def test_i1_i2_another_decision_that_came_first_is_obeyed(rival, error) -> None:
    """Section 6, PUT decision, 412 and not ours: obey it; no object appears (I2)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        body = dataclasses.replace(rival, session_id=session.id).encode()
        fault = Fault("put", keys.DECISION, first(lambda: world.put_record(session, keys.DECISION, body)))
        with pytest.raises(error):
            await world.replica(faults=fault).commit(session)
        assert world.object(session) is None
        assert world.bucket.open_uploads() != []  # nothing was touched: purging is the sweeper's

    run(main())


def test_another_commit_that_came_first_seals_this_one_out() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        rival = Decision.commit(session.id, other(session.parameters), session.upload_id, session.receipts)
        fault = Fault("put", keys.DECISION, first(lambda: world.put_record(session, keys.DECISION, rival.encode())))
        with pytest.raises(SessionSealed):
            await world.replica(faults=fault).commit(session)

    run(main())


@pytest.mark.parametrize(
    "action",
    [loses_answer, lands_late(0.01), lands_late(20), refuses(StoreOutcomeUnknown("cut")), refuses(WriteConflict())],
    ids=["answer lost", "lands soon", "lands late", "never arrived", "409"],
)
def test_a_decision_of_unknown_outcome_is_read_and_put_again(action) -> None:
    """Section 6, PUT decision: unknown → GET, present → as 412; 404 is not final: the same PUT again; 409 → again."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica(faults=Fault("put", keys.DECISION, action)).commit(session)
        assert world.object(session) == session.content

    run(main())


def test_at_the_deadline_the_outcome_is_unknown_and_never_a_failure() -> None:
    """Section 6: "outcome unknown, repeat the same request"; and the repeat succeeds (I14: it ends by its deadline)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, refuses(StoreOutcomeUnknown("503")), times=10**6)
        started = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).commit(session, seconds=20)
        assert asyncio.get_running_loop().time() - started <= 20
        assert world.object(session) is None
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


@pytest.mark.parametrize("method", ["commit", "abort"])
def test_behind_the_decision_a_store_that_can_not_be_read_is_an_unknown_outcome(method) -> None:
    """The decision may stand: C5's own read of session.json fails until the deadline."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("get", keys.SESSION, refuses(StoreOutcomeUnknown("503")), nth=2, times=10**6)
        with pytest.raises(OutcomeUnknown):
            await getattr(world.replica(faults=fault), method)(session, seconds=20)
        assert world.decision(session) is not None

    run(main())


@pytest.mark.parametrize("op", ["complete_multipart", "head"])
def test_i14_a_store_that_never_answers_behind_the_decision_is_an_unknown_outcome(op) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()

        async def never(effect) -> None:
            await asyncio.sleep(10**6)

        started = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=Fault(op, session.record.key, never, times=10**6)).commit(session, seconds=60)
        assert asyncio.get_running_loop().time() - started <= 60.001
        await world.replica().commit(session)

    run(main())


def test_c5_a_decision_behind_a_purge_means_nothing() -> None:
    """⚠ A decision counts only if session.json is read after it: a committer stalls before its PUT, past the purge."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(aborts_and_purges(world, session)))
        replica = world.replica(faults=fault)
        with pytest.raises(SessionNotFound):
            await replica.commit(session)
        assert world.names(session) == [keys.DECISION]
        assert "complete_multipart" not in {call.op for call in replica.store.calls}  # C5: touch nothing
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


def test_a_forged_or_future_decision_decides_nothing() -> None:
    """Section 11: unparsable records fail closed."""

    async def main() -> None:
        world = World()
        for body in (b"{}", b"not json", b'{"version":2,"kind":"decision","outcome":"COMMIT"}'):
            session = await world.session()
            await world.put_record(session, keys.DECISION, body)
            with pytest.raises(InternalError):
                await world.replica().commit(session)
            with pytest.raises(InternalError):
                await world.replica().outcome(session)
            assert world.object(session) is None

    run(main())


# --- outcome and abort ---


def test_get_commit_tells_every_state_and_never_guesses() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        assert await replica.outcome(session) == (SessionState.OPEN, None)
        await world.decide(session)
        assert await replica.outcome(session) == (SessionState.COMMITTING, None)
        answer = await replica.commit(session)
        state, committed = await replica.outcome(session)
        assert state is SessionState.COMMITTED
        assert committed == dataclasses.replace(answer, replayed=True)
        gone = await world.session()
        await replica.abort(gone)
        assert await replica.outcome(gone) == (SessionState.ABORTED, None)

    run(main())


def test_get_commit_does_not_say_open_of_a_session_purged_under_its_eyes() -> None:
    """⚠ "No decision" means OPEN only while session.json is there: a purge takes the decision last."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        fault = Fault("get", keys.DELETED, first(aborts_and_purges(world, session)))
        with pytest.raises(SessionNotFound):
            await world.replica(faults=fault).outcome(session)

    run(main())


def test_abort_is_idempotent_and_a_commit_after_it_is_refused() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        assert await world.replica().abort(session) is SessionState.ABORTED
        assert await world.replica().abort(session) is SessionState.ABORTED
        with pytest.raises(SessionAborted):
            await world.replica().commit(session)
        expired = await world.session()
        await world.put_record(expired, keys.DECISION, Decision(expired.id, Outcome.EXPIRE).encode())
        assert await world.replica().abort(expired) is SessionState.EXPIRED

    run(main())


def test_i10_abort_never_undoes_a_commit() -> None:
    async def main() -> None:
        world = World()
        committing, committed = await world.session(), await world.session()
        await world.decide(committing)
        await world.replica().commit(committed)
        for session, state in ((committing, SessionState.COMMITTING), (committed, SessionState.COMMITTED)):
            with pytest.raises(SessionSealed) as caught:
                await world.replica().abort(session)
            assert caught.value.state is state
        await world.replica().commit(committing)
        assert world.object(committing) == committing.content
        assert world.object(committed) == committed.content

    run(main())


def test_a_stalled_abort_behind_a_purge_is_not_found_and_its_decision_means_nothing() -> None:
    """⚠ session.json again after PUT decision=ABORT."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(aborts_and_purges(world, session)))
        with pytest.raises(SessionNotFound):
            await world.replica(faults=fault).abort(session)
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


@pytest.mark.parametrize("action", [loses_answer, lands_late(5), refuses(StoreOutcomeUnknown("cut"))])
def test_an_abort_of_unknown_outcome_is_settled_before_it_is_answered(action) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        assert await world.replica(faults=Fault("put", keys.DECISION, action)).abort(session) is SessionState.ABORTED
        assert world.decision(session) == Decision(session.id, Outcome.ABORT)

    run(main())


def test_an_abort_at_its_deadline_is_unknown() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, refuses(StoreOutcomeUnknown("503")), times=10**6)
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).abort(session, seconds=10)

    run(main())


@pytest.mark.parametrize("days", [-1, 1])
def test_i15_a_replica_whose_clock_is_a_day_off_commits_the_same(days) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        right = await world.session()
        answer = await world.replica(skew=timedelta(days=days)).commit(session)
        twin = await world.replica().commit(right)
        assert answer.commit_time == twin.commit_time

    run(main())


def test_i12_every_key_touched_is_under_the_callers_own_tenant() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        with pytest.raises(SealaneError):
            await replica.assembly.committer.commit(
                keys.Tenant("other"), session.id, session.parameters, Deadline.after(30)
            )
        own = [call.key for call in replica.store.calls if not call.key.startswith(".sealane/other/")]
        assert all(key.startswith((f"{TENANT}/", f".sealane/{TENANT}/")) for key in own)

    run(main())


def test_i12_a_session_json_that_names_anothers_key_is_refused() -> None:
    async def main() -> None:
        world = World()
        session = await world.open_session(b"")
        forged = dataclasses.replace(session.record, key="other/by-session/" + session.id + "/data.bin")
        await world.plain.put(keys.record(TENANT, session.id, keys.SESSION), forged.encode(), timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session, CommitParameters(0, 0, blake3(b"").digest()))

    run(main())


@pytest.mark.parametrize("ask", ["commit", "verify", "outcome", "sweep"])
def test_a_finished_commit_is_answered_without_its_decision(ask) -> None:
    """done.json has the whole answer (C1: "done → answer from it"); a part list of 10,000 rows is not read for it."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        replica = world.replica()
        await getattr(replica, ask)(session)
        read = [call.key.rsplit("/", 1)[-1] for call in replica.store.calls if call.op == "get"]
        assert keys.DECISION not in read
        assert read[:3] == [keys.SESSION, keys.DELETED, keys.DONE]
        assert read[3:] == [keys.SESSION]  # ⚠ and session.json last

    run(main())
