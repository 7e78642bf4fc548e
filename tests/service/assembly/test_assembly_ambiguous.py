"""What the store answers to CMU, and what follows: every row of protocol.md section 6 that is assembly's."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random

import pytest
from assembly_world import (
    CHUNK,
    EXPIRED_AFTER,
    TENANT,
    Fault,
    Faults,
    Replica,
    Session,
    World,
    content_of,
    first,
    lands_late,
    loses_answer,
    refuses,
    run,
    stalls,
    wait,
)

from assembly_service.mend import part_list
from assembly_service.roll_forward import HEADS_BEFORE_LOST, LOOK_SECONDS
from sealane.domain.errors import (
    ChunkNeeded,
    InternalError,
    OutcomeUnknown,
    SessionLost,
    SessionNotFound,
    StoreUnavailable,
)
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys, port
from sealane.store.simulated_traits import AWS, SEAWEEDFS

DIALECTS = pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
CMU = "complete_multipart"


def cmu(session: Session, action, **options) -> Fault:
    return Fault(CMU, session.record.key, action, **options)


def count(replica: Replica, op: str) -> int:
    return [call.op for call in replica.store.calls].count(op)


# --- 200 with an error, time-out, 5xx, 409, 412 ---


@DIALECTS
@pytest.mark.parametrize(
    "error",
    [
        port.OutcomeUnknown("200 with an <Error> body"),
        port.OutcomeUnknown("time-out"),
        port.Throttled("503"),
        port.WriteConflict("409"),
        port.PreconditionFailed("412"),
    ],
    ids=["200 with an error", "time-out", "503", "409", "412"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_cmu_that_did_not_happen_is_sent_again_while_the_upload_exists(dialect, error, times) -> None:
    """Row "CMU: 200 with an <Error> body, time-out, 5xx, 409, 412": HEAD; ours → success; else again."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        replica = world.replica(faults=cmu(session, refuses(error), times=times))
        await replica.commit(session)
        assert world.object(session) == session.content
        assert count(replica, CMU) == times + 1
        assert replica.events.alarms == []

    run(main())


@DIALECTS
@pytest.mark.parametrize("action", [loses_answer, lands_late(0.0), lands_late(3)], ids=["lost", "at once", "late"])
def test_cmu_that_did_happen_is_a_success_by_head_alone(dialect, action) -> None:
    """The same row, and "NoSuchUpload after a success": HEAD says that the object is ours."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        replica = world.replica(faults=cmu(session, action))
        await replica.commit(session)
        assert world.object(session) == session.content
        assert isinstance(world.done(session), DoneRecord)
        assert replica.events.alarms == []

    run(main())


@DIALECTS
def test_nosuchupload_after_anothers_success_is_a_success(dialect) -> None:
    """Row "CMU: NoSuchUpload": HEAD, ours → success."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        rival = world.replica()
        fault = cmu(session, first(lambda: rival.commit(session)))
        answer = await world.replica(faults=fault).commit(session)
        again = await world.replica().commit(session)
        assert dataclasses.replace(again, replayed=False) == answer

    run(main())


def test_nosuchupload_heads_a_few_times_before_it_believes_in_a_loss() -> None:
    """Row "CMU: NoSuchUpload": HEAD, a few times - the object of a CMU that another sent may show a little later."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.replica().commit(session)
        await world.plain.delete(keys.record(TENANT, session.id, keys.DONE), timeout=30)
        faults = Faults(
            cmu(session, refuses(port.NoSuchUpload())),
            Fault("head", session.record.key, refuses(port.NoSuchKey()), times=2),
        )
        replica = world.replica(faults=faults)
        await replica.commit(session)
        assert isinstance(world.done(session), DoneRecord)
        assert count(replica, "head") == 3

    run(main())


# --- NoSuchUpload, and lost ---


@DIALECTS
def test_i3_an_upload_that_the_store_lost_is_lost_for_good_with_an_alarm(dialect) -> None:
    """Row "CMU: NoSuchUpload": ListParts agrees → done.json, session.json, PUT done.json{LOST}, DATA_LOSS, alarm."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        world.bucket.lose_upload(session.upload_id)
        replica = world.replica()
        with pytest.raises(SessionLost):
            await replica.commit(session)
        assert isinstance(world.done(session), LostRecord)
        assert len(replica.events.alarms) == 1
        reads = [(call.op, call.key.rsplit("/", 1)[-1]) for call in replica.store.calls]
        behind = reads[len(reads) - 1 - reads[::-1].index(("list_parts", "data.bin")) :]
        order = [behind.index(step) for step in (("get", keys.DONE), ("get", keys.SESSION), ("put", keys.DONE))]
        assert order == sorted(order)  # ⚠ done.json, session.json, then PUT LOST
        with pytest.raises(SessionLost):
            await world.replica().commit(session)

    run(main())


