"""Chosen keys: who holds one, what a commit may replace, and what it is answered (protocol.md section 8)."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from assembly_world import (
    EXPIRED_AFTER,
    IMPATIENT,
    OUTCOME_AFTER,
    TENANT,
    Fault,
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

from sealane.domain.claims import ANY, COOLING, VACANT, NameRecord, Nature, Precondition
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    GenerationMismatch,
    InternalError,
    InvalidObjectKey,
    KeyCooling,
    OutcomeUnknown,
    SessionAborted,
    SessionLost,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.records import DoneRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS

KEY = "reports/2026/november.bin"
ONE, TWO, THREE = (content_of(2500, seed) for seed in (1, 2, 3))


async def held(world: World, content: bytes = ONE, precondition: Precondition = VACANT, key: str = KEY) -> Session:
    """A session that was committed at the key."""
    session = await world.session(content, object_key=key, precondition=precondition)
    await world.replica().commit(session)
    return session


def at_key(world: World, key: str = KEY) -> bytes | None:
    stored = world.bucket.object(keys.chosen_object_key(TENANT, key))
    return None if stored is None else b"".join(stored.read())


def whole(world: World, session: Session, generation: int) -> None:
    """I2, I4, I7, I16: decided, done, and at the key as this generation."""
    decision, done = world.decision(session), world.done(session)
    assert decision is not None
    assert decision.outcome is Outcome.COMMIT
    assert isinstance(done, DoneRecord)
    assert decision.generation == done.generation == generation
    assert at_key(world, session.record.chosen_key) == session.content


# --- preconditions ---


def test_i16_each_replace_is_the_next_generation_and_its_bytes_are_at_the_key() -> None:
    """I16: 1, 2, 3 with the preconditions "vacant", "exactly 1" and "any"."""

    async def main() -> None:
        world = World()
        for number, (content, wanted) in enumerate([(ONE, VACANT), (TWO, Precondition(1)), (THREE, ANY)], start=1):
            session = await world.session(content, object_key=KEY, precondition=wanted)
            answer = await world.replica().commit(session)
            assert answer.key == f"{TENANT}/{KEY}"
            assert (answer.generation, answer.duplicate) == (number, False)
            whole(world, session, number)
            assert dataclasses.replace(await world.replica().commit(session), replayed=False) == answer
        assert [claim.generation for claim in world.claims(KEY)] == [1, 2, 3]

    run(main())


@pytest.mark.parametrize("wanted", [0, 2, 7])
def test_a_key_whose_generation_moved_is_refused_with_its_holder_and_the_session_stays_open(wanted: int) -> None:
    """GENERATION_MISMATCH names generation, session, size, digest and time; nothing is claimed."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        session = await world.session(TWO, object_key=KEY, precondition=Precondition(wanted))
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(GenerationMismatch) as refused:
                await ask(session)
            told = refused.value.holder
            assert told is not None
            assert (told.object_key, told.generation, told.session_id) == (KEY, 1, holder.id)
            assert (told.size, told.blake3) == (len(ONE), holder.parameters.blake3)
            done = world.done(holder)
            assert isinstance(done, DoneRecord)
            assert told.commit_time == done.committed_at
            assert (told.state, told.foreign) == (SessionState.COMMITTED, False)
        assert await world.replica().outcome(session) == (SessionState.OPEN, None)
        assert len(world.claims(KEY)) == 1
        assert at_key(world) == ONE

    run(main())


def test_a_vacant_key_has_no_generation_to_replace() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY, precondition=Precondition(1))
        with pytest.raises(GenerationMismatch) as refused:
            await world.replica().commit(session)
        assert refused.value.holder is None
        state = await world.replica().key(KEY)
        assert (state.holder, state.generation, state.cooling_until) == (None, 0, None)

    run(main())


def test_verify_of_a_vacant_key_writes_nothing_and_says_that_a_commit_would_do() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        before = world.bucket.keys()
        assert (await world.replica().verify(session)).state is SessionState.OPEN
        assert world.bucket.keys() == before

    run(main())


# --- identical bytes ---


