"""Before any negative answer the records are asked again; no other tenant's ever (protocol.md section 5)."""

from __future__ import annotations

import dataclasses

import pytest
from assembly_faults import Fault, first
from assembly_time import run
from assembly_world import CHUNK, TENANT, Session, World, content_of
from blake3 import blake3
from commit_acts import aborts_and_purges, other

from sealane.domain.decision import CommitParameters
from sealane.domain.errors import (
    InternalError,
    PeerUnavailable,
    SealaneError,
    SessionAborted,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline


def commits_and_drops_receipts(world: World, session: Session):
    async def act() -> None:
        await world.replica().commit(session)
        for key in world.bucket.keys(keys.receipts_prefix(TENANT, session.id)):
            await world.plain.delete(key, timeout=30)

    return act


def aborts_and_drops_receipts(world: World, session: Session):
    async def act() -> None:
        await world.replica().abort(session)
        await world.replica().sweep(session)

    return act


@pytest.mark.parametrize("method", ["commit", "verify"])
@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (commits_and_drops_receipts, None),
        (aborts_and_drops_receipts, SessionAborted),
        (aborts_and_purges, SessionNotFound),
    ],
)
def test_i8_holes_that_a_purge_or_another_commit_made_are_never_answered_as_holes(method, meanwhile, expected) -> None:
    """⚠ Before any negative answer: decision.json again, present → follow it; then session.json, gone → NOT_FOUND."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.before = meanwhile(world, session)
        call = getattr(replica, method)
        if expected is None:
            answer = await call(session)
            assert (answer.replayed if method == "commit" else answer.state) in (True, SessionState.COMMITTED)
        else:
            with pytest.raises(expected):
                await call(session)

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_i8_holes_of_a_session_that_is_purged_while_it_is_asked_again_are_not_found(method) -> None:
    """⚠ Session.json last: a purge between the reads takes the decision away, and "none" would look like OPEN."""

    async def main() -> None:
        world = World()
        session = await world.session(without=[1])
        fault = Fault("get", keys.DELETED, first(aborts_and_purges(world, session)), nth=2)
        with pytest.raises(SessionNotFound):
            await getattr(world.replica(faults=fault), method)(session)
        assert fault.fired == 1

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_i8_every_kind_of_negative_answer_asks_for_the_decision_first(method) -> None:
    """⚠ Mismatch, conflict, bounds, size: all follow a decision that was made meanwhile."""

    async def main() -> None:
        world = World()
        for spoil in ("conflict", "digest", "range", "size"):
            session = await world.session()
            good = session.parameters
            replica = world.replica()
            if spoil == "conflict":
                await world.store_chunk(session, 1, content_of(CHUNK, seed=3))
                session.receipts.pop()
            elif spoil == "range":
                await world.store_chunk(session, 4, b"x")
                session.receipts.pop()
            asked = other(good) if spoil == "digest" else good
            if spoil == "size":
                asked = dataclasses.replace(good, chunk_count=9)
            fault = Fault("get", keys.DECISION, first(lambda s=session: world.decide(s)), nth=2)
            replica.store.faults = fault
            if asked == good:
                answer = await getattr(replica, method)(session, asked)
                assert method == "commit" or answer.state is SessionState.COMMITTING
            else:
                with pytest.raises(SessionSealed):
                    await getattr(replica, method)(session, asked)
            assert fault.fired == 1

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify"])
def test_ingest_away_is_no_answer_and_changes_nothing(method) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.failure = PeerUnavailable()
        with pytest.raises(PeerUnavailable):
            await getattr(replica, method)(session)
        assert world.decision(session) is None
        replica.receipts.failure = None
        await replica.commit(session)

    run(main())


def test_i8_a_session_that_ingest_does_not_know_is_not_not_found_while_session_json_is_there() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.failure = SessionNotFound()
        with pytest.raises(PeerUnavailable):
            await replica.commit(session)

    run(main())


def test_verify_writes_nothing_and_says_what_a_commit_would() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        before = world.bucket.keys()
        replica = world.replica()
        verified = await replica.verify(session)
        assert (verified.state, verified.parameters) == (SessionState.OPEN, session.parameters)
        assert world.bucket.keys() == before
        assert {call.op for call in replica.store.calls} == {"get"}
        await world.decide(session)
        assert (await replica.verify(session)).state is SessionState.COMMITTING
        await replica.commit(session)
        assert (await replica.verify(session)).state is SessionState.COMMITTED

    run(main())


def test_i12_every_key_touched_is_under_the_callers_own_tenant() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        with pytest.raises(SealaneError):
            await replica.assembly.committer.commit(
                keys.Tenant("other"), session.id, session.parameters, Deadline.after(30)
            )
        own = [call.key for call in replica.store.calls if not call.key.startswith(".sealane/other/")]
        assert all(key.startswith((f"{TENANT}/", f".sealane/{TENANT}/")) for key in own)

    run(main())


def test_i12_a_session_json_that_names_anothers_key_is_refused() -> None:
    async def main() -> None:
        world = World()
        session = await world.open_session(b"")
        forged = dataclasses.replace(session.record, key="other/by-session/" + session.id + "/data.bin")
        await world.plain.put(keys.record(TENANT, session.id, keys.SESSION), forged.encode(), timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session, CommitParameters(0, 0, blake3(b"").digest()))

    run(main())
