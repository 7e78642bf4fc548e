"""Tombstones: what a delete at a chosen key leaves, to whoever comes next (protocol.md section 7)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from assembly_faults import Fault
from assembly_time import run, wait
from assembly_world import TENANT, Session, World
from chosen_key import KEY, TWO, at_key, held, whole
from deletes import delete

from sealane.domain.claims import ANY, COOLING, Precondition
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    GenerationMismatch,
    KeyCooling,
    SessionNotFound,
)
from sealane.domain.records import DoneRecord
from sealane.domain.states import SessionState
from sealane.store import keys, port
from sealane.store.deadline import Deadline


async def tombstone(world: World, target: int, *, done: bool = True, token: str = "") -> Session:
    """What a finished delete of generation ``target`` leaves; its object is gone. ``token``: the target's."""
    session = await world.open_session(b"", object_key=KEY, precondition=Precondition(target))
    record = dataclasses.replace(session.record, tombstone=target, token=token or session.record.token)
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


def test_a_deletion_that_is_decided_and_not_finished_leaves_the_key_to_its_target() -> None:
    """I8: "vacant" while the object is there would tell who removes by key that nothing is left to remove."""

    async def main() -> None:
        world = World()
        session = await held(world)
        await tombstone(world, 1, done=False, token=session.record.token)
        state = await world.replica().key(KEY)
        assert state.holder is not None
        assert (state.generation, state.holder.session_id, state.cooling_until) == (1, session.id, None)
        assert (state.holder.state, state.holder.foreign) == (SessionState.DELETED, False)
        assert (await delete(world.replica(), session)).state is SessionState.DELETED
        assert at_key(world) is None
        assert (await world.replica().key(KEY)).holder is None

    run(main())


def test_the_key_cools_from_when_the_deletion_was_done_however_long_ago_it_was_claimed() -> None:
    """⚠ R6: whoever finishes a tombstone hours later sends a DELETE of that hour, and another may still be at it."""

    async def main() -> None:
        world = World()
        target = await held(world)
        await tombstone(world, 1, done=False, token=target.record.token)
        await wait(2 * COOLING.total_seconds())
        session = await world.session(TWO, object_key=KEY)
        with pytest.raises(KeyCooling) as refused:  # it has helped first
            await world.replica().commit(session)
        assert 3590 <= refused.value.retry_after <= 3600
        assert (await world.replica().key(KEY)).cooling_until is not None
        await wait(COOLING.total_seconds() + 1)
        assert (await world.replica().commit(session)).generation == 3

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
