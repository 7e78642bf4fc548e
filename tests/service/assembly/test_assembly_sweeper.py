"""The sweeper on the simulated store: W1–W4, W6 and W7 of protocol.md section 7."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from assembly_world import (
    CHUNK,
    EXPIRED_AFTER,
    OUTCOME_AFTER,
    RETENTION,
    TENANT,
    TTL,
    Fault,
    Replica,
    Session,
    World,
    content_of,
    first,
    refuses,
    run,
    seeded_latency,
    wait,
)

from assembly_service.patrol import Pace
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import ChunkNeeded, SealaneError, SessionAborted, SessionExpired, SessionNotFound
from sealane.domain.records import DoneRecord, LostRecord, MultipartRecord, RequestRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS, SEAWEEDFS

DIALECTS = pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])


def ops(replica: Replica) -> list[str]:
    return [call.op for call in replica.store.calls]


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


# --- W6 ---


def test_w6_records_without_session_json_go_and_the_decision_goes_last() -> None:
    """⚠ W6: ANY record without a session.json → deleted, decision last; an upload that it names → aborted."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        await world.put_record(session, "deleted.json", b"{}")
        other_upload = await world.start_upload(session)
        stray = keys.session_prefix(TENANT, session.id) + "future.json"
        await world.plain.put(stray, b"?", timeout=30)
        await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert world.names(session) == []
        assert world.bucket.open_uploads() == []
        assert other_upload
        deleted = [call.key.rsplit("/", 1)[-1] for call in replica.store.calls if call.op == "delete"]
        assert deleted[-1] == keys.DECISION
        assert world.object(session) == session.content  # ⚠ an object without records is never deleted

    run(main())