@pytest.mark.parametrize("wanted", [0, 1, 9, None])
def test_identical_bytes_are_a_success_marked_as_such_whatever_the_precondition(wanted: int | None) -> None:
    """DUPLICATE answers with the holder's object, equal for repeats and for every caller (I6); its parts go (W2)."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        session = await world.session(ONE, object_key=KEY, precondition=Precondition(wanted))
        answer = await world.replica().commit(session)
        original = await world.replica().commit(holder)
        assert answer == dataclasses.replace(original, replayed=False, duplicate=True)
        again = await world.replica().commit(session)
        assert again == dataclasses.replace(answer, replayed=True)
        assert await world.replica().outcome(session) == (SessionState.DUPLICATE, again)
        assert (await world.replica().verify(session)).state is SessionState.DUPLICATE
        with pytest.raises(SessionSealed):
            await world.replica().commit(session, dataclasses.replace(session.parameters, blake3=bytes(32)))
        with pytest.raises(SessionSealed):
            await world.replica().abort(session)
        assert len(world.claims(KEY)) == 1
        await world.replica().sweep_all()
        assert world.bucket.open_uploads() == []
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert world.names(session) == []
        whole(world, holder, 1)

    run(main())


def test_the_same_bytes_described_in_another_way_replace_the_holder_if_they_may() -> None:
    """Content type and metadata are part of what a replace replaces; without the right to, it is a duplicate."""

    async def main() -> None:
        world = World()
        await held(world)
        other = {"object_key": KEY, "content_type": "text/plain"}
        refused = await world.session(ONE, precondition=VACANT, **other)
        assert (await world.replica().commit(refused)).duplicate
        session = await world.session(ONE, precondition=ANY, **other)
        answer = await world.replica().commit(session)
        assert (answer.generation, answer.duplicate) == (2, False)
        stored = world.bucket.object(session.record.key)
        assert stored is not None
        assert stored.head.content_type == "text/plain"

    run(main())


def test_bytes_that_are_not_there_any_more_make_no_duplicate() -> None:
    """I8: somebody removed the holder's object by hand; a success would be a lie."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        await world.plain.delete(holder.record.key, timeout=30)
        with pytest.raises(GenerationMismatch):
            await world.replica().commit(await world.session(ONE, object_key=KEY))
        session = await world.session(ONE, object_key=KEY, precondition=Precondition(1))
        assert (await world.replica().commit(session)).generation == 2
        whole(world, session, 2)

    run(main())


# --- foreign objects ---


@pytest.mark.parametrize("wanted", [0, 1, None])
@pytest.mark.parametrize("first_ours", [False, True], ids=["never ours", "over ours"])
def test_an_object_that_sealane_did_not_write_is_a_conflict_that_nothing_replaces(
    wanted: int | None, *, first_ours: bool
) -> None:
    async def main() -> None:
        world = World()
        if first_ours:
            await held(world)
        await world.plain.put(f"{TENANT}/{KEY}", b"somebody else's", timeout=30)
        session = await world.session(TWO, object_key=KEY, precondition=Precondition(wanted))
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(GenerationMismatch) as refused:
                await ask(session)
            assert refused.value.holder is not None
            assert refused.value.holder.foreign
        state = await world.replica().key(KEY)
        assert state.holder is not None
        assert (state.holder.foreign, state.holder.size, state.holder.blake3) == (True, 15, b"")
        assert (state.holder.session_id, state.generation) == ("", 1 if first_ours else 0)
        assert at_key(world) == b"somebody else's"

    run(main())


# --- helping: section 8, steps 1-3 ---


def test_i16_own_claim_a_session_never_claims_twice() -> None:
    """⚠ Step 1: a committer that crashed between claim and decision goes on with its claim's body."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        proposed = await world.claim(session, 1)
        assert (await world.replica().verify(session)).state is SessionState.OPEN
        answer = await world.replica().commit(session)
        assert answer.generation == 1
        assert world.decision(session) == proposed
        assert len(world.claims(KEY)) == 1

    run(main())


def test_i16_own_claim_below_a_later_void_one_is_still_its_own() -> None:
    """⚠ Step 1 reads every claim that may be its own, not the newest alone."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        other = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.claim(session, 1)
        await world.claim(other, 2)
        await world.replica().abort(other)
        assert (await world.replica().commit(session)).generation == 1
        assert [claim.session_id for claim in world.claims(KEY)] == [session.id, other.id]

    run(main())


