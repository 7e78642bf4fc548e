"""Claims at a chosen key whose answer is lost, or that land late, beside others (protocol.md section 8)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import assembly_world
import pytest
from assembly_faults import Fault, first, lands_late, loses_answer, refuses, stalls
from assembly_time import run, wait
from assembly_world import World, content_of
from chosen_key import KEY, ONE, THREE, TWO, at_key, held, whole

from sealane.domain.claims import ANY, VACANT, Precondition
from sealane.domain.errors import (
    GenerationMismatch,
    SessionAborted,
)
from sealane.domain.ids import Tenant
from sealane.store import port


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


def test_i16_own_claim_is_not_taken_for_that_of_another_tenant_at_a_key_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """⚠ Step 1: what a replica remembers of one tenant's claims says nothing of another's."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY, precondition=ANY)
        replica = world.replica()
        with monkeypatch.context() as as_another:
            as_another.setattr(assembly_world, "TENANT", Tenant("globex"))
            await world.replica().commit(await world.session(THREE, object_key=KEY))
            await replica.commit(await world.session(TWO, object_key=KEY, precondition=ANY))  # reads claim 1's owner

        async def finish() -> None:
            await world.replica().commit(session)
            await held(world, TWO, Precondition(1))

        replica.store.faults = Fault("list_objects", "", first(finish))
        assert (await replica.commit(session)).generation == 1
        assert [claim.session_id for claim in world.claims(KEY)].count(session.id) == 1
        assert at_key(world) == TWO

    run(main())