def test_w6_a_multipart_json_written_behind_the_purge_goes_with_the_upload_it_names() -> None:
    """⚠ W6: a stalled ingest made them when session.json was gone."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        upload_id = await world.start_upload(session)
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, upload_id).encode())
        await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []

    run(main())


def test_w6_an_upload_of_a_session_that_is_gone_is_aborted_by_the_full_pass() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        assert world.leftovers(session) == []

    run(main())


@DIALECTS
def test_w6_an_upload_beside_the_one_that_multipart_json_names_is_aborted(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        assert world.bucket.open_uploads() == [session.record.key]
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_w6_an_upload_is_left_alone_while_multipart_json_is_absent() -> None:
    """⚠ W6: absent proves nothing - ingest may be about to write it."""

    async def main() -> None:
        world = World()
        session = await world.open_session(content_of(CHUNK))
        session.upload_id = await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, session.upload_id).encode())
        await world.store_chunk(session, 0)
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_w6_objects_without_records_and_keys_that_are_not_ours_are_never_touched() -> None:
    """⚠ W6: an object without records is never deleted."""

    async def main() -> None:
        world = World()
        strange = [f"{TENANT}/by-session/{'0' * 32}/a.bin", "elsewhere/b.bin", ".sealane/notes.txt", "c"]
        for key in strange:
            await world.plain.put(key, b"kept", timeout=30)
        await world.plain.create_multipart("elsewhere/upload", metadata={}, timeout=30)
        await world.replica().sweep_all(full=True)
        assert world.bucket.keys() == sorted(strange)
        assert world.bucket.open_uploads() == ["elsewhere/upload"]

    run(main())


def test_request_ids_are_forgotten_after_their_retention_and_not_before() -> None:
    async def main() -> None:
        world = World()
        for number in range(3):
            key = keys.request_record(TENANT, f"request {number}")
            await world.plain.put(key, RequestRecord("0" * 32, bytes(32)).encode(), timeout=30)
            await wait(RETENTION.requests.total_seconds() / 2 + 5)
        await world.replica().sweep_all(full=False)
        assert len(world.bucket.keys(keys.requests_prefix(TENANT))) == 3
        await world.replica().sweep_all(full=True)
        assert len(world.bucket.keys(keys.requests_prefix(TENANT))) == 1

    run(main())


# --- W7 ---


def test_w7_a_committed_session_keeps_its_records_and_its_object_and_loses_its_receipts() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        answer = await world.replica().commit(session)
        await world.replica().sweep_all()
        assert [name for name in world.names(session) if name.startswith("receipts/")]
        await wait(RETENTION.receipts.total_seconds() + 2)
        await world.replica().sweep_all(full=False)
        assert [name for name in world.names(session) if name.startswith("receipts/")]
        await world.replica().sweep_all(full=True)
        await wait(400 * 86400)
        await world.replica().sweep_all(full=True)
        assert world.names(session) == [keys.DECISION, keys.DONE, keys.MULTIPART, keys.SESSION]
        assert world.object(session) == session.content
        again = await world.replica().commit(session)
        assert dataclasses.replace(again, replayed=False) == answer

    run(main())


def test_done_sessions_leave_the_frequent_pass_and_cost_one_read_in_the_full_one() -> None:
    async def main() -> None:
        world = World()
        for number in range(5):
            session = await world.session(content_of(CHUNK, number))
            await world.replica().commit(session)
        await wait(RETENTION.receipts.total_seconds() + 2)
        await world.replica().sweep_all(full=True)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert ops(replica) == ["list_objects"]
        replica = world.replica()
        await replica.sweep_all(full=True)
        assert ops(replica).count("get") == 5

    run(main())


def test_an_open_session_is_read_once_and_then_costs_a_place_in_the_list() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(ttl=TTL)
        replica = world.replica()
        await replica.sweep_all(full=False)
        before = len(replica.store.calls)
        await world.store_chunk(session, 0)
        await replica.sweep_all(full=False)
        assert [call.op for call in replica.store.calls[before:]] == ["list_objects"]
        await wait(EXPIRED_AFTER)
        await replica.sweep_all(full=False)
        assert world.decision(session) == Decision(session.id, Outcome.EXPIRE)

    run(main())


def test_a_pass_does_not_page_through_ten_thousand_receipts() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        for number in range(5000):
            receipt = dataclasses.replace(session.receipts[0], index=10 + number)
            await world.plain.put(keys.receipt(TENANT, session.id, receipt), b"", timeout=30)
        behind = await world.session()
        await wait(EXPIRED_AFTER)
        replica = world.replica(retention=dataclasses.replace(RETENTION, grace=timedelta(days=9)))
        await replica.sweep_all(full=False)
        assert ops(replica).count("list_objects") == 2
        await world.replica().sweep_all(full=False)
        assert world.decision(behind) is not None

    run(main())


# --- together ---


@DIALECTS
def test_sixteen_sweepers_at_once_do_what_one_would(dialect) -> None:
    """Section 12: 16 sweepers at once, over sessions of every kind."""

    async def main() -> None:
        world = World(dialect, seed=7)
        aborted, expired, committing, open_, committed = [await world.session() for _ in range(5)]
        await world.replica().commit(committed)
        await wait(EXPIRED_AFTER)
        young = await world.session()
        await world.replica().abort(aborted)
        await world.decide(committing)
        replicas = [world.replica(latency=seeded_latency(n)) for n in range(16)]
        for _ in range(2):
            await asyncio.gather(*(replica.sweep_all(full=n % 2 == 0) for n, replica in enumerate(replicas)))
        assert not [alarm for replica in replicas for alarm in replica.events.alarms]
        assert world.object(committing) == committing.content
        assert world.object(committed) == committed.content
        assert world.decision(young) is None
        for session in (aborted, expired, open_):
            assert world.object(session) is None
        assert world.bucket.open_uploads() == [young.record.key]
        await wait(OUTCOME_AFTER)
        await asyncio.gather(*(replica.sweep_all() for replica in replicas))
        for session in (aborted, expired, open_):
            assert world.leftovers(session) == []
        assert world.object(committing) == committing.content

    run(main())


def test_one_bad_record_never_stops_the_pass_and_raises_an_alarm() -> None:
    """W: alarm and go on; what can't be read is neither expired nor purged (fail closed)."""

    async def main() -> None:
        world = World()
        bad, future, good = [await world.session() for _ in range(3)]
        await world.put_record(bad, keys.DECISION, b"torn")
        body = (world.read(future, keys.SESSION) or b"").replace(b'"version":1', b'"version":9')
        await world.plain.put(keys.record(TENANT, future.id, keys.SESSION), body, timeout=30)
        before = world.leftovers(bad), world.leftovers(future)
        await wait(EXPIRED_AFTER)
        replica = world.replica()
        await replica.sweep_all(full=True)
        assert len(replica.events.alarms) >= 2
        assert world.decision(good) == Decision(good.id, Outcome.EXPIRE)
        assert (world.leftovers(bad), world.leftovers(future)) == before

    run(main())