def test_nosuchupload_of_a_living_upload_without_parts_is_no_loss() -> None:
    """⚠ SeaweedFS says NoSuchUpload of an upload without parts: ListParts must say so too, else as InvalidPart."""

    async def main() -> None:
        world = World(SEAWEEDFS)
        session = await world.session()
        await world.decide(session)
        world.bucket._uploads[session.upload_id].rows.clear()
        with pytest.raises(ChunkNeeded) as caught:
            await world.replica().commit(session)
        assert [chunk.index for chunk in caught.value.chunks] == [0, 1, 2, 3]
        assert world.done(session) is None
        for index in range(4):
            await world.store_part(session, index, session.chunk(index))
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


@DIALECTS
def test_i3_i8_a_commit_that_another_finishes_between_the_looks_and_listparts_is_not_lost(dialect) -> None:
    """⚠ Gone, **then** HEAD: A hears one false NoSuchUpload and sees no object; B completes; A finds no upload."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        stalled = asyncio.Event()
        b = world.replica(faults=Fault("put", keys.DONE, stalls(stalled)))  # no done.json speaks for the object yet
        finishing: list[asyncio.Task[object]] = []

        async def complete_by_b() -> None:
            finishing.append(asyncio.create_task(b.commit(session)))
            await wait(1)
            assert world.object(session) == session.content

        a = world.replica(
            faults=Faults(
                cmu(session, refuses(port.NoSuchUpload())),
                Fault("list_parts", session.record.key, first(complete_by_b)),
            )
        )
        answer = await a.commit(session)
        assert isinstance(world.done(session), DoneRecord)
        stalled.set()
        assert await finishing[0] == answer  # I6
        assert a.events.alarms == b.events.alarms == []

    run(main())


@pytest.mark.parametrize("seed", range(8))
def test_the_looks_for_an_object_are_apart_however_the_jitter_falls(seed) -> None:
    """Full jitter may make a pause of nothing: four HEADs in one moment would be one look."""

    async def main() -> None:
        world = World(AWS, seed=seed)
        session = await world.session()
        await world.decide(session)
        world.bucket.lose_upload(session.upload_id)
        moments: list[float] = []

        def look(effect):
            moments.append(asyncio.get_running_loop().time())
            return effect()

        fault = Fault("head", session.record.key, look, times=10**6)
        with pytest.raises(SessionLost):
            await world.replica(faults=fault).commit(session)
        looks = moments[:HEADS_BEFORE_LOST]
        assert min(later - sooner for sooner, later in itertools.pairwise(looks)) >= LOOK_SECONDS - 1e-6
        assert len(moments) == HEADS_BEFORE_LOST + 1  # and once more, behind ListParts

    run(main())


def test_i8_before_lost_done_json_is_asked_first() -> None:
    """⚠ Before LOST: done.json first; present → its answer."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        answer = await world.replica().commit(session)
        decision = (world.read(session, keys.DECISION), world.read(session, keys.DONE))
        assert None not in decision
        await world.plain.delete(session.record.key, timeout=30)  # as if HEAD could not see it
        done = keys.record(TENANT, session.id, keys.DONE)
        body = world.read(session, keys.DONE) or b""
        await world.plain.delete(done, timeout=30)
        put_back = Fault("list_parts", session.record.key, first(lambda: world.put_record(session, keys.DONE, body)))
        replica = world.replica(faults=put_back)
        again = await replica.commit(session)
        assert again == answer
        assert replica.events.alarms == []

    run(main())


