"""No DELETE at a chosen key ever hits a later generation: deletes that stall, land late, or lose an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from assembly_faults import MOMENTS, Fault, lands_late, loses_answer, refuses
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Session, World
from chosen_deletes import KEY, ONE, TWO, Suspending, at_key, held, outcome_of, rest, sessions_left, taken_again
from deletes import delete

from assembly_service.delete import Deletion
from sealane.domain.claims import ANY
from sealane.domain.errors import (
    GenerationMismatch,
    KeyCooling,
    OutcomeUnknown,
    SessionNotFound,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port
from sealane.store.simulated import loop_time_clock
from sealane.store.simulated_traits import AWS, SEAWEEDFS

T = TypeVar("T")


class StallAt:
    """The process stands still before its ``nth`` call takes effect, or behind that, until ``other`` has happened."""

    def __init__(self, nth: int, moment: str, other: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.nth, self.moment, self.other, self.calls = nth, moment, other, 0
        self.deleted = 0
        self.on_delete: Callable[[], None] = lambda: None

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        self.calls += 1
        if op == "delete" and key.endswith(KEY):
            self.deleted += 1
            self.on_delete()
        if self.calls != self.nth:
            return effect()
        if self.moment == "before":
            await self.other()
            return effect()
        try:
            return effect()
        finally:
            await self.other()


def decided_tombstone(world: World) -> None:
    """⚠ I10: no DELETE is sent but for a tombstone whose decision counts: its session.json is there."""
    living = [s for s in sessions_left(world) if world.bucket.exists(keys.record(TENANT, SessionId(s), keys.SESSION))]
    decisions = [world.bucket.object(keys.record(TENANT, SessionId(session), keys.DECISION)) for session in living]
    assert any(stored and b'"tombstone":true' in b"".join(stored.read()) for stored in decisions)


@MOMENTS
@pytest.mark.parametrize("between", ["deleted and taken again", "replaced", "purged"])
def test_i16_a_deleter_that_sleeps_through_a_later_generation_never_removes_its_object(moment, between) -> None:
    """⚠ I16: it stalls at each of its calls, for hours; signatures made before are refused, looks come first."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = Suspending(AWS if nth % 2 else SEAWEEDFS, seed=nth)
            session = await held(world)
            later: list[Session] = []

            async def meanwhile(world=world, session=session, later=later) -> None:
                if between == "purged":  # whatever the sweepers of two days do with what it has begun
                    for seconds in (EXPIRED_AFTER, OUTCOME_AFTER):
                        await rest(world, seconds)
                        await world.replica().sweep_all()
                    return
                if between == "replaced":
                    with contextlib.suppress(GenerationMismatch, KeyCooling):
                        later.append(await held(world, TWO, ANY))
                    return
                with contextlib.suppress(SessionNotFound):
                    await delete(world.replica(), session)
                later.append(await taken_again(world))

            faults = StallAt(nth, moment, meanwhile)
            faults.on_delete = lambda world=world: decided_tombstone(world)  # type: ignore[misc]
            answer = await outcome_of(delete(world.replica(faults=faults), session, seconds=20_000))
            if faults.calls < nth:
                assert nth > 40
                return
            assert isinstance(answer, Deletion) or answer is SessionNotFound, (nth, answer)
            assert world.leftovers(session) == [], nth
            if later and world.names(later[-1]):
                assert at_key(world) == TWO, nth
            await world.replica().sweep_all()
            await rest(world, EXPIRED_AFTER + OUTCOME_AFTER)
            await world.replica().sweep_all()
            if later and world.names(later[-1]):
                assert at_key(world) == TWO, nth
                assert isinstance(await world.replica().commit(later[-1]), CommittedObject)

    run(main())


@pytest.mark.parametrize("minutes", [1, 14, 61, 600])
def test_i16_a_delete_that_lands_late_is_harmless_or_refused(minutes) -> None:
    """⚠ R6: a DELETE under way when the key is taken again was signed more than 15 minutes ago."""

    async def main() -> None:
        world = World()
        session = await held(world)
        fault = Fault("delete", KEY, lands_late(60.0 * minutes))
        await delete(world.replica(faults=fault), session, seconds=2000)
        assert fault.fired == 1
        assert at_key(world) is None
        later = await taken_again(world)
        await wait(60.0 * minutes)
        assert at_key(world) == later.content

    run(main())


def test_the_signature_is_older_than_the_look_and_each_repetition_takes_both_anew() -> None:
    """⚠ Model: "the DELETE's signature time is taken before the HEAD that shows the target's token"."""

    async def main() -> None:
        world = World()
        session = await held(world)
        events: list[tuple[str, Any]] = []

        class Told:
            async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
                if key.endswith(KEY):
                    events.append((op, loop_time_clock()))
                    if op == "delete" and sum(1 for each, _ in events if each == "delete") < 3:
                        raise port.OutcomeUnknown("never arrived")
                return effect()

        replica = world.replica(faults=Told(), latency=lambda op, key: 0.05)
        real, signed = replica.store.delete, []

        async def spied(key: str, *, timeout: float, signed_at: Any = None) -> None:
            if key.endswith(KEY):
                signed.append(signed_at)
            await real(key, timeout=timeout, signed_at=signed_at)

        replica.store.delete = spied  # type: ignore[method-assign]
        await delete(replica, session)
        ops = [op for op, _ in events]
        first_delete = ops.index("delete")
        assert ops[first_delete - 1 :] == ["head", "delete"] * 3 + ["head"]
        looks = [moment for op, moment in events[first_delete - 1 :] if op == "head"]
        sent = [moment for op, moment in events if op == "delete"]
        for number, (at, look, delivered) in enumerate(zip(signed, looks, sent, strict=False)):
            assert at < look < delivered
            assert number == 0 or sent[number - 1] < at

    run(main())