def test_a_store_that_refuses_one_call_does_not_stop_the_pass() -> None:
    async def main() -> None:
        world = World()
        sessions = [await world.session() for _ in range(4)]
        await wait(EXPIRED_AFTER)
        fault = Fault("put", f"{sessions[1].id}/{keys.DECISION}", refuses(port.AccessDenied()))
        replica = world.replica(faults=fault)
        await replica.sweep_all(full=False)
        expired = [world.decision(session) is not None for session in sessions]
        assert expired == [True, False, True, True]
        assert len(replica.events.alarms) == 1

    run(main())


async def _running(replica: Replica, seconds: float) -> None:
    task = asyncio.create_task(replica.assembly.patrol.run())
    await wait(seconds)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_sweeper_runs_by_itself_and_outlives_a_store_that_is_away() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await wait(EXPIRED_AFTER)
        away = Fault("list_objects", keys.ROOT, refuses(port.AccessDenied()), times=3)
        replica = world.replica(faults=away, pace=Pace(interval=600, full_interval=6000))
        await _running(replica, 3 * OUTCOME_AFTER)
        assert away.fired == 3
        assert world.leftovers(session) == []

    run(main())


def test_sweepers_drift_apart() -> None:
    """Jittered by an injected source of chance: two replicas don't come together for ever."""

    async def main() -> None:
        world = World()
        starts: list[list[float]] = [[], []]
        loop = asyncio.get_running_loop()
        for n in range(2):

            def note(effect, n=n):
                starts[n].append(loop.time())
                return effect()

            fault = Fault("list_objects", keys.ROOT, note, times=10**6)
            await _running(world.replica(faults=fault, pace=Pace(interval=60)), 3600)
        gaps = [later - earlier for earlier, later in zip(starts[0], starts[0][1:], strict=False)]
        assert len(gaps) > 30
        assert all(29 <= gap <= 91 for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > 10

    run(main())


def test_an_aborted_session_is_purged_within_seconds_of_being_told_of() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(pace=Pace(interval=3600))
        task = asyncio.create_task(replica.assembly.patrol.run())
        await replica.abort(session)
        replica.assembly.patrol.kick(TENANT, session.id)
        await wait(5)
        assert world.bucket.open_uploads() == []
        assert world.names(session) == [keys.DECISION, keys.MULTIPART, keys.SESSION]
        task.cancel()

    run(main())


def test_kicks_beyond_the_queue_are_left_to_the_next_pass() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        for _ in range(5000):
            replica.assembly.patrol.kick(TENANT, session.id)

    run(main())


def test_nothing_is_swept_before_the_store_is_proven() -> None:
    async def main() -> None:
        world = World()
        await world.session()
        await wait(EXPIRED_AFTER)
        replica = world.replica(pace=Pace(interval=5))
        replica.assembly.patrol._may_run = lambda: False
        await _running(replica, 100)
        assert replica.store.calls == []

    run(main())


class StopAt:
    """The process stands still at its ``nth`` call for as long as ``meanwhile`` takes, deaf to its own timers."""

    def __init__(self, nth: int, meanwhile: Callable[[], Coroutine[Any, Any, None]], *, lands: bool) -> None:
        self.nth, self.meanwhile, self.lands = nth, meanwhile, lands
        self.calls = 0

    async def around(self, op: str, key: str, effect: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls != self.nth:
            return effect()
        world_goes_on = asyncio.ensure_future(self.meanwhile())
        late = False
        while not world_goes_on.done():
            try:
                await asyncio.shield(world_goes_on)
            except asyncio.CancelledError:
                late = True
        if late and not self.lands:
            raise asyncio.CancelledError
        answer = effect()
        if late:
            raise asyncio.CancelledError
        return answer


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "never lands"])
@pytest.mark.parametrize("work", ["commit", "abort", "sweep"])
@pytest.mark.parametrize("size", [0, 2500])
def test_i8_i9_a_replica_that_stalls_past_everything_and_wakes_brings_nothing_back(work, lands, size) -> None:
    """Section 12: SIGSTOP at each call in turn, past ttl + grace + outcome retention; the call lands or not."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(AWS if nth % 2 else SEAWEEDFS, seed=nth)
            session = await world.session(content_of(size))
            if work == "sweep":
                await wait(EXPIRED_AFTER)

            async def meanwhile(world: World = world) -> None:
                other = world.replica()
                await wait(EXPIRED_AFTER)
                await other.sweep_all(full=True)
                await wait(OUTCOME_AFTER)
                await other.sweep_all(full=True)
                await other.sweep_all(full=True)

            stop = StopAt(nth, meanwhile, lands=lands)
            replica = world.replica(faults=stop)
            told = await _told(getattr(replica.assembly, OWNER[work]), work, session)
            if stop.calls < nth:
                break
            await world.replica().sweep_all(full=True)
            if world.object(session) is None:
                assert world.leftovers(session) == [], (nth, told)
                assert not isinstance(told, CommittedObject)
            else:
                assert world.object(session) == session.content
                assert told not in (SessionNotFound, SessionExpired)  # I8
                assert isinstance(world.done(session), DoneRecord)
            assert replica.events.alarms == []
        assert nth > 5

    run(main())


OWNER = {"commit": "committer", "abort": "aborter", "sweep": "sweep"}


async def _told(owner: Any, work: str, session: Session) -> object:
    deadline = Deadline.after(20 * OUTCOME_AFTER)
    try:
        if work == "commit":
            return await owner.commit(TENANT, session.id, session.parameters, deadline)
        return await getattr(owner, "session" if work == "sweep" else work)(TENANT, session.id, deadline)
    except (SealaneError, port.StoreError) as error:
        return type(error)


def test_the_deadline_of_one_session_bounds_its_sweep() -> None:
    """I14: a store that never answers holds a pass up for so long, and no longer."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)

        async def never(effect) -> None:
            await asyncio.sleep(10**9)

        fault = Fault("complete_multipart", session.record.key, never, times=10**6)
        replica = world.replica(faults=fault, pace=Pace(session_seconds=120))
        started = asyncio.get_running_loop().time()
        await replica.sweep_all(full=False)
        assert asyncio.get_running_loop().time() - started <= 121
        assert replica.events.alarms == []

    run(main())