def test_i8_a_done_json_that_came_before_our_lost_is_obeyed() -> None:
    """⚠ PUT done.json{LOST}: 412 → obey what is there."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        answer = await world.replica().commit(session)
        body = world.read(session, keys.DONE) or b""
        await world.plain.delete(keys.record(TENANT, session.id, keys.DONE), timeout=30)
        await world.plain.delete(session.record.key, timeout=30)
        fault = Fault("put", keys.DONE, first(lambda: world.put_record(session, keys.DONE, body)))
        replica = world.replica(faults=fault)
        assert await replica.commit(session) == answer
        assert replica.events.alarms == []

    run(main())


def test_i8_before_lost_session_json_is_asked_and_gone_is_not_found() -> None:
    """⚠ Before LOST: session.json; gone → NOT_FOUND, and no LOST is written."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        world.bucket.lose_upload(session.upload_id)

        async def purge() -> None:
            await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)

        with pytest.raises(SessionNotFound):
            await world.replica(faults=Fault("list_parts", session.record.key, first(purge))).commit(session)
        assert world.done(session) is None

    run(main())


def test_i8_an_object_deleted_by_request_meanwhile_is_not_found_and_not_lost() -> None:
    """deleted.json is obeyed behind C5, too."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)

        async def commit_and_delete() -> None:
            await world.replica().commit(session)
            await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
            await world.plain.delete(session.record.key, timeout=30)

        with pytest.raises(SessionNotFound):
            await world.replica(faults=cmu(session, first(commit_and_delete))).commit(session)

    run(main())


@pytest.mark.parametrize("action", [loses_answer, lands_late(2), refuses(port.OutcomeUnknown("cut"))])
def test_done_json_of_unknown_outcome_is_read_and_must_be_equal(action) -> None:
    """Row "PUT done.json: 412, unknown": read it; it must be equal (C7)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica(faults=Fault("put", keys.DONE, action)).commit(session)
        assert isinstance(world.done(session), DoneRecord)

    run(main())


def test_i7_no_success_is_answered_while_done_json_is_not_durable() -> None:
    """I7: the object is there and whole, and still the outcome is unknown; repeated, it is answered."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DONE, refuses(port.OutcomeUnknown("503")), times=10**6)
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).commit(session, seconds=30)
        assert world.object(session) == session.content
        assert not (await world.replica().commit(session)).replayed

    run(main())


def test_done_json_that_differs_from_the_object_is_an_alarm_and_no_success() -> None:
    """C7: on 412 it must be equal."""

    async def main() -> None:
        world = World()
        session = await world.session()
        forged = LostRecord(session.id, "forged").encode()
        fault = Fault("put", keys.DONE, first(lambda: world.put_record(session, keys.DONE, forged)))
        replica = world.replica(faults=fault)
        with pytest.raises(InternalError):
            await replica.commit(session)
        assert len(replica.events.alarms) == 1

    run(main())


# --- InvalidPart, BadDigest ---


@DIALECTS
@pytest.mark.parametrize("refusal", [None, port.ChecksumMismatch("BadDigest, and names no part")])
def test_an_overwritten_part_is_asked_for_by_index_and_mended_by_the_same_bytes(dialect, refusal) -> None:
    """Row "CMU: InvalidPart, BadDigest": ABORTED CHUNK_NEEDED for the indexes whose ETag differs; mended, done."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        await wait(5)
        world.bucket._uploads[session.upload_id].rows[2].clear()
        await world.store_part(session, 1, content_of(CHUNK, seed=66))
        fault = None if refusal is None else cmu(session, refuses(refusal))
        replica = world.replica(faults=fault)
        with pytest.raises(ChunkNeeded) as caught:
            await replica.commit(session)
        assert [(c.index, c.expected) for c in caught.value.chunks] == [(1, session.receipts[1].blake3)]
        assert await replica.outcome(session) == (SessionState.COMMITTING, None)
        assert world.object(session) is None
        await wait(5)
        await world.store_part(session, 1, session.chunk(1))
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


