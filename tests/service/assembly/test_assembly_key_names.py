"""A name is a key or a folder, for ever (docs/adr/0007)."""

from __future__ import annotations

import asyncio

import pytest
from assembly_time import run, wait
from assembly_world import TENANT, World, content_of
from chosen_key import ONE, THREE, TWO, at_key, held
from deletes import delete

from sealane.domain.claims import ANY, COOLING
from sealane.domain.errors import (
    InvalidObjectKey,
)
from sealane.domain.states import SessionState


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


@pytest.mark.parametrize("deleted", [False, True])
def test_objects_of_others_below_a_vacant_key_are_told_before_anything_is_decided(*, deleted: bool) -> None:
    """⚠ I3, I16: SeaweedFS completes nothing at p while p/q is there: a commit decided there would wedge its key."""

    async def main() -> None:
        world = World()
        if deleted:
            await delete(world.replica(), await held(world, key="p"))
            await wait(COOLING.total_seconds() + 1)
        await world.plain.put(f"{TENANT}/p/q", b"somebody's", timeout=30)
        session = await world.session(TWO, object_key="p", precondition=ANY)
        for ask in (world.replica().commit, world.replica().verify):
            with pytest.raises(InvalidObjectKey, match="did not write"):
                await ask(session)
        if not deleted:
            with pytest.raises(InvalidObjectKey, match="did not write"):
                await world.replica().key("p")
            await held(world, THREE, key="p/r")  # no name was taken: the folder may still be one
            return
        await world.plain.delete(f"{TENANT}/p/q", timeout=30)
        await world.replica().commit(session)
        assert at_key(world, "p") == TWO

    run(main())
