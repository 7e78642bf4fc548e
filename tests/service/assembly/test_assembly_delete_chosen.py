"""DeleteSession at a key that a caller chose: a tombstone takes the next generation, and no DELETE hits a later object.

The rules are those of docs/model.md; here the real code is held to them, with every crash and the worst of stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from assembly_world import (
    EXPIRED_AFTER,
    OUTCOME_AFTER,
    TENANT,
    Crash,
    CrashAt,
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
    seeded_latency,
    wait,
)

from assembly_service.audit_findings import Finding
from assembly_service.delete import Deletion
from sealane.domain.claims import ANY, COOLING, VACANT, Precondition
from sealane.domain.errors import (
    GenerationMismatch,
    KeyCooling,
    OutcomeUnknown,
    SealaneError,
    SessionNotFound,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId
from sealane.domain.records import MultipartRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.simulated import loop_time_clock
from sealane.store.simulated_traits import AWS, SEAWEEDFS

T = TypeVar("T")

DIALECTS = pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])
KEY = "reports/november.bin"
ONE, TWO = content_of(1500, 1), content_of(1600, 2)
COOLED = COOLING.total_seconds() + 2
SEEDS = 25


class Suspending(World):
    """A world in which hours pass in no time of a process's own: as for one under SIGSTOP, or on a suspended machine.

    :func:`wait` would let the deadlines of a stalled call pass, and end the stall.
    """

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.slept = timedelta(0)
        self.plain._clock = self._clock  # type: ignore[attr-defined]

    def replica(self, **given: Any) -> Replica:
        made = super().replica(**given)
        made.store._clock = self._clock
        return made

    def _clock(self) -> datetime:
        return loop_time_clock() + self.slept


async def rest(world: World, seconds: float) -> None:
    if isinstance(world, Suspending):
        world.slept += timedelta(seconds=seconds)
    else:
        await wait(seconds)


async def delete(replica: Replica, session: Session, seconds: float = 300) -> Deletion:
    return await replica.assembly.deleter.delete(TENANT, session.id, Deadline.after(seconds))


def told(deletion: Deletion) -> dict[str, tuple[int, int]]:
    return {some.kind.value: (some.count, some.size) for some in deletion.removed}


async def held(world: World, content: bytes = ONE, precondition: Precondition = VACANT) -> Session:
    session = await world.session(content, object_key=KEY, precondition=precondition)
    await world.replica().commit(session)
    return session


def at_key(world: World) -> bytes | None:
    stored = world.bucket.object(f"{TENANT}/{KEY}")
    return None if stored is None else b"".join(stored.read())


def sessions_left(world: World) -> set[str]:
    return {key.split("/")[3] for key in world.bucket.keys(f".sealane/{TENANT}/sessions/")}


async def taken_again(world: World, content: bytes = TWO, precondition: Precondition = VACANT) -> Session:
    """I16: the key is not wedged; the next one has it, an hour after the deletion that it may have to finish itself."""
    session = await world.session(content, object_key=KEY, precondition=precondition, ttl=10 * 3600)
    with contextlib.suppress(KeyCooling, GenerationMismatch):
        await world.replica().commit(session)
    await rest(world, COOLED)
    answer = await world.replica().commit(session)
    assert isinstance(answer, CommittedObject)
    assert at_key(world) == content
    return session


# --- what goes, and what stays ---


@DIALECTS
def test_i9_i16_the_object_goes_the_generation_moves_on_and_the_key_rests_for_an_hour(dialect) -> None:
    """I9, I16: through every layer; the claims stay, and one tombstone, which holds nothing."""

    async def main() -> None:
        world = World(dialect)
        session = await held(world)
        deletion = await delete(world.replica(), session)
        assert deletion.state is SessionState.DELETED
        counted = told(deletion)
        assert counted["object"] == (1, len(ONE))
        assert counted["receipt"] == (2, 0)
        assert at_key(world) is None
        assert world.leftovers(session) == []
        with pytest.raises(SessionNotFound):
            await delete(world.replica(), session)
        with pytest.raises(SessionNotFound):
            await world.replica().commit(session)
        assert [claim.generation for claim in world.claims(KEY)] == [1, 2]
        assert len(sessions_left(world)) == 1
        early = await world.session(TWO, object_key=KEY)
        with pytest.raises(KeyCooling) as caught:
            await world.replica().commit(early)
        assert 3000 < caught.value.retry_after <= COOLING.total_seconds() + 1
        again = await taken_again(world)
        assert (await world.replica().commit(again)).generation == 3

    run(main())


def test_a_tombstone_is_nobodys_session() -> None:
    """No caller made it: none commits, aborts or deletes it, and it is no holder."""

    async def main() -> None:
        world = World()
        session = await held(world)
        await delete(world.replica(), session)
        (tombstone,) = sessions_left(world)
        ghost = Session(SessionId(tombstone), session.record, b"")
        for ask in (world.replica().commit, world.replica().abort, world.replica().outcome):
            with pytest.raises(SessionNotFound):
                await ask(ghost)
        with pytest.raises(SessionNotFound):
            await delete(world.replica(), ghost)
        assert sessions_left(world) == {tombstone}

    run(main())


def test_w7_the_tombstone_goes_once_a_later_generation_is_done() -> None:
    """W7, I9: what is left in the end is the log of claims, and the living."""

    async def main() -> None:
        world = World()
        await delete(world.replica(), await held(world))
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert len(sessions_left(world)) == 1  # until then it says that the key is vacant
        later = await taken_again(world)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert sessions_left(world) == {later.id}
        assert at_key(world) == TWO

    run(main())


def test_a_replaced_session_has_records_to_remove_and_the_object_is_the_later_generations() -> None:
    """⚠ W5 without touching the object: no DELETE is sent to the key at all."""

    async def main() -> None:
        world = World()
        old = await held(world)
        new = await held(world, TWO, ANY)
        replica = world.replica()
        deletion = await delete(replica, old)
        assert deletion.state is SessionState.DELETED
        assert "object" not in told(deletion)
        assert ("delete", old.record.key) not in replica.store.calls
        assert replica.events.alarms == []  # nor is the object even looked at by W5
        assert world.leftovers(old) == []
        assert at_key(world) == TWO
        assert isinstance(await world.replica().commit(new), CommittedObject)

    run(main())


def test_w7_a_replaced_sessions_records_are_swept_and_never_the_object() -> None:
    """⚠ W7: only once the later generation is done."""

    async def main() -> None:
        world = World()
        old = await held(world)
        new = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.claim(new, 2)
        await world.replica().sweep_all()
        assert keys.SESSION in world.names(old)  # claimed is not done
        await world.replica().commit(new)
        await world.replica().sweep_all()
        assert isinstance(await world.replica().commit(old), CommittedObject)  # who lost the answer can still ask
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert world.names(old) == []
        assert at_key(world) == TWO

    run(main())


@pytest.mark.parametrize("state", ["open", "aborted", "lost", "claimed"])
def test_a_session_that_never_held_the_key_goes_without_a_tombstone(state) -> None:
    """I16: the holder's object and claim are untouched."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        session = await world.session(TWO, object_key=KEY, precondition=ANY)
        if state == "aborted":
            await world.replica().abort(session)
        if state in ("lost", "claimed"):
            await world.claim(session, 2)
        if state == "lost":
            world.bucket.lose_upload(session.upload_id)
            other = await world.session(content_of(10, 9), object_key=KEY, precondition=Precondition(1))
            await world.replica().commit(other)  # helps, and finds it lost
            holder = other
        deletion = await delete(world.replica(), session)
        assert deletion.state is (SessionState.LOST if state == "lost" else SessionState.ABORTED)
        assert world.leftovers(session) == []
        assert world.names(session) == []
        assert world.bucket.open_uploads() == []
        assert at_key(world) == holder.content

    run(main())


