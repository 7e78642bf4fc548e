"""The decision is the commit's outcome, whoever wrote it: C5–C8 of protocol.md section 5."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from assembly_faults import Fault, first, lands_late, loses_answer, refuses
from assembly_time import run
from assembly_world import World
from commit_acts import aborts_and_purges, other

from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    InternalError,
    OutcomeUnknown,
    SessionAborted,
    SessionExpired,
    SessionNotFound,
    SessionSealed,
)
from sealane.store import keys
from sealane.store.port import OutcomeUnknown as StoreOutcomeUnknown
from sealane.store.port import WriteConflict


def test_i1_the_decision_that_stands_is_obeyed_if_it_is_of_the_same_parameters() -> None:
    """Section 6, PUT decision, 412 and ours: on, with the part list that stands."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(lambda: world.decide(session)))
        await world.replica(faults=fault).commit(session)
        assert world.object(session) == session.content

    run(main())


@pytest.mark.parametrize(
    ("rival", "error"),
    [
        (Decision("", Outcome.ABORT), SessionAborted),
        (Decision("", Outcome.EXPIRE), SessionExpired),
    ],
    ids=["abort", "expire"],
)
def test_i1_i2_another_decision_that_came_first_is_obeyed(rival, error) -> None:
    """Section 6, PUT decision, 412 and not ours: obey it; no object appears (I2)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        body = dataclasses.replace(rival, session_id=session.id).encode()
        fault = Fault("put", keys.DECISION, first(lambda: world.put_record(session, keys.DECISION, body)))
        with pytest.raises(error):
            await world.replica(faults=fault).commit(session)
        assert world.object(session) is None
        assert world.bucket.open_uploads() != []  # nothing was touched: purging is the sweeper's

    run(main())


def test_another_commit_that_came_first_seals_this_one_out() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        rival = Decision.commit(session.id, other(session.parameters), session.upload_id, session.receipts)
        fault = Fault("put", keys.DECISION, first(lambda: world.put_record(session, keys.DECISION, rival.encode())))
        with pytest.raises(SessionSealed):
            await world.replica(faults=fault).commit(session)

    run(main())


@pytest.mark.parametrize(
    "action",
    [loses_answer, lands_late(0.01), lands_late(20), refuses(StoreOutcomeUnknown("cut")), refuses(WriteConflict())],
    ids=["answer lost", "lands soon", "lands late", "never arrived", "409"],
)
def test_a_decision_of_unknown_outcome_is_read_and_put_again(action) -> None:
    """Section 6, PUT decision: unknown → GET, present → as 412; 404 is not final: the same PUT again; 409 → again."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica(faults=Fault("put", keys.DECISION, action)).commit(session)
        assert world.object(session) == session.content

    run(main())


def test_at_the_deadline_the_outcome_is_unknown_and_never_a_failure() -> None:
    """Section 6: "outcome unknown, repeat the same request"; and the repeat succeeds (I14: it ends by its deadline)."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, refuses(StoreOutcomeUnknown("503")), times=10**6)
        started = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).commit(session, seconds=20)
        assert asyncio.get_running_loop().time() - started <= 20
        assert world.object(session) is None
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


@pytest.mark.parametrize("method", ["commit", "abort"])
def test_behind_the_decision_a_store_that_can_not_be_read_is_an_unknown_outcome(method) -> None:
    """The decision may stand: C5's own read of session.json fails until the deadline."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("get", keys.SESSION, refuses(StoreOutcomeUnknown("503")), nth=2, times=10**6)
        with pytest.raises(OutcomeUnknown):
            await getattr(world.replica(faults=fault), method)(session, seconds=20)
        assert world.decision(session) is not None

    run(main())


@pytest.mark.parametrize("op", ["complete_multipart", "head"])
def test_i14_a_store_that_never_answers_behind_the_decision_is_an_unknown_outcome(op) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()

        async def never(effect) -> None:
            await asyncio.sleep(10**6)

        started = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=Fault(op, session.record.key, never, times=10**6)).commit(session, seconds=60)
        assert asyncio.get_running_loop().time() - started <= 60.001
        await world.replica().commit(session)

    run(main())


def test_c5_a_decision_behind_a_purge_means_nothing() -> None:
    """⚠ A decision counts only if session.json is read after it: a committer stalls before its PUT, past the purge."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("put", keys.DECISION, first(aborts_and_purges(world, session)))
        replica = world.replica(faults=fault)
        with pytest.raises(SessionNotFound):
            await replica.commit(session)
        assert world.names(session) == [keys.DECISION]
        assert "complete_multipart" not in {call.op for call in replica.store.calls}  # C5: touch nothing
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


def test_a_forged_or_future_decision_decides_nothing() -> None:
    """Section 11: unparsable records fail closed."""

    async def main() -> None:
        world = World()
        for body in (b"{}", b"not json", b'{"version":2,"kind":"decision","outcome":"COMMIT"}'):
            session = await world.session()
            await world.put_record(session, keys.DECISION, body)
            with pytest.raises(InternalError):
                await world.replica().commit(session)
            with pytest.raises(InternalError):
                await world.replica().outcome(session)
            assert world.object(session) is None

    run(main())


@pytest.mark.parametrize("days", [-1, 1])
def test_i15_a_replica_whose_clock_is_a_day_off_commits_the_same(days) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        right = await world.session()
        answer = await world.replica(skew=timedelta(days=days)).commit(session)
        twin = await world.replica().commit(right)
        assert answer.commit_time == twin.commit_time

    run(main())


@pytest.mark.parametrize("ask", ["commit", "verify", "outcome", "sweep"])
def test_a_finished_commit_is_answered_without_its_decision(ask) -> None:
    """done.json has the whole answer (C1: "done → answer from it"); a part list of 10,000 rows is not read for it."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        replica = world.replica()
        await getattr(replica, ask)(session)
        read = [call.key.rsplit("/", 1)[-1] for call in replica.store.calls if call.op == "get"]
        assert keys.DECISION not in read
        assert read[:3] == [keys.SESSION, keys.DELETED, keys.DONE]
        assert read[3:] == [keys.SESSION]  # ⚠ and session.json last

    run(main())
