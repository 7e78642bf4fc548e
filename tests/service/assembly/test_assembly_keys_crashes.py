"""Commits at one chosen key that meet, crash and stall: generations in order, none lost or twice, no wedge (I16)."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence

import pytest
from assembly_faults import MOMENTS, Crash, CrashAt, seeded_latency
from assembly_time import run, wait
from assembly_world import DIALECTS, TENANT, Session, World, content_of

from sealane.domain.claims import ANY, VACANT, Precondition
from sealane.domain.decision import Outcome
from sealane.domain.errors import GenerationMismatch, SealaneError, SessionAborted
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys
from sealane.store.port import StoreError
from sealane.store.simulated_traits import AWS, SEAWEEDFS

KEY = "folder/racing"
SEEDS = 20


def in_order(world: World, sessions: Sequence[Session]) -> dict[int, Session]:
    """I1, I16, I4 of everything that came of ``sessions``: the committed generations, and who each is."""
    by_id = {session.id: session for session in sessions}
    claims = world.claims(KEY)
    assert [claim.generation for claim in claims] == list(range(1, len(claims) + 1))
    assert len({claim.session_id for claim in claims}) == len(claims), "a session claimed twice"
    committed: dict[int, Session] = {}
    for claim in claims:
        session = by_id[claim.session_id]  # type: ignore[index]  # a SessionId is a str
        decision = world.decision(session)
        if decision is not None and decision.outcome is Outcome.COMMIT:
            assert decision == claim.decision
            committed[claim.generation] = session
    for session in sessions:
        decision = world.decision(session)
        if decision is not None and decision.outcome is Outcome.COMMIT:
            assert session in committed.values(), "a commit without a claim"
    done = {number: world.done(session) for number, session in committed.items()}
    for number in committed:
        if number != max(committed):  # a later generation was claimed only once this one was done
            assert isinstance(done[number], DoneRecord), number
    newest = [number for number, record in done.items() if isinstance(record, DoneRecord)]
    stored = world.bucket.object(keys.chosen_object_key(TENANT, KEY))
    if newest and max(newest) == max(committed):
        assert stored is not None
        assert b"".join(stored.read()) == committed[max(newest)].content
    return committed


async def outcome_of(work) -> object:
    try:
        answer = await work
    except (SealaneError, StoreError) as error:
        return type(error)
    return dataclasses.replace(answer, replayed=False) if isinstance(answer, CommittedObject) else answer


@DIALECTS
@MOMENTS
@pytest.mark.parametrize("first", [False, True], ids=["vacant", "replacing"])
def test_i16_a_claiming_commit_that_crashes_at_any_call_is_helped_by_the_next(dialect, moment, *, first: bool) -> None:
    """I3, I6, I16: wherever it stops, another session takes the key at once; its own client gets one answer, and the
    generations are in order."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(dialect)
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=ANY) for n in range(3)]
            if first:
                await world.replica().commit(sessions[0])
            crash = CrashAt(nth, moment)
            try:
                await world.replica(faults=crash).commit(sessions[1])
            except Crash:
                pass
            else:
                assert crash.calls < nth
                assert nth > 15
                return
            claimed = len(world.claims(KEY))
            taken = await world.replica().commit(sessions[2])
            assert taken.generation in (claimed + 1, claimed)  # at once, whatever state the other was left in
            in_order(world, sessions)
            answers = [await world.replica().commit(sessions[1]) for _ in range(2)]
            assert len({dataclasses.replace(answer, replayed=False) for answer in answers}) == 1
            assert answers[0].blake3 == sessions[1].parameters.blake3
            committed = in_order(world, sessions)
            assert len(committed) == 2 + first
            await world.replica().sweep_all()
            in_order(world, [session for session in sessions if world.names(session)] + sessions)

    run(main())


