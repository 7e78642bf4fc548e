"""A process that dies at any call, before or after it takes effect: another goes on, and the answers are equal."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest
from assembly_faults import MOMENTS, Crash, CrashAt, seeded_latency
from assembly_time import run, wait
from assembly_world import DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, Replica, Session, World, content_of

from sealane.domain.decision import Outcome
from sealane.domain.errors import SealaneError, SessionAborted, SessionExpired, SessionNotFound, SessionSealed
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys
from sealane.store.port import StoreError
from sealane.store.simulated_traits import AWS, SEAWEEDFS

SEEDS = 100


async def crash_at_each_call(work, make, check, moment: str) -> int:
    """Run ``work`` on a fresh world for n = 1, 2, … until it ends without reaching its n-th call; answer how many."""
    nth = 0
    while True:
        nth += 1
        world, session = await make()
        crash = CrashAt(nth, moment)
        try:
            await work(world.replica(faults=crash), session)
        except Crash:
            await check(world, session)
        else:
            assert crash.calls < nth
            return nth - 1


def whole(world: World, session: Session) -> None:
    """I2, I4, I7: the object is there, whole, decided and done."""
    decision, done = world.decision(session), world.done(session)
    assert world.object(session) == session.content
    assert decision is not None
    assert decision.outcome is Outcome.COMMIT
    assert isinstance(done, DoneRecord)
    assert (done.size, done.blake3) == (session.parameters.size, session.parameters.blake3)


@DIALECTS
@MOMENTS
@pytest.mark.parametrize("size", [0, 3000])
@pytest.mark.parametrize("helper", ["commit", "sweep", "both"])
def test_i3_i6_i7_a_commit_that_crashes_at_any_call_is_finished_by_another(dialect, moment, size, helper) -> None:
    """I3, I6, I7: a fresh replica commits again, or the sweeper rolls forward; the object is right, the answer one."""

    async def main() -> None:
        async def make() -> tuple[World, Session]:
            world = World(dialect)
            return world, await world.session(content_of(size))

        async def check(world: World, session: Session) -> None:
            if world.object(session) is not None:  # I2, at the very moment of the crash
                decision = world.decision(session)
                assert decision is not None
                assert decision.outcome is Outcome.COMMIT
            if helper != "commit":
                await world.replica().sweep_all(full=helper == "both")
                if world.decision(session) is not None:
                    whole(world, session)
            answers = [await world.replica().commit(session) for _ in range(2)]
            whole(world, session)
            assert len({dataclasses.replace(answer, replayed=False) for answer in answers}) == 1

        calls = await crash_at_each_call(lambda replica, session: replica.commit(session), make, check, moment)
        assert calls >= 10

    run(main())


@MOMENTS
def test_i9_i11_a_purge_that_crashes_at_any_step_is_finished_by_another_and_leaves_nothing(moment) -> None:
    """I9, I11: an aborted session leaves nothing behind; wherever the purge stops, its decision goes last."""

    async def main() -> None:
        async def make() -> tuple[World, Session]:
            world = World()
            session = await world.session()
            await world.replica().abort(session)
            await wait(OUTCOME_AFTER)
            return world, session

        async def check(world: World, session: Session) -> None:
            names = world.names(session)
            assert names == [] or keys.DECISION in names  # I11
            with pytest.raises((SessionAborted, SessionNotFound)):
                await world.replica().commit(session)
            await world.replica().sweep_all(full=False)
            assert world.leftovers(session) == []
            with pytest.raises(SessionNotFound):
                await world.replica().commit(session)

        calls = await crash_at_each_call(lambda replica, session: replica.sweep(session), make, check, moment)
        assert calls >= 15

    run(main())


@MOMENTS
def test_i9_an_expiry_that_crashes_at_any_step_is_finished_by_another_and_leaves_nothing(moment) -> None:
    """I9: W1, W2, W3 in one go."""

    async def main() -> None:
        async def make() -> tuple[World, Session]:
            world = World()
            session = await world.session()
            await wait(EXPIRED_AFTER)
            return world, session

        async def check(world: World, session: Session) -> None:
            await world.replica().sweep_all(full=False)
            with pytest.raises(SessionExpired):
                await world.replica().commit(session)
            await wait(OUTCOME_AFTER)
            await world.replica().sweep_all(full=False)
            assert world.leftovers(session) == []

        await crash_at_each_call(lambda replica, session: replica.sweep(session), make, check, moment)

    run(main())


@MOMENTS
def test_an_abort_that_crashes_at_any_call_can_be_repeated(moment) -> None:
    async def main() -> None:
        async def make() -> tuple[World, Session]:
            world = World()
            return world, await world.session()

        async def check(world: World, session: Session) -> None:
            assert await world.replica().abort(session) is SessionState.ABORTED
            with pytest.raises(SessionAborted):
                await world.replica().commit(session)
            assert world.object(session) is None

        await crash_at_each_call(lambda replica, session: replica.abort(session), make, check, moment)

    run(main())


# --- interleavings ---


async def outcome_of(work) -> object:
    """What a caller was told: an answer, or the class of the error."""
    try:
        answer = await work
    except (SealaneError, StoreError) as error:
        return type(error)
    return dataclasses.replace(answer, replayed=False) if isinstance(answer, CommittedObject) else answer


async def race(seed: int, works) -> tuple[World, Session, list[object]]:
    """``works`` at once on replicas of their own, each at its own seeded start, over a seeded network."""
    world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
    rng = random.Random(seed)
    session = await world.session(content_of(2500, seed))

    async def one(number: int, work) -> object:
        await wait(rng.uniform(0.0, 0.5))
        replica = world.replica(latency=seeded_latency(seed * 31 + number))
        return await outcome_of(work(replica, session))

    answers = await asyncio.gather(*(one(number, work) for number, work in enumerate(works)))
    return world, session, list(answers)


def commit(replica: Replica, session: Session):
    return replica.commit(session)


def commit_other(replica: Replica, session: Session):
    return replica.commit(session, dataclasses.replace(session.parameters, blake3=bytes(32)))


def abort(replica: Replica, session: Session):
    return replica.abort(session)


def sweep(replica: Replica, session: Session):
    return replica.sweep(session)


def hold_invariants(world: World, session: Session) -> None:
    """I1, I2, I4 of whatever came of it."""
    decision = world.decision(session)
    if world.object(session) is not None:
        assert decision is not None
        assert decision.outcome is Outcome.COMMIT
        assert world.object(session) == session.content


def test_i1_i6_commits_at_once_get_one_answer_whatever_the_network_does() -> None:
    """I1, I6: four commits and a sweeper on five replicas of every seed."""

    async def main() -> None:
        for seed in range(SEEDS):
            world, session, answers = await race(seed, [commit, commit, commit, commit, sweep])
            assert len(set(answers[:4])) == 1, seed
            assert isinstance(answers[0], CommittedObject)
            whole(world, session)

    run(main())


def test_i1_i2_i8_commit_and_abort_at_once_have_one_winner_whom_all_obey() -> None:
    """I1, I2, I8, I9: both outcomes happen."""

    async def main() -> None:
        winners = set()
        for seed in range(SEEDS):
            world, session, answers = await race(seed, [commit, abort, commit_other, commit, abort])
            told = set(answers)
            assert answers[2] is not None
            if isinstance(answers[0], CommittedObject):
                winners.add("commit")
                assert answers[0] == answers[3]
                assert SessionState.ABORTED not in told, seed
                assert answers[1] is answers[4] is SessionSealed
                whole(world, session)
            else:
                winners.add("abort")
                assert answers[0] is answers[3] is SessionAborted
                assert answers[1] is answers[4] is SessionState.ABORTED
                assert world.object(session) is None
                await wait(OUTCOME_AFTER)
                await world.replica().sweep_all()
                assert world.leftovers(session) == [], seed
            hold_invariants(world, session)
        assert winners == {"commit", "abort"}

    run(main())


def test_i1_i8_commit_abort_and_expire_at_the_edge_of_the_ttl() -> None:
    """I1, I8, I9: two commits, an abort and three sweepers as the session becomes too old."""

    async def main() -> None:
        winners = set()
        for seed in range(SEEDS):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            session = await world.session(content_of(2500, seed))
            rng = random.Random(seed)
            await wait(EXPIRED_AFTER - 2)

            async def one(number: int, work, world=world, session=session, seed=seed, rng=rng) -> object:
                await wait(rng.uniform(0.0, 4.0))
                return await outcome_of(work(world.replica(latency=seeded_latency(seed * 17 + number)), session))

            works = [commit, commit, abort, sweep, sweep, sweep]
            answers = await asyncio.gather(*(one(number, work) for number, work in enumerate(works)))
            decision = world.decision(session)
            assert decision is not None
            winners.add(decision.outcome)
            hold_invariants(world, session)
            if decision.outcome is Outcome.COMMIT:
                assert answers[0] == answers[1]
                assert isinstance(answers[0], CommittedObject)
                whole(world, session)
            else:
                refused = {Outcome.ABORT: SessionAborted, Outcome.EXPIRE: SessionExpired}[decision.outcome]
                assert answers[0] is answers[1] is refused, seed
                await wait(OUTCOME_AFTER)
                await world.replica().sweep_all()
                assert world.leftovers(session) == [], seed
        assert winners == {Outcome.COMMIT, Outcome.ABORT, Outcome.EXPIRE}

    run(main())
