"""Sessions that the sweeper expires, purges or rolls forward: W1–W4 of protocol.md section 7."""

from __future__ import annotations

from datetime import timedelta

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, TENANT, World, content_of, ops

from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import ChunkNeeded, SessionAborted, SessionExpired, SessionNotFound
from sealane.domain.records import DoneRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys, port

# --- W1 ---


def test_w1_an_open_session_is_expired_when_it_is_older_than_ttl_and_grace_and_not_before() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await wait(EXPIRED_AFTER - 10)
        await world.replica().sweep_all()
        assert world.decision(session) is None
        await wait(12)
        await world.replica().sweep_all()
        assert world.decision(session) == Decision(session.id, Outcome.EXPIRE)
        assert world.bucket.open_uploads() == []
        assert world.names(session) == [keys.DECISION, keys.MULTIPART, keys.SESSION]
        with pytest.raises(SessionExpired):
            await world.replica().commit(session)
        assert await world.replica().outcome(session) == (SessionState.EXPIRED, None)

    run(main())


def test_w1_a_commit_that_came_first_is_obeyed_and_rolled_forward() -> None:
    """W1: lost → obey the winner."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await wait(EXPIRED_AFTER)
        fault = Fault("put", keys.DECISION, first(lambda: world.decide(session)))
        replica = world.replica(faults=fault)
        await replica.sweep_all()
        assert world.object(session) == session.content
        assert isinstance(world.done(session), DoneRecord)
        assert replica.events.alarms == []

    run(main())


@pytest.mark.parametrize("days", [-1, 1])
def test_i15_a_sweeper_whose_clock_is_a_day_off_expires_and_purges_nothing_early_or_late(days) -> None:
    """I15: only the store's clock counts."""

    async def main() -> None:
        world = World()
        session = await world.session()
        skew = timedelta(days=days)
        await wait(EXPIRED_AFTER - 10)
        await world.replica(skew=skew).sweep_all()
        assert world.decision(session) is None
        await wait(12)
        await world.replica(skew=skew).sweep_all()
        assert world.decision(session) is not None
        await wait(OUTCOME_AFTER - 10)
        await world.replica(skew=skew).sweep_all()
        assert keys.SESSION in world.names(session)
        await wait(12)
        await world.replica(skew=skew).sweep_all()
        assert world.leftovers(session) == []

    run(main())


# --- W2, W3 ---


@DIALECTS
def test_w2_i9_an_aborted_session_leaves_nothing_behind(dialect) -> None:
    """I9: parts and receipts at once, the answer for as long as it may be asked for, then everything."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.replica().abort(session)
        await world.replica().sweep_all(full=False)
        assert world.bucket.open_uploads() == []
        assert world.names(session) == [keys.DECISION, keys.MULTIPART, keys.SESSION]
        await wait(OUTCOME_AFTER - 60)
        await world.replica().sweep_all(full=False)
        with pytest.raises(SessionAborted):
            await world.replica().commit(session)
        await wait(62)
        await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []
        with pytest.raises(SessionNotFound):
            await world.replica().outcome(session)

    run(main())


def test_w2_the_order_of_the_purge_is_upload_receipts_multipart_session_done_and_w3_the_decision_last() -> None:
    """⚠ Each step confirmed before the next; I11: the decision last."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await world.put_record(session, keys.DONE, LostRecord(session.id, "test").encode())
        await wait(OUTCOME_AFTER)
        replica = world.replica()
        await replica.sweep(session)
        assert world.leftovers(session) == []
        steps = [(call.op, call.key.rsplit("/", 1)[-1]) for call in replica.store.calls]
        removals = [step for step in steps if step[0] in ("abort_multipart", "delete")]
        names = [name if not name[0].isdigit() else "receipt" for _, name in removals]
        order = [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]
        assert order == ["data.bin", "receipt", keys.MULTIPART, keys.SESSION, keys.DONE, keys.DECISION]
        for name in (keys.MULTIPART, keys.SESSION, keys.DONE, keys.DECISION):  # confirmed: HEAD says 404
            assert steps[steps.index(("delete", name)) + 1] == ("head", name)
        assert steps[steps.index(("abort_multipart", "data.bin")) + 1] == ("list_parts", "data.bin")

    run(main())