@DIALECTS
def test_a_missing_part_is_asked_for_too(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        del world.bucket._uploads[session.upload_id].rows[3]
        with pytest.raises(ChunkNeeded) as caught:
            await world.replica().commit(session)
        assert [c.index for c in caught.value.chunks] == [2]

    run(main())


def test_a_part_stored_again_under_another_etag_is_named_anew_if_the_row_carries_our_sha256() -> None:
    """Row "CMU: InvalidPart": newest row's ETag differs and it carries our SHA-256 → new list."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        row = world.bucket._uploads[session.upload_id].rows[2][0]
        row.listed = dataclasses.replace(row.listed, etag="e" * 32)
        replica = world.replica()
        await replica.commit(session)
        assert world.object(session) == session.content
        assert count(replica, CMU) == 2

    run(main())


def test_all_chunks_are_asked_for_if_no_etag_differs() -> None:
    """Row "CMU: InvalidPart, BadDigest": … or for all if none differs."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        fault = cmu(session, refuses(port.ChecksumMismatch()), times=99)
        with pytest.raises(ChunkNeeded) as caught:
            await world.replica(faults=fault).commit(session)
        assert [c.index for c in caught.value.chunks] == [0, 1, 2, 3]

    run(main())


def test_the_newest_row_of_a_part_counts_not_the_last_one_listed() -> None:
    """SeaweedFS lists all rows of an overwritten part, in no order of time."""

    async def main() -> None:
        for seed in range(8):
            world = World(SEAWEEDFS)
            session = await world.session()
            await world.decide(session)
            await wait(5)
            await world.store_part(session, 1, random.Random(seed).randbytes(CHUNK))
            fault = cmu(session, refuses(port.InvalidPart()), times=99)
            with pytest.raises(ChunkNeeded) as caught:
                await world.replica(faults=fault).commit(session)
            assert [c.index for c in caught.value.chunks] == [1]

    run(main())


def test_invalidpart_of_an_upload_that_is_gone_meanwhile_follows_the_row_of_nosuchupload() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)

        async def lose() -> None:
            world.bucket.lose_upload(session.upload_id)

        faults = Faults(cmu(session, refuses(port.InvalidPart())), Fault("list_parts", session.record.key, first(lose)))
        with pytest.raises(SessionLost):
            await world.replica(faults=faults).commit(session)

    run(main())


@pytest.mark.parametrize("op", ["list_parts", "get"])
def test_i8_chunk_needed_is_not_answered_of_a_commit_that_another_finished(op) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        rival = world.replica()
        meanwhile = first(lambda: rival.commit(session))
        faults = Faults(
            cmu(session, refuses(port.InvalidPart()), times=9),
            Fault("list_parts", session.record.key, meanwhile if op == "list_parts" else lambda effect: effect()),
            Fault("get", keys.DONE, meanwhile, nth=2 if op == "get" else 10**6),
        )
        assert (await world.replica(faults=faults).commit(session)).size == len(session.content)

    run(main())


# --- the give-up rule ---


