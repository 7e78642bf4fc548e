"""The sweeper's passes: many at once, by themselves, and past whatever one session shows them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from assembly_faults import Fault, refuses, seeded_latency
from assembly_time import run, wait
from assembly_world import DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Replica, World

from assembly_service.patrol import Pace
from sealane.domain.decision import Decision, Outcome
from sealane.store import keys, port


@DIALECTS
def test_sixteen_sweepers_at_once_do_what_one_would(dialect) -> None:
    """Section 12: 16 sweepers at once, over sessions of every kind."""

    async def main() -> None:
        world = World(dialect, seed=7)
        aborted, expired, committing, open_, committed = [await world.session() for _ in range(5)]
        await world.replica().commit(committed)
        await wait(EXPIRED_AFTER)
        young = await world.session()
        await world.replica().abort(aborted)
        await world.decide(committing)
        replicas = [world.replica(latency=seeded_latency(n)) for n in range(16)]
        for _ in range(2):
            await asyncio.gather(*(replica.sweep_all(full=n % 2 == 0) for n, replica in enumerate(replicas)))
        assert not [alarm for replica in replicas for alarm in replica.events.alarms]
        assert world.object(committing) == committing.content
        assert world.object(committed) == committed.content
        assert world.decision(young) is None
        for session in (aborted, expired, open_):
            assert world.object(session) is None
        assert world.bucket.open_uploads() == [young.record.key]
        await wait(OUTCOME_AFTER)
        await asyncio.gather(*(replica.sweep_all() for replica in replicas))
        for session in (aborted, expired, open_):
            assert world.leftovers(session) == []
        assert world.object(committing) == committing.content

    run(main())


def test_one_bad_record_never_stops_the_pass_and_raises_an_alarm() -> None:
    """W: alarm and go on; what can't be read is neither expired nor purged (fail closed)."""

    async def main() -> None:
        world = World()
        bad, future, good = [await world.session() for _ in range(3)]
        await world.put_record(bad, keys.DECISION, b"torn")
        body = (world.read(future, keys.SESSION) or b"").replace(b'"version":1', b'"version":9')
        await world.plain.put(keys.record(TENANT, future.id, keys.SESSION), body, timeout=30)
        before = world.leftovers(bad), world.leftovers(future)
        await wait(EXPIRED_AFTER)
        replica = world.replica()
        await replica.sweep_all(full=True)
        assert len(replica.events.alarms) >= 2
        assert world.decision(good) == Decision(good.id, Outcome.EXPIRE)
        assert (world.leftovers(bad), world.leftovers(future)) == before

    run(main())


def test_a_store_that_refuses_one_call_does_not_stop_the_pass() -> None:
    async def main() -> None:
        world = World()
        sessions = [await world.session() for _ in range(4)]
        await wait(EXPIRED_AFTER)
        fault = Fault("put", f"{sessions[1].id}/{keys.DECISION}", refuses(port.AccessDenied()))
        replica = world.replica(faults=fault)
        await replica.sweep_all(full=False)
        expired = [world.decision(session) is not None for session in sessions]
        assert expired == [True, False, True, True]
        assert len(replica.events.alarms) == 1

    run(main())


async def _running(replica: Replica, seconds: float) -> None:
    task = asyncio.create_task(replica.assembly.patrol.run())
    await wait(seconds)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_sweeper_runs_by_itself_and_outlives_a_store_that_is_away() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await wait(EXPIRED_AFTER)
        away = Fault("list_objects", keys.ROOT, refuses(port.AccessDenied()), times=3)
        replica = world.replica(faults=away, pace=Pace(interval=600, full_interval=6000))
        await _running(replica, 3 * OUTCOME_AFTER)
        assert away.fired == 3
        assert world.leftovers(session) == []

    run(main())