def test_i16_helping_an_open_claimant_gets_the_decision_that_it_proposed() -> None:
    """⚠ Step 2: no key is wedged by a claimant that crashed before its decision, and its own commit still succeeds."""

    async def main() -> None:
        world = World()
        crashed = await world.session(ONE, object_key=KEY)
        proposed = await world.claim(crashed, 1)
        session = await world.session(TWO, object_key=KEY, precondition=ANY)
        answer = await world.replica().commit(session)
        assert answer.generation == 2
        whole(world, session, 2)
        assert world.decision(crashed) == proposed
        done = world.done(crashed)
        assert isinstance(done, DoneRecord)
        late = await world.replica().commit(crashed)  # its own client comes again, after it was replaced
        assert (late.generation, late.replayed, late.etag) == (1, True, done.etag)
        assert at_key(world) == TWO

    run(main())


def test_i16_an_undone_holder_is_rolled_forward_before_the_next_claim() -> None:
    """⚠ Step 3: generations reach the key in order; the older one's upload can't come over the newer one's object."""

    async def main() -> None:
        world = World()
        undone = await world.session(ONE, object_key=KEY)
        await world.put_record(undone, keys.DECISION, (await world.claim(undone, 1)).encode())
        session = await world.session(TWO, object_key=KEY, precondition=Precondition(1))
        seen: list[tuple[bool, bytes | None]] = []

        async def look() -> None:
            seen.append((world.done(undone) is not None, at_key(world)))

        replica = world.replica(faults=Fault("put", "000000000002.json", first(look)))
        assert (await replica.commit(session)).generation == 2
        assert seen == [(True, ONE)]
        await world.replica().sweep_all()
        whole(world, session, 2)

    run(main())


def test_verify_reports_an_undecided_holder_as_such_and_writes_nothing() -> None:
    """Section 5: VerifySession helps nobody."""

    async def main() -> None:
        world = World()
        undecided = await world.session(ONE, object_key=KEY)
        await world.claim(undecided, 1)
        before = world.bucket.keys()
        session = await world.session(TWO, object_key=KEY)
        mine = set(world.bucket.keys()) - set(before)
        with pytest.raises(GenerationMismatch, match="not decided yet") as refused:
            await world.replica().verify(session)
        assert refused.value.holder is not None
        assert (refused.value.holder.state, refused.value.holder.generation) == (SessionState.OPEN, 1)
        free = await world.session(THREE, object_key=KEY, precondition=ANY)
        mine |= {key for key in world.bucket.keys("") if free.id in key}
        assert (await world.replica().verify(free)).state is SessionState.OPEN
        assert set(world.bucket.keys()) - mine == set(before)
        assert (await world.replica().key(KEY)).holder is None  # an undecided claim holds nothing

    run(main())


# --- void claims ---


async def aborted(world: World, session: Session) -> None:
    await world.replica().abort(session)


async def expired(world: World, session: Session) -> None:
    await wait(EXPIRED_AFTER)
    await world.replica().sweep(session)


async def purged(world: World, session: Session) -> None:
    await world.replica().abort(session)
    await wait(OUTCOME_AFTER)
    await world.replica().sweep_all()
    assert world.names(session) == []


async def lost(world: World, session: Session) -> None:
    world.bucket.lose_upload(session.upload_id)
    await world.put_record(session, keys.DECISION, world.claims(KEY)[-1].decision.encode())
    with pytest.raises(SessionLost):
        await world.replica().commit(session)
    assert isinstance(world.done(session), LostRecord)


async def late_decision_behind_a_purge(world: World, session: Session) -> None:
    await purged(world, session)
    await world.put_record(session, keys.DECISION, world.claims(KEY)[-1].decision.encode())


@pytest.mark.parametrize("end", [aborted, expired, purged, lost, late_decision_behind_a_purge])
def test_i16_a_void_claim_holds_nothing_and_its_number_is_not_used_again(end) -> None:
    """⚠ Steps 2 and 5: void is what aborted, expired, lost, or is gone, whatever a late decision says; the next number
    is the highest + 1, void or not."""

    async def main() -> None:
        world = World()
        first_one = await held(world)
        void = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.claim(void, 2)
        await end(world, void)
        session = await world.session(THREE, object_key=KEY, precondition=Precondition(1))
        state = await world.replica().key(KEY)
        assert state.holder is not None
        assert (state.generation, state.holder.session_id) == (1, first_one.id)
        assert at_key(world) == ONE
        assert (await world.replica().commit(session)).generation == 3
        whole(world, session, 3)

    run(main())


