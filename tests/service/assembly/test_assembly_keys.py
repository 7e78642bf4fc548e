"""Chosen keys: what a commit may replace, and what it is answered (protocol.md section 8)."""

from __future__ import annotations

import dataclasses

import pytest
from assembly_time import run, wait
from assembly_world import OUTCOME_AFTER, TENANT, World
from chosen_key import KEY, ONE, THREE, TWO, at_key, held, whole

from sealane.domain.claims import ANY, VACANT, NameRecord, Nature, Precondition
from sealane.domain.decision import Decision
from sealane.domain.errors import (
    GenerationMismatch,
    InternalError,
    SessionSealed,
)
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, simulated_bucket

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


def test_i16_a_key_with_more_claims_than_a_page_shows_is_not_wedged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store shows a thousand at once, and here two; the next number is above all of them."""
    monkeypatch.setattr(simulated_bucket, "_page_limit", lambda limit: min(limit, 2))

    async def main() -> None:
        world = World()
        for number in range(1, 6):
            session = await held(world, (ONE, TWO)[number % 2], ANY)
            whole(world, session, number)
            state = await world.replica().key(KEY)
            assert state.generation == number

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


def test_a_holder_that_is_not_finished_is_shown_as_of_its_decision() -> None:
    """Which is what its commit will say (C7); the claim was written before."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        decision = await world.claim(session, 1)
        await wait(60)
        await world.put_record(session, keys.DECISION, decision.encode())
        shown = (await world.replica().key(KEY)).holder
        assert shown is not None
        assert shown.state is SessionState.COMMITTING
        answer = await world.replica().commit(session)
        assert shown.commit_time == answer.commit_time

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


def test_a_claim_whose_session_decided_another_generation_is_believed_by_nobody() -> None:
    """I16: nobody finishes as generation 1 what says of itself that it is the second."""

    async def main() -> None:
        world = World()
        torn = await world.session(ONE, object_key=KEY)
        decision = await world.claim(torn, 1)
        await world.put_record(torn, keys.DECISION, dataclasses.replace(decision, generation=2).encode())
        with pytest.raises(InternalError):
            await world.replica().commit(await world.session(TWO, object_key=KEY))
        assert at_key(world) is None

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