@pytest.mark.parametrize("name", [keys.MULTIPART, keys.SESSION, keys.DECISION])
def test_w2_a_delete_that_did_nothing_is_repeated_before_the_next_step(name) -> None:
    """⚠ "DELETE: anything → confirm (HEAD 404) before the next step; repeat"."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        fault = Fault("delete", name, lambda effect: None, times=3)
        replica = world.replica(faults=fault)
        await replica.sweep(session)
        assert fault.fired == 3
        assert world.leftovers(session) == []

    run(main())


def test_w2_a_purge_that_can_not_confirm_a_step_takes_no_further_one() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        fault = Fault("delete", keys.MULTIPART, lambda effect: None, times=10**6)
        with pytest.raises(port.OutcomeUnknown):
            await world.replica(faults=fault).sweep(session)
        assert keys.SESSION in world.names(session)
        assert keys.DECISION in world.names(session)

    run(main())


def test_w2_a_receipt_and_a_part_that_come_late_are_purged_too() -> None:
    """A stalled ingest wakes behind the abort: the next passes take what it left."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        replica = world.replica()
        await replica.sweep_all(full=False)
        await world.plain.put(keys.receipt(TENANT, session.id, session.receipts[0]), b"", timeout=30)
        await replica.sweep_all(full=False)
        assert not [name for name in world.names(session) if name.startswith("receipts/")]

    run(main())


def test_w2_a_session_aborted_before_its_first_chunk_whose_upload_comes_late_leaves_nothing() -> None:
    """A stalled ingest makes the upload and multipart.json behind the abort."""

    async def main() -> None:
        world = World()
        session = await world.open_session(content_of(CHUNK))
        await world.replica().abort(session)
        replica = world.replica()
        await replica.sweep_all(full=False)
        await world.store_chunk(session, 0)
        await replica.sweep_all(full=False)
        assert world.bucket.open_uploads() == []
        await wait(OUTCOME_AFTER)
        await replica.sweep_all(full=False)
        assert world.leftovers(session) == []

    run(main())


def test_w3_the_decision_of_a_session_that_is_gone_goes_at_once() -> None:
    """W3, for a stalled abort that wrote its decision behind the purge."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        await world.put_record(session, keys.DECISION, Decision(session.id, Outcome.ABORT).encode())
        await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []

    run(main())


def test_w2_a_lost_session_is_purged_once_its_done_json_is_old_enough() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await wait(OUTCOME_AFTER)  # the decision is old, done.json is not
        world.bucket.lose_upload(session.upload_id)
        await world.replica().sweep_all()
        assert isinstance(world.done(session), LostRecord)
        await world.replica().sweep_all()
        assert await world.replica().outcome(session) == (SessionState.LOST, None)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        assert world.leftovers(session) == []

    run(main())


# --- W4 ---


@DIALECTS
@pytest.mark.parametrize("late", [0, EXPIRED_AFTER + OUTCOME_AFTER])
def test_w4_i3_a_commit_without_done_json_is_rolled_forward_however_old(dialect, late) -> None:
    """W4: never abort, never expire (I10)."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        await wait(late)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert world.object(session) == session.content
        answer = await world.replica().commit(session)
        assert answer.replayed
        assert not {"abort_multipart", "delete"} & set(ops(replica))

    run(main())


def test_w4_a_commit_that_waits_for_a_chunk_is_left_to_its_client() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        world.bucket._uploads[session.upload_id].rows[1].clear()
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert replica.events.alarms == []
        with pytest.raises(ChunkNeeded):
            await world.replica().commit(session)

    run(main())