def test_i16_a_claim_whose_session_is_purged_between_two_reads_is_void_and_nobody_decides_for_it() -> None:
    """⚠ Step 2: "no decision" means OPEN only while session.json is there, for a purge takes the decision last."""

    async def main() -> None:
        world = World()
        void = await world.session(ONE, object_key=KEY)
        await world.claim(void, 1)
        session = await world.session(TWO, object_key=KEY)

        async def purge() -> None:
            await world.replica().abort(void)
            await wait(2)
            await world.replica(retention=IMPATIENT).sweep(void)
            assert world.names(void) == []

        replica = world.replica(faults=Fault("get", f"{void.id}/decision.json", first(purge)))
        assert (await replica.commit(session)).generation == 2
        assert world.names(void) == []

    run(main())


def test_i16_an_abort_that_comes_between_claim_and_decision_voids_the_claim() -> None:
    """I1, I16: the claimant obeys the decision that is there."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)

        async def abort() -> None:
            await world.replica().abort(session)

        replica = world.replica(faults=Fault("put", "decision.json", first(abort)))
        with pytest.raises(SessionAborted):
            await replica.commit(session)
        assert at_key(world) is None
        assert (await world.replica().key(KEY)).holder is None
        assert (await world.replica().commit(await world.session(TWO, object_key=KEY))).generation == 2

    run(main())


# --- answers that are lost, and claims that land late ---


@pytest.mark.parametrize(
    "trouble",
    [
        loses_answer,
        lands_late(0.01),
        lands_late(5.0),
        refuses(port.OutcomeUnknown("cut")),
        refuses(port.WriteConflict()),
    ],
    ids=["answer lost", "lands at once", "lands late", "lost", "409"],
)
@pytest.mark.parametrize("ending", ["000000000000.json", "000000000001.json"], ids=["name", "claim"])
def test_i16_a_claim_put_lost_or_late_is_listed_again_and_never_put_at_another_number(trouble, ending: str) -> None:
    """⚠ Section 6, PUT claim: after 412 or an unknown outcome, section 8 from the start."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key="top")
        replica = world.replica(faults=Fault("put", ending, trouble))
        assert (await replica.commit(session)).generation == 1
        await wait(10)
        assert [claim.session_id for claim in world.claims("top")] == [session.id]
        whole(world, session, 1)

    run(main())


def test_i16_a_claim_that_lands_after_another_took_its_number_is_refused_by_the_store() -> None:
    """I16: the number is fenced by If-None-Match; the late one finds a holder, and says so."""

    async def main() -> None:
        world = World()
        session, other = [await world.session(content, object_key=KEY) for content in (ONE, TWO)]

        def act(effect):
            async def steps():
                await world.replica().commit(other)
                return lands_late(3.0)(effect)

            return steps()

        replica = world.replica(faults=Fault("put", "000000000001.json", act))
        with pytest.raises(GenerationMismatch):
            await replica.commit(session)
        await wait(10)
        assert [claim.session_id for claim in world.claims(KEY)] == [other.id]
        whole(world, other, 1)

    run(main())


@pytest.mark.parametrize("wanted", [VACANT, ANY], ids=["vacant", "any"])
def test_i16_a_claim_whose_number_was_just_taken_starts_over(wanted: Precondition) -> None:
    """⚠ Step 5: after 412 everything is asked again, the precondition too; the number is the other's."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY, precondition=wanted)

        async def other() -> None:
            await held(world, TWO)

        replica = world.replica(faults=Fault("put", "000000000001.json", first(other)))
        if wanted is ANY:
            assert (await replica.commit(session)).generation == 2
            whole(world, session, 2)
        else:
            with pytest.raises(GenerationMismatch):
                await replica.commit(session)
            assert at_key(world) == TWO

    run(main())


def test_i16_own_claim_that_landed_while_a_list_was_under_way_is_not_missed() -> None:
    """⚠ A LIST that passes our claim's place before it lands, and then shows the one that came behind it: whoever
    claims again then has two claims and one decision, and nobody can read the key any more."""

    async def main() -> None:
        world = World()
        await held(world)
        torn = 0

        class Troubled:
            async def around(self, op: str, key: str, effect: Callable[[], Any]) -> Any:
                nonlocal torn
                if op == "put" and key.endswith("/000000000002.json") and not torn:
                    torn = 1
                    effect()
                    await held(world, THREE, ANY)  # helps ours, and is generation 3
                    raise port.OutcomeUnknown("no answer")
                answer = effect()
                if op == "list_objects" and torn == 1:
                    torn = 2
                    shown = [each for each in answer.objects if not each.key.endswith("/000000000002.json")]
                    return dataclasses.replace(answer, objects=shown)
                return answer

        session = await world.session(TWO, object_key=KEY, precondition=ANY)
        assert (await world.replica(faults=Troubled()).commit(session)).generation == 2
        assert torn == 2
        assert [claim.generation for claim in world.claims(KEY) if claim.session_id == session.id] == [2]
        state = await world.replica().key(KEY)
        assert (state.generation, at_key(world)) == (3, THREE)

    run(main())


def test_i16_a_claimant_on_a_busy_key_reads_no_claim_again_after_each_race_that_it_loses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No livelock: beyond what is remembered (here 2 claims) each attempt would read all of an hour's claims anew, and
    lose the next race meanwhile."""
    monkeypatch.setattr("assembly_service.claiming._OWNERS_KEPT", 2)

    class Races:
        """Somebody else takes the number, five times."""

        def __init__(self, world: World) -> None:
            self.world, self.left = world, 5

        async def around(self, op: str, key: str, effect: Callable[[], Any]) -> Any:
            if op == "put" and "/claims/" in key and self.left:
                self.left -= 1
                await held(self.world, content_of(100 + self.left), ANY)
            return effect()

    async def main() -> None:
        world = World()
        for seed in range(12):
            await held(world, content_of(50 + seed), ANY)
        races = Races(world)
        replica = world.replica(faults=races)
        session = await world.session(TWO, object_key=KEY, precondition=ANY)
        assert (await replica.commit(session)).generation == 12 + 5 + 1
        reads = [call for call in replica.store.calls if call.op == "get" and "/claims/" in call.key]
        assert races.left == 0
        assert len(reads) <= 12 + 5 + 6  # each once for whose it is, and the holder of each attempt

    run(main())