@DIALECTS
@pytest.mark.parametrize("who", ["commit", "sweep"])
def test_i3_i10_a_part_not_mended_in_time_is_given_up_by_the_stores_clock(dialect, who) -> None:
    """⚠ Not mended by decision.json's Last-Modified + ttl + grace: abort until gone, HEAD; else LOST. Not earlier."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER - 60)
        world.bucket._uploads[session.upload_id].rows[2].clear()
        await world.store_part(session, 1, content_of(CHUNK, seed=66))
        replica = world.replica()
        call = getattr(replica, who)
        with pytest.raises(ChunkNeeded):
            await call(session)
        assert world.bucket.open_uploads() == [session.record.key]  # I10
        await wait(120)
        with pytest.raises(SessionLost):
            await call(session)
        assert isinstance(world.done(session), LostRecord)
        assert world.bucket.open_uploads() == []
        assert world.object(session) is None
        assert len(replica.events.alarms) == 1

    run(main())


@pytest.mark.parametrize("finished", [True, False], ids=["done", "completed only"])
def test_i8_the_give_up_looks_for_the_object_once_more_when_the_upload_is_gone(finished) -> None:
    """⚠ Abort until gone, HEAD; ours → success, though its committer has not written done.json (yet)."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        decision = await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER)
        rival = world.replica()

        async def complete() -> None:  # its client mends it after all, and another replica is faster than the abort
            await world.store_part(session, 0, session.chunk(0))
            if finished:
                await rival.commit(session)
            else:
                parts = part_list(decision.parts)
                await world.plain.complete_multipart(session.record.key, session.upload_id, parts, timeout=30)

        fault = Fault("abort_multipart", session.record.key, first(complete))
        replica = world.replica(faults=fault)
        answer = await replica.commit(session)
        assert fault.fired == 1
        assert answer.size == len(session.content)
        assert isinstance(world.done(session), DoneRecord)
        assert replica.events.alarms == []

    run(main())


def test_the_give_up_aborts_until_the_upload_is_confirmed_gone() -> None:
    """⚠ Section 6, "DELETE, Abort: anything → confirm before the next step; repeat"."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER)
        world.bucket._uploads[session.upload_id].rows.clear()

        def forgets(effect) -> None:
            """Answered, and not done: its effect is overtaken."""

        fault = Fault("abort_multipart", session.record.key, forgets, times=3)
        with pytest.raises(SessionLost):
            await world.replica(faults=fault).commit(session)
        assert world.bucket.open_uploads() == []
        assert fault.fired == 3

    run(main())


# --- 403, other 4xx ---


def test_403_changes_nothing_and_is_an_alarm() -> None:
    """Row "CMU: 403": UNAVAILABLE, alarm, nothing changes."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(faults=cmu(session, refuses(port.AccessDenied())))
        with pytest.raises(StoreUnavailable):
            await replica.commit(session)
        assert len(replica.events.alarms) == 1
        assert world.done(session) is None
        await replica.commit(session)
        assert world.object(session) == session.content

    run(main())


def test_a_skewed_request_time_is_learnt_and_repeated_once() -> None:
    """Row "CMU: 403 RequestTimeTooSkewed": learn the store's time, repeat once."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(faults=cmu(session, refuses(port.ClockSkewed())))
        await replica.commit(session)
        assert replica.events.alarms == []

    run(main())


@pytest.mark.parametrize("error", [port.Rejected("400"), port.NoSuchBucket(), port.NoSuchKey()], ids=repr)
def test_any_other_4xx_is_internal_with_an_alarm_and_nothing_changes(error) -> None:
    """Row "CMU: any other 4xx": INTERNAL, alarm, nothing changes."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(faults=cmu(session, refuses(error)))
        with pytest.raises(InternalError):
            await replica.commit(session)
        assert len(replica.events.alarms) == 1
        assert world.done(session) is None
        await world.replica().commit(session)

    run(main())


# --- whose object is it ---


@pytest.mark.parametrize("what", ["size", "sha256_composite"])
def test_an_object_of_ours_that_differs_is_never_a_success(what) -> None:
    """C6: token ours but size or composite differ → alarm, INTERNAL, no done.json."""

    async def main() -> None:
        world = World()
        session = await world.session()

        def tampered(effect):
            head = effect()
            return dataclasses.replace(head, **{what: 5 if what == "size" else None})

        replica = world.replica(faults=Fault("head", session.record.key, tampered, times=99))
        with pytest.raises(InternalError):
            await replica.commit(session)
        assert world.done(session) is None
        assert len(replica.events.alarms) == 1

    run(main())


def test_an_object_with_a_foreign_token_is_not_ours() -> None:
    """C6: HEAD must show our token; somebody else's object proves nothing."""

    async def main() -> None:
        world = World()
        session = await world.session()

        def foreign(effect):
            head = effect()
            return dataclasses.replace(head, metadata={keys.TOKEN_METADATA: "another"})

        replica = world.replica(faults=Fault("head", session.record.key, foreign, times=10**6))
        with pytest.raises(OutcomeUnknown):
            await replica.commit(session, seconds=30)
        assert world.done(session) is None

    run(main())


