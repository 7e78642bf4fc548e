"""NoSuchUpload, and when a session is called lost (protocol.md section 6)."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from assembly_faults import Fault, Faults, first, lands_late, loses_answer, refuses, stalls
from assembly_time import run, wait
from assembly_world import DIALECTS, TENANT, World
from cmu_answers import cmu

from assembly_service.roll_forward import HEADS_BEFORE_LOST, LOOK_SECONDS
from sealane.domain.errors import (
    ChunkNeeded,
    InternalError,
    OutcomeUnknown,
    SessionLost,
    SessionNotFound,
)
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord
from sealane.store import keys, port
from sealane.store.simulated_traits import AWS, SEAWEEDFS


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