def test_i16_a_claimant_that_stalls_for_a_week_before_its_claim_finds_its_number_taken() -> None:
    """⚠ Claims are never deleted: the number that it read as free was used, replaced and purged since."""

    async def main() -> None:
        world = World()
        awake = asyncio.Event()
        session = await world.session(ONE, object_key=KEY, ttl=30 * 24 * 3600)
        stalled = asyncio.ensure_future(
            world.replica(faults=Fault("put", "000000000001.json", stalls(awake))).commit(session, seconds=1e7)
        )
        await wait(1)
        await held(world, TWO)
        await held(world, THREE, Precondition(1))
        await wait(7 * 24 * 3600)
        await world.replica().sweep_all()
        awake.set()
        with pytest.raises(GenerationMismatch) as refused:
            await stalled
        assert refused.value.holder is not None
        assert refused.value.holder.generation == 2
        assert at_key(world) == THREE

    run(main())


def test_i16_a_committer_that_stalls_before_cmu_can_not_bring_an_old_generation_back() -> None:
    """I16, R5: its upload is gone since it was rolled forward, so its CMU does nothing; its answer is its own."""

    async def main() -> None:
        world = World()
        awake = asyncio.Event()
        session = await world.session(ONE, object_key=KEY)
        fault = Fault("complete_multipart", KEY, stalls(awake))
        stalled = asyncio.ensure_future(world.replica(faults=fault).commit(session, seconds=1e6))
        await wait(1)
        assert fault.fired == 1
        await held(world, TWO, ANY)
        awake.set()
        answer = await stalled
        assert (answer.generation, answer.blake3) == (1, session.parameters.blake3)
        assert at_key(world) == TWO

    run(main())


def test_i8_a_refusal_is_only_given_while_nobody_has_claimed_since() -> None:
    """⚠ Before a negative answer: what seemed vacant, void or foreign was a generation that another has replaced."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY, precondition=Precondition(7))

        async def others() -> None:
            await held(world, TWO)

        replica = world.replica(faults=Fault("head", KEY, first(others)))
        with pytest.raises(GenerationMismatch) as refused:
            await replica.commit(session)
        assert refused.value.holder is not None  # as it was at one moment: not foreign, not vacant
        assert (refused.value.holder.foreign, refused.value.holder.generation) == (False, 1)

    run(main())


def test_i8_before_a_refusal_the_session_s_own_decision_is_read_again() -> None:
    """⚠ Section 3: the key is another's, and this session was aborted meanwhile: that is the answer."""

    async def main() -> None:
        world = World()
        await held(world)
        session = await world.session(TWO, object_key=KEY)

        async def abort() -> None:
            await world.replica().abort(session)

        with pytest.raises(SessionAborted):
            await world.replica(faults=Fault("list_objects", "", first(abort))).commit(session)

    run(main())


