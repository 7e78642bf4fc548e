"""DeleteSession at a key that a caller chose: a tombstone takes the next generation, and the key rests for an hour.

The rules are those of docs/model.md; here the real code is held to them, with every crash and the worst of stalls in
the files beside this one.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import DIALECTS, OUTCOME_AFTER, Session, World, content_of
from chosen_deletes import KEY, ONE, TWO, at_key, held, sessions_left, taken_again
from deletes import delete, told

from sealane.domain.claims import ANY, COOLING, Precondition
from sealane.domain.errors import (
    KeyCooling,
    SessionNotFound,
)
from sealane.domain.ids import SessionId
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys


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


def test_c7_two_who_finish_one_tombstone_write_the_same_done_json() -> None:
    """At different moments, by different clocks: all of it is the decision's."""

    async def main() -> None:
        world = World()
        session = await held(world)

        async def finish() -> None:
            await wait(5)
            await world.replica(skew=timedelta(minutes=3)).sweep_all(full=False)

        replica = world.replica(faults=Fault("put", keys.DONE, first(finish)))
        assert (await delete(replica, session)).state is SessionState.DELETED
        assert at_key(world) is None

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