def test_an_empty_objects_part_is_made_again_by_assembly_itself() -> None:
    """No client could mend a part that no chunk stands for."""

    async def main() -> None:
        world = World()
        session = await world.session(b"")

        async def forget_parts() -> None:
            for upload in world.bucket._uploads.values():
                upload.rows.clear()

        await world.replica(faults=cmu(session, first(forget_parts))).commit(session)
        assert world.object(session) == b""

    run(main())


def test_i3_an_empty_objects_upload_that_is_lost_before_the_decision_is_told_without_deciding() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(b"")

        async def lose() -> None:
            for upload_id in list(world.bucket._uploads):
                world.bucket.lose_upload(upload_id)

        with pytest.raises(SessionLost):
            await world.replica(faults=Fault("upload_part", session.record.key, first(lose))).commit(session)
        assert world.decision(session) is None

    run(main())


def test_i14_a_commit_against_a_storm_ends_by_its_deadline_and_is_helped_afterwards() -> None:
    """Section 12: a 503 storm, store down; commit again, by anyone, finishes it."""

    async def main() -> None:
        world = World()
        session = await world.session()
        loop = asyncio.get_running_loop()
        started = loop.time()
        fault = cmu(session, refuses(port.Throttled("503")), times=10**6)
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).commit(session, seconds=600)
        assert loop.time() - started <= 600
        await world.replica().sweep_all(full=False)
        assert world.object(session) == session.content

    run(main())


def test_i3_a_part_that_was_mended_in_time_is_not_given_up_for_a_look_that_came_late() -> None:
    """⚠ Section 6: the clock is read before CMU. Refused in time, mended in time, looked at too late: CMU again."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER - 10)

        async def mend() -> None:
            await world.store_part(session, 0, session.chunk(0))
            await wait(20)

        replica = world.replica(faults=Fault("list_parts", "data.bin", first(mend)))
        assert (await replica.commit(session)).blake3 == session.parameters.blake3
        assert world.object(session) == session.content

    run(main())


def test_i3_a_part_that_is_mended_in_time_behind_the_look_is_not_given_up_either() -> None:
    """⚠ Section 6: the clock is read before CMU. The look shows it overwritten; it is mended; only then is time up."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER - 10)

        async def looked_at_before(effect):
            rows = effect()
            await world.store_part(session, 0, session.chunk(0))
            await wait(20)
            return rows

        with pytest.raises(ChunkNeeded):
            await world.replica(faults=Fault("list_parts", "data.bin", looked_at_before)).commit(session)
        assert (await world.replica().commit(session)).blake3 == session.parameters.blake3
        assert world.object(session) == session.content

    run(main())


def test_i3_a_no_such_upload_of_a_living_upload_is_no_reason_to_give_up() -> None:
    """⚠ Section 6: given up is only what differs, however late it is."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER)
        wrong = Fault("complete_multipart", "data.bin", refuses(port.NoSuchUpload("it says")), times=3)
        assert (await world.replica(faults=wrong).commit(session)).blake3 == session.parameters.blake3
        assert wrong.fired == 3
        assert world.object(session) == session.content

    run(main())


def test_i3_what_etags_do_not_show_is_asked_for_and_given_up_in_the_end() -> None:
    """Section 6: CMU refuses parts of which none differs, and again: CHUNK_NEEDED for all; LOST once it is too late."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        hidden = Fault("complete_multipart", "data.bin", refuses(port.ChecksumMismatch("BadDigest")), times=1000)
        with pytest.raises(ChunkNeeded) as needed:
            await world.replica(faults=hidden).commit(session)
        assert len(needed.value.chunks) == session.parameters.chunk_count
        await wait(EXPIRED_AFTER)
        with pytest.raises(SessionLost):
            await world.replica(faults=hidden).commit(session)

    run(main())