@pytest.mark.parametrize("wanted", [VACANT, ANY], ids=["vacant", "any"])
def test_i6_i16_own_claim_a_commit_that_another_call_finished_and_a_third_replaced(wanted: Precondition) -> None:
    """⚠ Step 1, I6: the holder is this very session's successor; a second claim would replace it and wedge the key."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY, precondition=wanted)

        async def finish() -> None:
            await world.replica().commit(session)
            await held(world, TWO, Precondition(1))
            await world.claim(await world.session(THREE, object_key=KEY, precondition=ANY), 3)

        replica = world.replica(faults=Fault("list_objects", "", first(finish)))
        assert (await replica.commit(session)).generation == 1
        assert [claim.generation for claim in world.claims(KEY) if claim.session_id == session.id] == [1]
        assert at_key(world) == TWO

    run(main())


# --- names (docs/adr/0007) ---


@pytest.mark.parametrize(("taken", "refused"), [("a/b", "a"), ("a/b", "a/b/c"), ("a", "a/b/c/d"), ("a/b/c", "a")])
def test_a_name_is_a_key_or_a_folder_and_never_both(taken: str, refused: str) -> None:
    """⚠ SeaweedFS loses p beside p/q, or can't ever complete it; so the second is refused before it claims anything."""

    async def main() -> None:
        world = World()
        await held(world, key=taken)
        session = await world.session(TWO, object_key=refused, precondition=ANY)
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(InvalidObjectKey):
                await ask(session)
        with pytest.raises(InvalidObjectKey):
            await world.replica().key(refused)
        assert world.claims(refused) == []
        assert await world.replica().outcome(session) == (SessionState.OPEN, None)
        assert at_key(world, taken) == ONE

    run(main())


def test_keys_side_by_side_in_one_folder_do_not_disturb_each_other() -> None:
    async def main() -> None:
        world = World()
        for number, key in enumerate(["f/a", "f/b", "f/g/h", "fa", "f/a.x"]):
            await held(world, content_of(100, number), key=key)
        assert at_key(world, "f/g/h") == content_of(100, 2)

    run(main())


def test_p_and_p_q_at_the_same_moment_have_one_winner() -> None:
    """⚠ Two records that can't both be created decide it, wherever the two commits meet."""

    async def main() -> None:
        for seed in range(20):
            world = World(seed=seed)
            sessions = [await world.session(ONE, object_key=key) for key in ("p", "p/q")]
            replicas = [world.replica() for _ in sessions]
            if seed % 2:
                sessions.reverse()
            answers = await asyncio.gather(
                *(replica.commit(session) for replica, session in zip(replicas, sessions, strict=True)),
                return_exceptions=True,
            )
            assert sorted(type(answer).__name__ for answer in answers) == ["CommittedObject", "InvalidObjectKey"]

    run(main())


# --- tombstones: what a delete at a chosen key leaves (section 7) ---


async def tombstone(world: World, target: int, *, done: bool = True) -> Session:
    """What a finished delete of generation ``target`` leaves; its object is gone."""
    session = await world.open_session(b"", object_key=KEY, precondition=Precondition(target))
    record = dataclasses.replace(session.record, tombstone=target)
    await world.plain.put(keys.record(TENANT, session.id, keys.SESSION), record.encode(), timeout=30)
    session.record = record
    found = await world.replica().assembly.records.session(TENANT, session.id, Deadline.after(30))
    assert found is not None
    proposal = Decision(session.id, Outcome.COMMIT, tombstone=True)
    claimant = world.replica().assembly.claimant
    decision = await claimant.decision(TENANT, found, proposal, Deadline.after(30))
    assert decision.tombstone
    await world.put_record(session, keys.DECISION, decision.encode())
    if done:
        await world.plain.delete(record.key, timeout=30)
        stored = await world.replica().assembly.records.decision(TENANT, session.id, Deadline.after(30))
        assert stored is not None
        answer = DoneRecord(session.id, "", 0, bytes(32), stored.last_modified, decision.generation, tombstone=True)
        await world.put_record(session, keys.DONE, answer.encode())
    return session