def test_a_signature_from_a_wrong_clock_is_made_anew_once_the_look_has_told_the_time() -> None:
    """A clock that was set must not make a signature that lives longer than R6 lets it: dated ahead, it would."""

    async def main() -> None:
        world = World()
        session = await held(world)
        replica = world.replica()
        ahead = timedelta(minutes=14)  # no store refuses that
        looks = 0

        class Told:
            async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
                nonlocal ahead, looks
                if op == "head" and key.endswith(KEY):
                    looks += 1
                    if looks == 2:  # the first one is for the count of what is removed
                        ahead = timedelta(0)
                return effect()

        replica.store.faults = Told()
        replica.store.now = lambda: loop_time_clock() + ahead  # type: ignore[method-assign]
        real, signed = replica.store.delete, []

        async def spied(key: str, *, timeout: float, signed_at: Any = None) -> None:
            if key.endswith(KEY):
                signed.append(signed_at)
            await real(key, timeout=timeout, signed_at=signed_at)

        replica.store.delete = spied  # type: ignore[method-assign]
        await delete(replica, session)
        assert len(signed) == 1
        assert signed[0] <= loop_time_clock()
        assert at_key(world) is None

    run(main())


def test_a_signature_that_is_refused_for_its_age_is_made_anew() -> None:
    async def main() -> None:
        world = World()
        session = await held(world)
        fault = Fault("delete", KEY, refuses(port.ClockSkewed("too old")), times=2)
        assert (await delete(world.replica(faults=fault), session)).state is SessionState.DELETED
        assert at_key(world) is None

    run(main())


def test_a_store_that_refuses_the_delete_is_unavailable_and_alarmed_and_nothing_is_marked() -> None:
    """403: an operator must look; the tombstone is decided, and whoever comes next finishes it."""

    async def main() -> None:
        world = World()
        session = await held(world)
        replica = world.replica(faults=Fault("delete", KEY, refuses(port.AccessDenied("no")), times=100))
        with pytest.raises(StoreUnavailable):
            await delete(replica, session)
        assert replica.events.alarms
        assert at_key(world) == ONE
        assert keys.DELETED not in world.names(session)
        deletion = await delete(world.replica(), session)
        assert deletion.state is SessionState.DELETED
        assert at_key(world) is None

    run(main())


def test_i9_done_json_of_a_tombstone_waits_for_a_look_that_does_not_show_the_target() -> None:
    """⚠ Model: a DELETE that was answered and did nothing is no deletion."""

    async def main() -> None:
        world = World()
        session = await held(world)

        def ignores(effect: Callable[[], Any]) -> None:
            """Answered, and nothing happens."""

        with pytest.raises(OutcomeUnknown):
            await delete(world.replica(faults=Fault("delete", KEY, ignores, times=10_000)), session, seconds=30)
        tombstone = (sessions_left(world) - {session.id}).pop()
        assert not world.bucket.exists(keys.record(TENANT, SessionId(tombstone), keys.DONE))
        await world.replica().sweep_all()  # W4: anybody finishes it, then W7
        await world.replica().sweep_all()
        assert at_key(world) is None
        assert world.names(session) == []

    run(main())


@pytest.mark.parametrize("action", [loses_answer, lands_late(0.4), lands_late(2e6)], ids=["lost", "late", "very late"])
def test_i8_i9_i16_every_write_of_a_delete_may_lose_its_answer_or_land_late(action) -> None:
    """I8, I9, I16: session.json and claim of the tombstone too; nothing comes back, nothing later is hit."""

    class NthWrite:
        def __init__(self, nth: int) -> None:
            self.nth, self.writes = nth, 0

        async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
            if op in ("put", "delete"):
                self.writes += 1
                if self.writes == self.nth:
                    answer = action(effect)
                    return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]
            return effect()

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(seed=nth)
            session = await held(world)
            faults = NthWrite(nth)
            await delete(world.replica(faults=faults), session)
            assert at_key(world) is None
            assert world.leftovers(session) == []
            if faults.writes < nth:
                assert nth > 10
                return
            later = await taken_again(world)
            await wait(3e6)
            await world.replica().sweep_all()
            await wait(EXPIRED_AFTER)
            await world.replica().sweep_all()
            await wait(OUTCOME_AFTER)
            await world.replica().sweep_all()
            assert sessions_left(world) == {later.id}, nth
            assert at_key(world) == TWO

    run(main())
