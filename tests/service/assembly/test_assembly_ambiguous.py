"""What the store answers to CMU, and what follows: rows of protocol.md section 6 about its answers and its object."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from assembly_faults import Fault, Faults, first, lands_late, loses_answer, refuses
from assembly_time import run
from assembly_world import DIALECTS, TENANT, World
from cmu_answers import CMU, cmu, count

from sealane.domain.errors import (
    InternalError,
    OutcomeUnknown,
    SessionLost,
    StoreUnavailable,
)
from sealane.domain.records import DoneRecord
from sealane.store import keys, port
from sealane.store.simulated_traits import AWS

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