def test_a_done_tombstone_means_vacant_and_the_key_cools_for_an_hour() -> None:
    """⚠ R6: a stalled DELETE could hit the next generation's object until the store refuses its signature."""

    async def main() -> None:
        world = World()
        await held(world)
        buried = await tombstone(world, 1)
        state = await world.replica().key(KEY)
        assert (state.holder, state.generation) == (None, 0)
        assert state.cooling_until is not None
        session = await world.session(TWO, object_key=KEY)
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(KeyCooling) as refused:
                await ask(session)
            assert 3590 <= refused.value.retry_after <= 3600
        with pytest.raises(GenerationMismatch):
            await world.replica().commit(await world.session(TWO, object_key=KEY, precondition=Precondition(1)))
        for skew in (timedelta(days=1), timedelta(days=-1)):  # I15: the store's clock alone
            with pytest.raises(KeyCooling):
                await world.replica(skew=skew).commit(session)
        await wait(COOLING.total_seconds() + 1)
        assert (await world.replica().key(KEY)).cooling_until is None
        assert (await world.replica().commit(session)).generation == 3
        whole(world, session, 3)
        assert [claim.session_id for claim in world.claims(KEY)][1] == buried.id

    run(main())


def test_an_object_that_is_back_behind_its_tombstone_is_foreign_to_who_asks_for_the_key() -> None:
    """Somebody restored a backup, say: an answer, and not "unknown, repeat" for ever because the tokens are equal."""

    async def main() -> None:
        world = World()
        session = await held(world)
        upload = await world.start_upload(session)
        digest = hashlib.sha256(b"x").digest()
        etag = await world.plain.upload_part(session.record.key, upload, 1, b"x", sha256=digest, timeout=30)
        await tombstone(world, 1)
        await world.plain.complete_multipart(session.record.key, upload, [port.Part(1, etag, digest)], timeout=30)
        state = await world.replica().key(KEY)
        assert state.holder is not None
        assert (state.holder.foreign, state.holder.size, state.generation) == (True, 1, 0)

    run(main())


def test_a_tombstone_session_is_nobody_s_but_the_delete_s() -> None:
    """Section 7: no caller made it, so no caller finds it."""

    async def main() -> None:
        world = World()
        await held(world)
        buried = await tombstone(world, 1)
        replica = world.replica()
        for ask in (replica.commit, replica.verify, replica.abort, replica.outcome):
            with pytest.raises(SessionNotFound):
                await ask(buried)

    run(main())


def test_a_tombstone_claims_only_the_generation_that_it_targets() -> None:
    async def main() -> None:
        world = World()
        await held(world)
        await held(world, TWO, ANY)
        with pytest.raises(GenerationMismatch) as refused:
            await tombstone(world, 1)
        assert refused.value.holder is not None
        assert refused.value.holder.generation == 2

    run(main())


class Bug(Exception):
    """Neither the store's error nor the domain's."""


def test_i10_w6_a_session_that_a_bug_keeps_from_being_read_spares_the_uploads_of_its_tenant() -> None:
    """⚠ I5, I10: the pass goes on behind a bug (or want of memory), and must not take the unread session for none."""

    async def main() -> None:
        def breaks(effect: Callable[[], Any]) -> Any:
            raise Bug

        world = World()
        session = await world.session(TWO, object_key=KEY, ttl=30 * 24 * 3600)
        await wait(2 * 3600)
        fault = Fault("get", f"{session.id}/{keys.MULTIPART}", breaks, times=10**6)
        replica = world.replica(faults=fault)
        await replica.sweep_all(full=True)
        assert {facts["kind"] for _, facts in replica.events.alarms} == {"Bug"}
        assert (await world.replica().commit(session)).generation == 1
        whole(world, session, 1)

    run(main())


# --- what a replaced generation answers ---


def test_a_replaced_generation_keeps_its_answer_and_its_object_can_not_be_proved_any_more() -> None:
    """I6: GetCommit and a repeated commit say what was; VerifyObject names the holder instead of crying corruption."""

    async def main() -> None:
        world = World()
        old = await held(world)
        answer = await world.replica().commit(old)
        new = await held(world, TWO, ANY)
        assert await world.replica().outcome(old) == (SessionState.COMMITTED, answer)
        assert await world.replica().commit(old) == answer
        replica = world.replica()
        with pytest.raises(GenerationMismatch) as refused:
            await proved(replica, old)
        assert refused.value.holder is not None
        assert refused.value.holder.session_id == new.id
        assert replica.events.alarms == []
        assert await proved(replica, new) == new.parameters.blake3

    run(main())


def test_an_object_can_be_proved_while_a_later_generation_is_decided_and_not_there_yet() -> None:
    """It may wait for its client to mend a chunk, for as long as ttl and grace."""

    async def main() -> None:
        world = World()
        old = await world.session(ONE, object_key=KEY)
        replica = world.replica()
        await replica.commit(old)
        new = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.put_record(new, keys.DECISION, (await world.claim(new, 2)).encode())
        assert await proved(replica, old) == old.parameters.blake3

    run(main())