@MOMENTS
def test_i16_a_helper_that_crashes_at_any_call_is_helped_itself(moment) -> None:
    """I16: helping is nothing but what the helped one would have done."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=ANY) for n in range(2)]
            await world.claim(sessions[0], 1)
            crash = CrashAt(nth, moment)
            try:
                await world.replica(faults=crash).commit(sessions[1])
            except Crash:
                pass
            else:
                return
            assert (await world.replica().commit(sessions[1])).generation == 2
            assert (await world.replica().commit(sessions[0])).generation == 1
            assert len(in_order(world, sessions)) == 2

    run(main())


@DIALECTS
def test_i16_replace_and_replace_at_once_are_generations_in_order_each_once(dialect) -> None:
    """I16: five sessions with "any" on replicas of their own, each committed by two calls, over a seeded network."""

    async def main() -> None:
        for seed in range(SEEDS):
            world = World(dialect, seed=seed)
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=ANY) for n in range(5)]
            rng = random.Random(seed)

            async def one(number: int, session: Session, world=world, seed=seed, rng=rng) -> object:
                await wait(rng.uniform(0.0, 0.5))
                return await outcome_of(world.replica(latency=seeded_latency(seed * 31 + number)).commit(session))

            answers = await asyncio.gather(*(one(n, sessions[n % 5]) for n in range(10)))
            assert answers[:5] == answers[5:], seed
            assert all(isinstance(answer, CommittedObject) for answer in answers), (seed, answers)
            assert sorted(answer.generation for answer in answers[:5]) == [1, 2, 3, 4, 5], seed
            assert set(in_order(world, sessions)) == {1, 2, 3, 4, 5}

    run(main())


@DIALECTS
def test_i16_create_and_create_at_once_have_one_winner_and_refusals_that_name_it(dialect) -> None:
    """I16: five sessions that each want the key vacant; whoever is refused is told the one that has it."""

    async def main() -> None:
        for seed in range(SEEDS):
            world = World(dialect, seed=seed)
            sessions = [await world.session(content_of(1500, n), object_key=KEY) for n in range(5)]
            rng = random.Random(seed)

            async def one(number: int, session: Session, world=world, seed=seed, rng=rng) -> object:
                await wait(rng.uniform(0.0, 0.5))
                try:
                    return await world.replica(latency=seeded_latency(seed * 31 + number)).commit(session)
                except GenerationMismatch as error:
                    return error.holder

            answers = await asyncio.gather(*(one(n, session) for n, session in enumerate(sessions)))
            (winner,) = [answer for answer in answers if isinstance(answer, CommittedObject)]
            told = [answer for answer in answers if not isinstance(answer, CommittedObject)]
            assert {(holder.generation, holder.blake3) for holder in told} == {(1, winner.blake3)}, seed
            assert len(in_order(world, sessions)) == 1

    run(main())


def test_i16_exactly_one_of_those_who_would_replace_the_same_generation_does() -> None:
    """I16: no replace is lost: compare-and-set, as generation preconditions mean it."""

    async def main() -> None:
        for seed in range(SEEDS):
            world = World(seed=seed)
            base = await world.session(content_of(1500, 99), object_key=KEY)
            await world.replica().commit(base)
            wanted = Precondition(1)
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=wanted) for n in range(4)]
            answers = await asyncio.gather(
                *(
                    outcome_of(world.replica(latency=seeded_latency(seed * 7 + n)).commit(session))
                    for n, session in enumerate(sessions)
                )
            )
            assert sum(isinstance(answer, CommittedObject) for answer in answers) == 1, (seed, answers)
            assert answers.count(GenerationMismatch) == 3
            assert len(in_order(world, [base, *sessions])) == 2

    run(main())


def test_i16_identical_bytes_at_once_are_one_object_and_equal_answers() -> None:
    """I6, I16: whoever comes second is a duplicate of the first, and all name one generation."""

    async def main() -> None:
        for seed in range(SEEDS):
            world = World(seed=seed)
            sessions = [
                await world.session(content_of(1500), object_key=KEY, precondition=(VACANT, ANY)[n % 2])
                for n in range(4)
            ]
            answers = await asyncio.gather(
                *(
                    outcome_of(world.replica(latency=seeded_latency(seed * 7 + n)).commit(session))
                    for n, session in enumerate(sessions)
                )
            )
            assert all(isinstance(answer, CommittedObject) for answer in answers), (seed, answers)
            assert sorted(answer.duplicate for answer in answers) == [False, True, True, True], seed
            assert len({dataclasses.replace(answer, duplicate=False) for answer in answers}) == 1
            assert len(in_order(world, sessions)) == 1

    run(main())


def test_i1_i16_replace_abort_and_sweep_at_once() -> None:
    """I1, I8, I16: two replaces, an abort of one of them, and a sweeper; what was aborted is never a generation."""

    async def main() -> None:
        outcomes = set()
        for seed in range(SEEDS):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=ANY) for n in range(2)]
            rng = random.Random(seed)

            async def one(number: int, work, world=world, seed=seed, rng=rng) -> object:
                await wait(rng.uniform(0.0, 0.5))
                return await outcome_of(work(world.replica(latency=seeded_latency(seed * 31 + number))))

            works = [
                lambda replica, sessions=sessions: replica.commit(sessions[0]),
                lambda replica, sessions=sessions: replica.commit(sessions[1]),
                lambda replica, sessions=sessions: replica.abort(sessions[0]),
                lambda replica, sessions=sessions: replica.sweep(sessions[0]),
            ]
            answers = await asyncio.gather(*(one(n, work) for n, work in enumerate(works)))
            committed = in_order(world, sessions)
            if answers[2] is SessionState.ABORTED:
                assert answers[0] is SessionAborted
                assert sessions[0] not in committed.values()
            else:
                assert isinstance(answers[0], CommittedObject)
            assert isinstance(answers[1], CommittedObject)
            outcomes.add(answers[2])
        assert len(outcomes) == 2

    run(main())


def test_i16_claimants_that_die_one_after_the_other_wedge_nothing() -> None:
    """I16: twelve sessions, each killed at a call of its own; then everyone's commit is repeated."""

    async def main() -> None:
        for seed in range(20):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            rng = random.Random(seed)
            sessions = [await world.session(content_of(1500, n), object_key=KEY, precondition=ANY) for n in range(12)]
            for session in sessions:
                crash = CrashAt(rng.randrange(1, 40), rng.choice(["before", "after"]))
                try:
                    await world.replica(faults=crash).commit(session)
                except Crash:
                    in_order(world, sessions)
            for session in sessions:
                assert (await world.replica().commit(session)).blake3 == session.parameters.blake3
            assert len(in_order(world, sessions)) == len(sessions)

    run(main())