def test_a_duplicate_goes_and_the_object_that_it_was_answered_stays() -> None:
    async def main() -> None:
        world = World()
        holder = await held(world)
        twin = await world.session(ONE, object_key=KEY)
        assert (await world.replica().commit(twin)).duplicate
        deletion = await delete(world.replica(), twin)
        assert deletion.state is SessionState.DUPLICATE
        assert world.names(twin) == []
        assert at_key(world) == holder.content

    run(main())


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


# --- no DELETE ever hits a later generation ---


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


async def outcome_of(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SealaneError, port.StoreError) as error:
        return type(error)


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


# --- the audit, and W6 at chosen keys ---


async def findings(world: World, *, repair: bool = False) -> list[Finding]:
    walk = world.replica().assembly.auditor.audit(TENANT, Deadline.after(600), min_age=timedelta(0), repair=repair)
    return [message async for message in walk if isinstance(message, Finding)]


@DIALECTS
def test_a_bucket_of_chosen_keys_deleted_replaced_and_held_is_clean(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        first_one = await held(world)
        await held(world, TWO, ANY)
        assert await findings(world) == []  # replaced, and not swept yet
        await delete(world.replica(), first_one)
        other = await world.session(ONE, object_key="other/key")
        await world.replica().commit(other)
        await delete(world.replica(), other)
        await world.session(ONE, object_key="third")
        assert await findings(world) == []

    run(main())


@pytest.mark.parametrize("stopped", ["complete_multipart", "delete"])
def test_an_audit_between_a_later_generations_object_and_its_done_json_finds_nothing(stopped) -> None:
    """The object comes, or goes, before done.json says so."""

    async def main() -> None:
        world = World()
        old = await held(world)
        await wait(7200)
        crash = Fault(stopped, KEY, dies_behind)
        new = await world.session(TWO, object_key=KEY, precondition=ANY)
        dying = world.replica(faults=crash)
        with pytest.raises(Crash):
            await (delete(dying, old) if stopped == "delete" else dying.commit(new))
        assert at_key(world) != ONE
        walk = world.replica().assembly.auditor.audit(TENANT, Deadline.after(600))
        assert [message async for message in walk if isinstance(message, Finding)] == []

    run(main())


def dies_behind(effect: Callable[[], Any]) -> None:
    effect()
    raise Crash


def test_an_object_of_a_generation_that_was_deleted_is_a_ghost_if_it_is_back() -> None:
    """Somebody restored a backup into the bucket, say."""

    async def main() -> None:
        world = World()
        session = await held(world)
        upload = await world.start_upload(session)
        etag = await world.plain.upload_part(
            session.record.key, upload, 1, b"x", sha256=hashlib.sha256(b"x").digest(), timeout=30
        )
        await delete(world.replica(), session)
        await world.plain.complete_multipart(
            session.record.key, upload, [port.Part(1, etag, hashlib.sha256(b"x").digest())], timeout=30
        )
        (ghost,) = await findings(world, repair=True)
        assert (ghost.kind, ghost.key, ghost.repaired) == ("OBJECT_WITHOUT_RECORDS", session.record.key, False)
        assert at_key(world) == b"x"

    run(main())


@pytest.mark.parametrize("by", ["sweeper", "audit"])
def test_w6_at_a_chosen_key_an_upload_goes_only_if_no_session_of_the_key_can_finish_it(by) -> None:
    """⚠ W6: each session that names the key has a multipart.json naming another, or a decision other than COMMIT."""

    async def clean(world: World) -> None:
        await wait(3600 * 2)
        if by == "sweeper":
            await world.replica().sweep_all()
        else:
            await findings(world, repair=True)

    async def main() -> None:
        world = World()
        long = 30 * 24 * 3600
        holder = await held(world)
        named = await world.session(TWO, object_key=KEY, precondition=ANY, ttl=long)
        silent = await world.open_session(TWO, object_key=KEY, precondition=ANY, ttl=long)
        lone = await world.start_upload(silent)
        await clean(world)
        assert len(world.bucket.open_uploads()) == 2  # absent proves nothing
        mine = await world.start_upload(silent)
        await world.put_record(silent, keys.MULTIPART, MultipartRecord(silent.id, mine).encode())
        await clean(world)
        assert {upload.upload_id for upload in (await world.plain.list_uploads("", timeout=9)).uploads} == {
            named.upload_id,
            mine,
        }
        assert lone
        assert at_key(world) == holder.content

    run(main())


def test_w6_an_upload_named_by_a_multipart_json_without_a_session_goes_in_the_frequent_pass() -> None:
    """⚠ W6: the writer stalled behind the purge; multipart.json names the key, since nothing else does any more."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        session = await world.open_session(TWO, object_key=KEY, precondition=ANY)
        await delete(world.replica(), session)
        upload = await world.start_upload(session)
        late = MultipartRecord(session.id, upload, session.record.key)
        await world.put_record(session, keys.MULTIPART, late.encode())
        foreign = MultipartRecord("b" * 32, "of another tenant", "other/key")
        forged = keys.record(TENANT, SessionId("b" * 32), keys.MULTIPART)
        await world.plain.put(forged, foreign.encode(), timeout=30)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert world.bucket.open_uploads() == []
        assert sessions_left(world) == {holder.id}
        assert not [call for call in replica.store.calls if call.key.startswith("other/")]  # I12

    run(main())


def test_w6_a_session_that_cannot_be_read_spares_the_uploads_of_its_tenant() -> None:
    """Fail closed (section 11)."""

    async def main() -> None:
        world = World()
        await world.plain.create_multipart(f"{TENANT}/{KEY}", timeout=30, metadata={})
        forged = keys.record(TENANT, SessionId("a" * 32), keys.SESSION)
        await world.plain.put(forged, b"{}", timeout=30)
        await wait(7200)
        replica = world.replica()
        await replica.sweep_all()
        assert len(world.bucket.open_uploads()) == 1
        assert replica.events.alarms
        await world.plain.delete(forged, timeout=30)
        await world.replica().sweep_all()
        assert world.bucket.open_uploads() == []

    run(main())