def test_an_object_that_is_replaced_while_it_is_proved_is_no_corruption() -> None:
    async def main() -> None:
        world = World()
        old = await held(world)

        async def replace() -> None:
            await held(world, TWO, ANY)

        replica = world.replica(faults=Fault("read", KEY, first(replace)))
        with pytest.raises(GenerationMismatch):
            await proved(replica, old)
        assert replica.events.alarms == []

    run(main())


async def proved(replica: Replica, session: Session) -> bytes | None:
    last = None
    async for progress in replica.assembly.object_verifier.verify(TENANT, session.id, Deadline.after(60)):
        last = progress.blake3
    return last


def test_a_holder_that_waits_for_its_client_to_mend_a_chunk_is_not_the_claimant_s_to_mend() -> None:
    """Section 8: nothing to wait out but the give-up rule, and that is said as "repeat", never as CHUNK_NEEDED."""

    async def main() -> None:
        world = World(AWS)
        torn = await world.session(ONE, object_key=KEY)
        await world.store_part(torn, 0, b"x" * 1024)  # a late writer's
        await world.put_record(torn, keys.DECISION, (await world.claim(torn, 1)).encode())
        session = await world.session(TWO, object_key=KEY, precondition=ANY, ttl=30 * 24 * 3600)
        with pytest.raises(OutcomeUnknown, match="mend"):
            await world.replica().commit(session)
        await wait(EXPIRED_AFTER)
        assert (await world.replica().commit(session)).generation == 2
        assert isinstance(world.done(torn), LostRecord)
        whole(world, session, 2)

    run(main())


# --- forged records: fail closed (section 11) ---


@pytest.mark.parametrize("forged", [b"{}", b"not json", NameRecord(KEY, Nature.OBJECT).encode()])
def test_a_forged_claim_stops_its_key_and_no_other(forged: bytes) -> None:
    async def main() -> None:
        world = World()
        await world.plain.put(keys.claim(TENANT, KEY, 1), forged, timeout=30)
        session = await world.session(ONE, object_key=KEY)
        with pytest.raises(InternalError):
            await world.replica().commit(session)
        assert at_key(world) is None
        await held(world, key="reports/2026/december.bin")

    run(main())


def test_a_claim_of_a_session_that_names_another_key_is_believed_by_nobody() -> None:
    """I12: a claim can't make a session's object appear at a key that its session.json does not name."""

    async def main() -> None:
        world = World()
        victim = await world.session(ONE, object_key="other")
        body = (await world.claim(victim, 1)).values()
        assert body["generation"] == 1
        forged = world.claims("other")[0].encode().replace(b'"other"', b'"' + KEY.encode() + b'"')
        await world.plain.put(keys.claim(TENANT, KEY, 1), forged, timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(await world.session(TWO, object_key=KEY))
        assert world.decision(victim) is None

    run(main())


@pytest.mark.parametrize("chosen", [False, True])
def test_a_decision_whose_generation_does_not_fit_its_key_is_believed_by_nobody(*, chosen: bool) -> None:
    """⚠ Section 8: a chosen key is only ever completed as a generation, and a key of its own never is one."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY if chosen else "")
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)
        forged = decision if chosen else dataclasses.replace(decision, generation=1)
        await world.put_record(session, keys.DECISION, forged.encode())
        with pytest.raises(InternalError):
            await world.replica().commit(session)
        await world.replica().sweep_all()
        assert world.object(session) is None

    run(main())


@pytest.mark.parametrize("chosen", [False, True])
def test_a_done_record_whose_generation_does_not_fit_its_key_is_believed_by_nobody(*, chosen: bool) -> None:
    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY if chosen else "")
        await world.replica().commit(session)
        done = world.done(session)
        assert isinstance(done, DoneRecord)
        forged = dataclasses.replace(done, generation=0 if chosen else 1)
        await world.plain.put(keys.record(TENANT, session.id, keys.DONE), forged.encode(), timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session)

    run(main())


def test_own_keys_have_no_generation() -> None:
    """Generation 0, and no claim is written."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE)
        answer = await world.replica().commit(session)
        assert isinstance(answer, CommittedObject)
        assert answer.generation == 0
        assert world.bucket.keys(keys.all_claims_prefix(TENANT)) == []

    run(main())