@pytest.mark.parametrize("ttl", [10**15, 10**30])
def test_a_record_with_an_absurd_value_stops_no_pass_and_is_an_alarm(ttl) -> None:
    """Section 11: a forged record fails closed, and the sessions behind it are swept."""

    async def main() -> None:
        world = World()
        bad = await world.open_session(b"")
        key = keys.record(TENANT, bad.id, keys.SESSION)
        await world.plain.delete(key, timeout=30)
        await world.put_record(bad, keys.SESSION, dataclasses.replace(bad.record, ttl=ttl).encode())
        others = [await world.session() for _ in range(4)]
        for session in others:
            await world.decide(session)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert [world.object(session) for session in others] == [session.content for session in others]
        assert [facts["kind"] for _, facts in replica.events.alarms] == ["BadRecord"]
        assert world.names(bad) == [keys.SESSION]

    run(main())


class Bug(Exception):
    """What nobody foresaw."""


@pytest.mark.parametrize("full", [False, True], ids=["frequent", "full"])
def test_a_bug_that_one_session_shows_stops_no_pass_and_is_an_alarm(full) -> None:
    """One session never ends the sweeper: it would end there again, in every replica, and sweep nothing behind it."""

    async def main() -> None:
        def breaks(effect: Callable[[], Any]) -> Any:
            raise Bug("private")

        world = World()
        bad, good = await world.session(), await world.session()
        for session in (bad, good):
            await world.decide(session)
        replica = world.replica(
            faults=Fault("get", f"{bad.id}/{keys.SESSION}", breaks, times=10**6), pace=Pace(interval=1)
        )
        await replica.sweep_all(full=full)
        assert world.object(good) == good.content
        assert {facts["kind"] for _, facts in replica.events.alarms} == {"Bug"}
        assert replica.events.alarms[0][1]["session_id"] == bad.id
        patrol = asyncio.create_task(replica.assembly.patrol.run())
        replica.assembly.patrol.kick(TENANT, bad.id)
        await wait(10)
        assert not patrol.done()
        patrol.cancel()

    run(main())


