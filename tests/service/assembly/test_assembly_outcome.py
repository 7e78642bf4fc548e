"""GetCommit and AbortSession: every state told, and no commit undone."""

from __future__ import annotations

import dataclasses

import pytest
from assembly_faults import Fault, first, lands_late, loses_answer, refuses
from assembly_time import run
from assembly_world import World
from commit_acts import aborts_and_purges

from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    OutcomeUnknown,
    SessionAborted,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.port import OutcomeUnknown as StoreOutcomeUnknown


def test_get_commit_tells_every_state_and_never_guesses() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        assert await replica.outcome(session) == (SessionState.OPEN, None)
        await world.decide(session)
        assert await replica.outcome(session) == (SessionState.COMMITTING, None)
        answer = await replica.commit(session)
        state, committed = await replica.outcome(session)
        assert state is SessionState.COMMITTED
        assert committed == dataclasses.replace(answer, replayed=True)
        gone = await world.session()
        await replica.abort(gone)
        assert await replica.outcome(gone) == (SessionState.ABORTED, None)

    run(main())


def test_get_commit_does_not_say_open_of_a_session_purged_under_its_eyes() -> None:
    """⚠ "No decision" means OPEN only while session.json is there: a purge takes the decision last."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        fault = Fault("get", keys.DELETED, first(aborts_and_purges(world, session)))
        with pytest.raises(SessionNotFound):
            await world.replica(faults=fault).outcome(session)

    run(main())


def test_abort_is_idempotent_and_a_commit_after_it_is_refused() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        assert await world.replica().abort(session) is SessionState.ABORTED
        assert await world.replica().abort(session) is SessionState.ABORTED
        with pytest.raises(SessionAborted):
            await world.replica().commit(session)
        expired = await world.session()
        await world.put_record(expired, keys.DECISION, Decision(expired.id, Outcome.EXPIRE).encode())
        assert await world.replica().abort(expired) is SessionState.EXPIRED

    run(main())


def test_i10_abort_never_undoes_a_commit() -> None:
    async def main() -> None:
        world = World()
        committing, committed = await world.session(), await world.session()
        await world.decide(committing)
        await world.replica().commit(committed)
        for session, state in ((committing, SessionState.COMMITTING), (committed, SessionState.COMMITTED)):
            with pytest.raises(SessionSealed) as caught:
                await world.replica().abort(session)
            assert caught.value.state is state
        await world.replica().commit(committing)
        assert world.object(committing) == committing.content
        assert world.object(committed) == committed.content

    run(main())


def test_a_stalled_abort_behind_a_purge_is_not_found_and_its_decision_means_nothing() -> None:
    """⚠ session.json again after PUT decision=ABORT."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(aborts_and_purges(world, session)))
        with pytest.raises(SessionNotFound):
            await world.replica(faults=fault).abort(session)
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


@pytest.mark.parametrize("action", [loses_answer, lands_late(5), refuses(StoreOutcomeUnknown("cut"))])
def test_an_abort_of_unknown_outcome_is_settled_before_it_is_answered(action) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        assert await world.replica(faults=Fault("put", keys.DECISION, action)).abort(session) is SessionState.ABORTED
        assert world.decision(session) == Decision(session.id, Outcome.ABORT)

    run(main())


def test_an_abort_at_its_deadline_is_unknown() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, refuses(StoreOutcomeUnknown("503")), times=10**6)
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).abort(session, seconds=10)

    run(main())
