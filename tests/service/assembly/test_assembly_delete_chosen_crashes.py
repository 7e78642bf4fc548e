"""Deletes at a chosen key that crash, or meet others: finished or undone, in the order of the log."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from assembly_faults import MOMENTS, Crash, CrashAt, Fault, Faults, first, seeded_latency
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Replica, Session, World
from chosen_deletes import COOLED, KEY, ONE, TWO, at_key, held, outcome_of, sessions_left, taken_again
from deletes import delete, told

from assembly_service.delete import Deletion
from sealane.domain.claims import ANY
from sealane.domain.errors import (
    KeyCooling,
    SessionNotFound,
)
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys
from sealane.store.simulated_traits import AWS, SEAWEEDFS

SEEDS = 25


# --- crashes ---


@MOMENTS
@pytest.mark.parametrize(
    ("beginning", "recovery"),
    [("committed", "sweeper"), ("committed", "again"), ("committed", "the next one"), ("committing", "again")],
)
def test_i9_i16_a_delete_that_crashes_at_any_call_is_finished_or_undone_by_others(moment, recovery, beginning) -> None:
    """I1, I2, I9, I11, I16: every store call × before and after; then a sweeper, the same again, or a new session."""

    async def check(world: World, session: Session) -> None:
        names = world.names(session)
        assert names == [] or keys.DECISION in names  # I11
        if recovery == "again":
            with contextlib.suppress(SessionNotFound):
                await delete(world.replica(), session)
            assert at_key(world) is None
            assert world.leftovers(session) == []
            await taken_again(world)
        elif recovery == "sweeper":
            await world.replica().sweep_all()
            await wait(EXPIRED_AFTER)
            await world.replica().sweep_all()
            await wait(OUTCOME_AFTER)
            await world.replica().sweep_all()
            if at_key(world) is not None:  # the deletion had not been decided: nothing is lost
                assert at_key(world) == ONE
                assert isinstance(await world.replica().commit(session), CommittedObject)
                assert sessions_left(world) == {session.id}
                return
            assert world.leftovers(session) == []
            assert world.names(session) == []
        else:
            await taken_again(world, precondition=ANY)
            await wait(EXPIRED_AFTER)
            await world.replica().sweep_all()  # a tombstone without a decision is expired like any session
            await wait(OUTCOME_AFTER)
            await world.replica().sweep_all()
            assert world.names(session) == []
            assert len(sessions_left(world)) == 1
            assert at_key(world) == TWO

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(seed=nth)
            if beginning == "committed":
                session = await held(world)
            else:
                session = await world.session(ONE, object_key=KEY)
                await world.plain.put(  # the name is taken before the first claim
                    keys.record(TENANT, session.id, keys.DECISION),
                    (await world.claim(session, 1)).encode(),
                    timeout=30,
                )
            crash = CrashAt(nth, moment)
            try:
                await delete(world.replica(faults=crash), session)
            except Crash:
                await check(world, session)
            else:
                assert crash.calls < nth
                assert nth > 40
                return

    run(main())


# --- races ---


def test_i16_deletes_replaces_and_commits_at_once_leave_what_the_log_says() -> None:
    """I16: whatever order a seed makes, the object at the key is the newest generation's, or none after a tombstone."""

    async def one(number: int, seed: int, world: World, work: Callable[[Replica], Coroutine[Any, Any, Any]]) -> Any:
        await wait(random.Random(seed * 97 + number).uniform(0.0, 0.6))
        return await outcome_of(work(world.replica(latency=seeded_latency(seed * 31 + number))))

    async def main() -> None:
        endings = set()
        for seed in range(SEEDS):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            target = await held(world)
            new = await world.session(TWO, object_key=KEY, precondition=ANY)
            works: list[Callable[[Replica], Coroutine[Any, Any, Any]]] = [
                lambda replica, target=target: delete(replica, target),  # type: ignore[misc]
                lambda replica, target=target: delete(replica, target),  # type: ignore[misc]
                lambda replica, new=new: replica.commit(new),  # type: ignore[misc]
                lambda replica, target=target: replica.commit(target),  # type: ignore[misc]
                lambda replica, target=target: replica.sweep(target),  # type: ignore[misc]
            ]
            answers = await asyncio.gather(*(one(number, seed, world, work) for number, work in enumerate(works)))
            for answer in answers[:2]:
                assert isinstance(answer, Deletion) or answer is SessionNotFound, (seed, answer)
            assert any(isinstance(answer, Deletion) for answer in answers[:2]), seed
            assert world.names(target) == []
            if isinstance(answers[2], CommittedObject):
                endings.add("replaced")
                assert at_key(world) == TWO, seed
            else:
                endings.add("deleted")
                assert answers[2] is KeyCooling, (seed, answers)
                assert at_key(world) is None, seed
                await wait(COOLED)
                await world.replica().commit(new)
                assert at_key(world) == TWO
            await wait(EXPIRED_AFTER + OUTCOME_AFTER)
            await world.replica().sweep_all()
            await wait(OUTCOME_AFTER)
            await world.replica().sweep_all()
            assert sessions_left(world) == {new.id}, seed
        assert endings == {"replaced", "deleted"}

    run(main())


def test_another_session_whose_claim_came_between_is_finished_first_and_keeps_its_object() -> None:
    """I16: the target is then not the holder any more; the delete says so by removing its records alone."""

    async def main() -> None:
        world = World()
        target = await held(world)
        new = await world.session(TWO, object_key=KEY, precondition=ANY)

        async def claim() -> None:
            await world.claim(new, 2)

        claimed = Fault("put", "/000000000002.json", first(claim))
        deletion = await delete(world.replica(faults=Faults(claimed)), target)
        assert claimed.fired == 1
        assert deletion.state is SessionState.DELETED
        assert "object" not in told(deletion)
        assert at_key(world) == TWO
        assert sessions_left(world) == {new.id}

    run(main())
