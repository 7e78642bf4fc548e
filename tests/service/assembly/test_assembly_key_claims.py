"""Claims at a chosen key: whose one is, who is helped first, which hold nothing (protocol.md section 8, steps 1-3)."""

from __future__ import annotations

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, IMPATIENT, OUTCOME_AFTER, Session, World
from chosen_key import KEY, ONE, THREE, TWO, at_key, held, whole

from sealane.domain.claims import ANY, Precondition
from sealane.domain.errors import (
    CoverageIncomplete,
    GenerationMismatch,
    SessionAborted,
    SessionLost,
)
from sealane.domain.records import DoneRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys

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


def test_verify_tells_what_a_commit_would_holes_before_the_key() -> None:
    """Section 5: a session that is not whole makes no claim, so nothing is said of whose the key is."""

    async def main() -> None:
        world = World()
        await held(world)
        session = await world.session(TWO, object_key=KEY, without=[1])
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(CoverageIncomplete):
                await ask(session)

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
    if world.decision(session) is None:
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


async def swept_away(world: World, void: Session) -> None:
    """By its end, after the outcome's retention."""
    await wait(2)
    await world.replica(retention=IMPATIENT).sweep(void)
    assert world.names(void) == []


def test_i16_a_claim_whose_session_is_purged_between_two_reads_is_void_and_nobody_decides_for_it() -> None:
    """⚠ Step 2: "no decision" means OPEN only while session.json is there, for a purge takes the decision last."""

    async def main() -> None:
        world = World()
        void = await world.session(ONE, object_key=KEY)
        await world.claim(void, 1)
        session = await world.session(TWO, object_key=KEY)

        async def purge() -> None:
            await world.replica().abort(void)
            await swept_away(world, void)

        replica = world.replica(faults=Fault("get", f"{void.id}/decision.json", first(purge)))
        assert (await replica.commit(session)).generation == 2
        assert world.names(void) == []

    run(main())


def test_i16_a_holder_that_is_lost_and_purged_while_it_is_helped_is_void() -> None:
    """Step 2: the helper is told NOT_FOUND of the holder's session, which says nothing of its own."""

    async def main() -> None:
        world = World()
        void = await world.session(ONE, object_key=KEY)
        await world.claim(void, 1)
        session = await world.session(TWO, object_key=KEY)

        async def purge() -> None:
            await lost(world, void)
            await swept_away(world, void)

        await world.put_record(void, keys.DECISION, world.claims(KEY)[-1].decision.encode())
        replica = world.replica(faults=Fault("complete_multipart", void.record.key, first(purge)))
        assert (await replica.commit(session)).generation == 2
        whole(world, session, 2)

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