def test_sweepers_drift_apart() -> None:
    """Jittered by an injected source of chance: two replicas don't come together for ever."""

    async def main() -> None:
        world = World()
        starts: list[list[float]] = [[], []]
        loop = asyncio.get_running_loop()
        for n in range(2):

            def note(effect, n=n):
                starts[n].append(loop.time())
                return effect()

            fault = Fault("list_objects", keys.ROOT, note, times=10**6)
            await _running(world.replica(faults=fault, pace=Pace(interval=60)), 3600)
        gaps = [later - earlier for earlier, later in zip(starts[0], starts[0][1:], strict=False)]
        assert len(gaps) > 30
        assert all(29 <= gap <= 91 for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > 10

    run(main())


def test_an_aborted_session_is_purged_within_seconds_of_being_told_of() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(pace=Pace(interval=3600))
        task = asyncio.create_task(replica.assembly.patrol.run())
        await replica.abort(session)
        replica.assembly.patrol.kick(TENANT, session.id)
        await wait(5)
        assert world.bucket.open_uploads() == []
        assert world.names(session) == [keys.DECISION, keys.MULTIPART, keys.SESSION]
        task.cancel()

    run(main())


def test_kicks_beyond_the_queue_are_left_to_the_next_pass() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        for _ in range(5000):
            replica.assembly.patrol.kick(TENANT, session.id)

    run(main())


def test_nothing_is_swept_before_the_store_is_proven() -> None:
    async def main() -> None:
        world = World()
        await world.session()
        await wait(EXPIRED_AFTER)
        replica = world.replica(pace=Pace(interval=5))
        replica.assembly.patrol._may_run = lambda: False
        await _running(replica, 100)
        assert replica.store.calls == []

    run(main())


def test_the_deadline_of_one_session_bounds_its_sweep() -> None:
    """I14: a store that never answers holds a pass up for so long, and no longer."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)

        async def never(effect) -> None:
            await asyncio.sleep(10**9)

        fault = Fault("complete_multipart", session.record.key, never, times=10**6)
        replica = world.replica(faults=fault, pace=Pace(session_seconds=120))
        started = asyncio.get_running_loop().time()
        await replica.sweep_all(full=False)
        assert asyncio.get_running_loop().time() - started <= 121
        assert replica.events.alarms == []

    run(main())


@pytest.mark.parametrize("ttl", [10**15, 10**30])
def test_a_record_with_an_absurd_value_stops_no_pass_and_is_an_alarm(ttl) -> None:
    """Section 11: a forged record fails closed, and the sessions behind it are swept."""

    async def main() -> None:
        world = World()
        bad = await world.open_session(b"")
        key = keys.record(TENANT, bad.id, keys.SESSION)
        await world.plain.delete(key, timeout=30)
        await world.put_record(bad, keys.SESSION, dataclasses.replace(bad.record, ttl=ttl).encode())
        others = [await world.session() for _ in range(4)]
        for session in others:
            await world.decide(session)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert [world.object(session) for session in others] == [session.content for session in others]
        assert [facts["kind"] for _, facts in replica.events.alarms] == ["BadRecord"]
        assert world.names(bad) == [keys.SESSION]

    run(main())


class Bug(Exception):
    """What nobody foresaw."""


@pytest.mark.parametrize("full", [False, True], ids=["frequent", "full"])
def test_a_bug_that_one_session_shows_stops_no_pass_and_is_an_alarm(full) -> None:
    """One session never ends the sweeper: it would end there again, in every replica, and sweep nothing behind it."""

    async def main() -> None:
        def breaks(effect: Callable[[], Any]) -> Any:
            raise Bug("private")

        world = World()
        bad, good = await world.session(), await world.session()
        for session in (bad, good):
            await world.decide(session)
        replica = world.replica(
            faults=Fault("get", f"{bad.id}/{keys.SESSION}", breaks, times=10**6), pace=Pace(interval=1)
        )
        await replica.sweep_all(full=full)
        assert world.object(good) == good.content
        assert {facts["kind"] for _, facts in replica.events.alarms} == {"Bug"}
        assert replica.events.alarms[0][1]["session_id"] == bad.id
        patrol = asyncio.create_task(replica.assembly.patrol.run())
        replica.assembly.patrol.kick(TENANT, bad.id)
        await wait(10)
        assert not patrol.done()
        patrol.cancel()

    run(main())