# --- what a killed probe leaves ---


async def _leave_a_probe(world: World, name: str, objects: int) -> None:
    prefix = keys.probe_prefix(name)
    for number in range(objects):
        await world.plain.put(f"{prefix}r1/{number:04d}", b"x", timeout=30)
    await world.plain.create_multipart(f"{prefix}r3/parts", metadata={}, timeout=30)


def test_w6_what_a_killed_probe_left_goes_with_a_full_pass_after_an_hour_and_not_before() -> None:
    """By the store's clock; a probe that may still run keeps what it wrote, and no session is touched."""

    async def main() -> None:
        world = World()
        await _leave_a_probe(world, "0a" * 8, 1010)
        session = await world.session()
        await wait(RETENTION.probe.total_seconds() - 10)
        await _leave_a_probe(world, "ff" * 8, 3)
        replica = world.replica(skew=timedelta(days=1))
        await replica.sweep_all()
        assert len(world.bucket.keys(keys.PROBE)) == 1013
        await wait(12)
        await replica.sweep_all(full=False)
        assert len(world.bucket.keys(keys.PROBE)) == 1013
        await replica.sweep_all()
        assert all(key.startswith(keys.probe_prefix("ff" * 8)) for key in world.bucket.keys(keys.PROBE))
        assert len(world.bucket.keys(keys.PROBE)) == 3
        assert world.bucket.open_uploads(keys.PROBE) == [keys.probe_prefix("ff" * 8) + "r3/parts"]
        assert replica.events.alarms == []
        await world.replica().commit(session)

    run(main())


def test_a_frequent_pass_does_not_page_through_what_probes_left() -> None:
    """One page shows that there is something; the next begins behind it."""

    async def main() -> None:
        world = World()
        await _leave_a_probe(world, "0a" * 8, 3500)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert ops(replica).count("list_objects") == 2

    run(main())


@DIALECTS
def test_forged_names_behind_every_jump_of_the_listing_make_no_circle(dialect) -> None:
    """Section 11: more than a page of keys that sort behind all receipts; the sessions behind them are swept."""

    async def main() -> None:
        world = World(dialect)
        sessions = [await world.session(content_of(CHUNK)) for _ in range(2)]
        for session in sessions:
            for number in range(1100):
                forged = keys.receipts_prefix(TENANT, session.id) + f"~{number}"
                await world.plain.put(forged, b"", timeout=30)
            await world.decide(session)
        await world.replica().sweep_all(full=False)
        assert [world.object(session) for session in sessions] == [session.content for session in sessions]

    run(main())
