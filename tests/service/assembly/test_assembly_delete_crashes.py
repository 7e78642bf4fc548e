"""Deletes that crash, lose answers or meet others are finished by whoever comes (W5)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from assembly_faults import MOMENTS, Crash, CrashAt, Fault, first, lands_late, loses_answer, seeded_latency
from assembly_time import run, wait
from assembly_world import CHUNK, EXPIRED_AFTER, Replica, Session, World, content_of
from deletes import begin, delete, gone_for_good, outcome_of

from assembly_service.delete import Deletion
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    SessionExpired,
    SessionNotFound,
)
from sealane.domain.records import DeletedRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys
from sealane.store.simulated_traits import AWS, SEAWEEDFS

T = TypeVar("T")

BEGINNINGS = pytest.mark.parametrize("beginning", ["open", "committing", "committed", "aborted"])
SEEDS = 40


# --- crashes ---


@BEGINNINGS
@MOMENTS
@pytest.mark.parametrize("recovery", ["sweeper", "again"])
def test_i9_i11_a_delete_that_crashes_at_any_call_is_finished_by_another(beginning, moment, recovery) -> None:
    """I1, I2, I9, I11: every store call × before and after, then a fresh replica's sweeper, or the request again."""

    async def check(world: World, session: Session) -> None:
        names, decision = world.names(session), world.decision(session)
        if world.object(session) is not None:  # I2, at the very moment of the crash
            assert decision is not None
            assert decision.outcome is Outcome.COMMIT
        assert names == [] or decision is not None or keys.SESSION in names  # I11
        if keys.SESSION not in names:
            assert world.object(session) is None  # who finds no session finds no object
        marked = keys.DELETED in names or (names and keys.SESSION not in names)
        decided = decision is not None
        if recovery == "again":
            with contextlib.suppress(SessionNotFound):
                await delete(world.replica(), session)
        else:
            await world.replica().sweep_all(full=False)
            if not marked and names and decided and decision.outcome is Outcome.COMMIT:
                assert world.object(session) == session.content  # the delete had not begun: nothing is lost
                assert isinstance(await world.replica().commit(session), CommittedObject)
                return
            if names and not marked:
                if not decided:
                    await wait(EXPIRED_AFTER)
                    await world.replica().sweep_all(full=False)
                await wait(world_outcome_seconds())
                await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []
        await gone_for_good(world, session)

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, beginning, CHUNK + 5)
            crash = CrashAt(nth, moment)
            try:
                await delete(world.replica(faults=crash), session)
            except Crash:
                await check(world, session)
            else:
                assert crash.calls < nth
                assert nth > 15
                return

    run(main())


def world_outcome_seconds() -> float:
    return 24 * 3600.0 + 2


@BEGINNINGS
@pytest.mark.parametrize("action", [loses_answer, lands_late(0.4), lands_late(1e6)], ids=["lost", "late", "very late"])
def test_i8_i9_every_call_of_a_delete_may_lose_its_answer_or_land_late(beginning, action) -> None:
    """I8, I9: a call of the delete itself lands up to days later, behind everything: nothing comes back, or stays."""

    class NthWrite:
        def __init__(self, nth: int) -> None:
            self.nth, self.writes = nth, 0

        async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
            if op in ("put", "delete", "abort_multipart", "complete_multipart"):
                self.writes += 1
                if self.writes == self.nth:
                    answer = action(effect)
                    return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]
            return effect()

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, beginning, CHUNK + 5)
            faults = NthWrite(nth)
            await delete(world.replica(faults=faults), session)
            assert world.leftovers(session) == []
            if faults.writes < nth:
                assert nth > 6
                return
            await wait(2e6)
            await world.replica().sweep_all(full=True)
            await gone_for_good(world, session)

    run(main())


# --- races ---


def test_i1_i2_i9_commits_aborts_deletes_and_sweepers_at_once() -> None:
    """I1, I2, I9: whatever order a seed makes, the delete's answer fits the decision, and nothing is left."""

    async def one(number: int, seed: int, world: World, session: Session, work: Any) -> Any:
        await wait(random.Random(seed * 97 + number).uniform(0.0, 0.6))
        replica = world.replica(latency=seeded_latency(seed * 31 + number))
        return await outcome_of(work(replica, session))

    def commit(replica: Replica, session: Session) -> Any:
        return replica.commit(session)

    def abort(replica: Replica, session: Session) -> Any:
        return replica.abort(session)

    def sweep(replica: Replica, session: Session) -> Any:
        return replica.sweep(session)

    async def main() -> None:
        seen = set()
        for seed in range(SEEDS):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            session = await world.session(content_of(2 * CHUNK + 7, seed))
            works = [commit, commit, abort, delete, delete, sweep]
            answers = await asyncio.gather(
                *(one(number, seed, world, session, work) for number, work in enumerate(works))
            )
            deletions = [answer for answer in answers[3:5] if isinstance(answer, Deletion)]
            states = {deletion.state for deletion in deletions}
            assert len(states) <= 1, seed
            committed = {dataclasses.replace(a, replayed=False) for a in answers[:2] if isinstance(a, CommittedObject)}
            assert len(committed) <= 1
            if committed:
                assert SessionState.ABORTED not in states, seed
            seen |= states
            await world.replica().sweep_all(full=True)
            if not deletions:  # both came behind what the other, or the purge, had removed
                assert set(answers[3:5]) == {SessionNotFound}
            await gone_for_good(world, session)
        assert seen == {SessionState.DELETED, SessionState.ABORTED}

    run(main())


def test_w1_a_session_that_expires_while_it_is_deleted_says_expired() -> None:
    """Lost → obey the winner."""

    async def main() -> None:
        world = World()
        session = await begin(world, "open")

        async def expire() -> None:
            await world.put_record(session, keys.DECISION, Decision(session.id, Outcome.EXPIRE).encode())

        fault = Fault("put", keys.DECISION, first(expire))
        assert (await delete(world.replica(faults=fault), session)).state is SessionState.EXPIRED
        with pytest.raises((SessionExpired, SessionNotFound)):
            await world.replica().commit(session)
        await gone_for_good(world, session)

    run(main())


# --- the sweeper ---


@MOMENTS
def test_w5_a_sweeper_that_crashes_in_a_half_done_delete_is_followed_by_another(moment) -> None:
    """W5, I11: the frequent pass finds it, at whatever step it stopped."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, "committed")
            await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
            crash = CrashAt(nth, moment)
            try:
                await world.replica(faults=crash).sweep(session)
            except Crash:
                names = world.names(session)
                assert names == [] or keys.DECISION in names  # I11
                await world.replica().sweep_all(full=False)
            else:
                assert nth > 15
                return
            await gone_for_good(world, session)

    run(main())
