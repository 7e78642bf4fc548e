"""Generations of a chosen key that were replaced: what they answer, and what of them can still be proved."""

from __future__ import annotations

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Replica, Session, World
from chosen_key import KEY, ONE, TWO, held, whole

from sealane.domain.claims import ANY
from sealane.domain.errors import (
    GenerationMismatch,
    OutcomeUnknown,
)
from sealane.domain.records import LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS


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


def test_w7_a_replaced_generation_answers_for_as_long_as_any_other_outcome_since_it_was_replaced() -> None:
    """However old it was: a caller who lost the answer to its commit may have been retrying beside the replacement."""

    async def main() -> None:
        world = World()
        old = await held(world)
        await wait(2 * OUTCOME_AFTER)
        await held(world, TWO, ANY)
        await world.replica().sweep_all()
        assert (await world.replica().outcome(old))[0] is SessionState.COMMITTED
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert world.names(old) == []

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


def test_i16_a_claim_that_is_decided_and_done_while_its_key_is_asked_for_is_not_taken_for_somebody_elses() -> None:
    """GetKey: the object that came between is the newest claim's, which was undecided when the log was read."""

    async def main() -> None:
        world = World()
        await held(world)
        newer = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.claim(newer, 2)

        async def commit() -> None:
            assert (await world.replica().commit(newer)).generation == 2

        replica = world.replica(faults=Fault("head", newer.record.key, first(commit)))
        state = await replica.key(KEY)
        assert state.holder is not None
        assert (state.holder.session_id, state.holder.foreign, state.generation) == (newer.id, False, 2)

    run(main())
