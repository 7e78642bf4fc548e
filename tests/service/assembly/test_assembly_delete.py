"""DeleteSession at a key of its own (W5): what goes, in which order, and that nothing brings anything back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from assembly_world import (
    CHUNK,
    EXPIRED_AFTER,
    TENANT,
    Crash,
    CrashAt,
    Fault,
    Replica,
    Session,
    World,
    content_of,
    first,
    lands_late,
    loses_answer,
    refuses,
    run,
    seeded_latency,
    wait,
)

from assembly_service.delete import Deletion
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import (
    ChunkNeeded,
    OutcomeUnknown,
    SealaneError,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
)
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord, MultipartRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS, SEAWEEDFS

T = TypeVar("T")

DIALECTS = pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])
BEGINNINGS = pytest.mark.parametrize("beginning", ["open", "committing", "committed", "aborted"])
SEEDS = 40


async def delete(replica: Replica, session: Session, seconds: float = 300) -> Deletion:
    return await replica.assembly.deleter.delete(TENANT, session.id, Deadline.after(seconds))


def told(deletion: Deletion) -> dict[str, tuple[int, int]]:
    return {some.kind.value: (some.count, some.size) for some in deletion.removed}


async def begin(world: World, beginning: str, size: int = 3 * CHUNK + 100) -> Session:
    session = await world.session(content_of(size))
    match beginning:
        case "committing":
            await world.decide(session)
        case "committed":
            await world.replica().commit(session)
        case "aborted":
            await world.replica().abort(session)
    return session


async def gone_for_good(world: World, session: Session) -> None:
    """I9: nothing is left, nobody is told otherwise, and a sweeper finds nothing to do."""
    assert world.leftovers(session) == []
    for ask in (world.replica().outcome, world.replica().commit, world.replica().abort):
        with pytest.raises(SessionNotFound):
            await ask(session)
    with pytest.raises(SessionNotFound):
        await delete(world.replica(), session)


# --- what goes, and what is answered ---


@DIALECTS
def test_i9_a_committed_object_goes_with_all_its_records_and_the_answer_counts_them(dialect) -> None:
    """I9."""

    async def main() -> None:
        world = World(dialect)
        session = await begin(world, "committed")
        bytes_of_records = sum(len(world.read(session, name) or b"") for name in keys.RECORDS)
        deletion = await delete(world.replica(), session)
        assert deletion.state is SessionState.DELETED
        assert told(deletion) == {
            "object": (1, len(session.content)),
            "receipt": (4, 0),
            "record": (5, bytes_of_records + len(DeletedRecord(session.id).encode())),
        }
        await gone_for_good(world, session)

    run(main())


@DIALECTS
def test_i9_an_open_session_is_aborted_and_goes_at_once_with_its_upload_parts_and_receipts(dialect) -> None:
    """I9: the outcome retention is for those who might ask; the caller has just been told."""

    async def main() -> None:
        world = World(dialect)
        session = await begin(world, "open")
        deletion = await delete(world.replica(), session)
        assert deletion.state is SessionState.ABORTED
        counted = told(deletion)
        assert counted.pop("record")[0] == 3  # session, multipart, decision
        assert counted == {"upload": (1, 0), "part": (4, len(session.content)), "receipt": (4, 0)}
        await gone_for_good(world, session)

    run(main())


def test_a_session_without_a_single_chunk_goes_too() -> None:
    async def main() -> None:
        world = World()
        session = await world.open_session(b"")
        assert (await delete(world.replica(), session)).state is SessionState.ABORTED
        await gone_for_good(world, session)

    run(main())


def test_a_session_that_is_committing_is_finished_first_and_then_removed() -> None:
    """COMMITTING → roll forward first: nobody takes a decision back (I1, I10)."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committing")
        replica = world.replica()
        deletion = await delete(replica, session)
        assert deletion.state is SessionState.DELETED
        assert told(deletion)["object"] == (1, len(session.content))
        ops = [call.op for call in replica.store.calls]
        assert "abort_multipart" not in ops
        assert ops.index("complete_multipart") < ops.index("delete")
        await gone_for_good(world, session)

    run(main())


def test_i10_a_commit_that_waits_for_a_chunk_is_not_removed_but_says_so() -> None:
    """I10: only the give-up rule aborts what is decided; then the records go as those of a LOST session."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committing")
        world.bucket._uploads[session.upload_id].rows[1].clear()
        replica = world.replica()
        with pytest.raises(ChunkNeeded):
            await delete(replica, session)
        assert not {"delete", "abort_multipart"} & {call.op for call in replica.store.calls}
        await wait(EXPIRED_AFTER)
        deletion = await delete(world.replica(), session)
        assert deletion.state is SessionState.LOST
        await gone_for_good(world, session)

    run(main())


def test_aborted_expired_and_lost_sessions_go_before_their_outcome_is_forgotten() -> None:
    async def main() -> None:
        world = World()
        aborted, expired, lost = await begin(world, "aborted"), await world.session(), await begin(world, "committing")
        world.bucket.lose_upload(lost.upload_id)
        with pytest.raises(SessionLost):
            await world.replica().commit(lost)
        await wait(EXPIRED_AFTER)
        await world.replica().sweep(expired)
        states = [(await delete(world.replica(), session)).state for session in (aborted, expired, lost)]
        assert states == [SessionState.ABORTED, SessionState.EXPIRED, SessionState.LOST]
        for session in (aborted, expired, lost):
            await gone_for_good(world, session)

    run(main())


def test_an_object_with_another_token_is_left_alone_and_alarmed() -> None:
    """W5: only if its token is ours. Somebody wrote to sealane's bucket: that is for an operator to judge."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committed")
        await world.plain.put(session.record.key, b"another's", timeout=30)
        replica = world.replica()
        assert (await delete(replica, session)).state is SessionState.DELETED
        assert world.object(session) == b"another's"
        assert [alarm for alarm, _ in replica.events.alarms] == ["the object of a deleted session is another's"]
        assert world.names(session) == []

    run(main())


def test_an_object_that_is_gone_already_does_not_stand_in_the_way() -> None:
    async def main() -> None:
        world = World()
        session = await begin(world, "committed")
        await world.plain.delete(session.record.key, timeout=30)
        deletion = await delete(world.replica(), session)
        assert "object" not in told(deletion)
        await gone_for_good(world, session)

    run(main())


def test_other_sessions_of_the_tenant_are_unharmed() -> None:
    async def main() -> None:
        world = World()
        kept, doomed, open_one = await begin(world, "committed"), await begin(world, "committed"), await world.session()
        await delete(world.replica(), doomed)
        assert world.object(kept) == kept.content
        assert isinstance(await world.replica().commit(kept), CommittedObject)
        assert isinstance(await world.replica().commit(open_one), CommittedObject)

    run(main())


def test_w5_the_records_go_in_the_order_of_the_reads_turned_round_and_the_decision_last() -> None:
    """⚠ W5, I11: the object, receipts, multipart, session, done, deleted, decision; each confirmed before the next."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committed")
        replica = world.replica()
        await delete(replica, session)
        calls = [call for call in replica.store.calls if call.op in ("delete", "head")]
        deleted = [call.key for call in calls if call.op == "delete"]
        prefix = keys.session_prefix(TENANT, session.id)
        names = [key.removeprefix(prefix) for key in deleted if "/receipts/" not in key]
        assert names == [
            session.record.key,
            keys.MULTIPART,
            keys.SESSION,
            keys.DONE,
            keys.DELETED,
            keys.DECISION,
        ]
        assert deleted[0] == session.record.key
        assert deleted[1].startswith(keys.receipts_prefix(TENANT, session.id))
        for number, call in enumerate(calls):
            if call.op == "delete" and "/receipts/" not in call.key:
                assert calls[number + 1] == port_call("head", call.key)

    run(main())


def port_call(op: str, key: str) -> tuple[str, str]:
    return (op, key)


def test_a_second_call_finds_nothing_and_says_so() -> None:
    """NOT_FOUND from DeleteSession means: nothing is left, not even of a removal that was cut short."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committed")
        fault = Fault("delete", keys.DONE, refuses(port.AccessDenied("no")))
        with pytest.raises(port.AccessDenied):
            await delete(world.replica(faults=fault), session)
        assert world.names(session) == [keys.DECISION, keys.DELETED, keys.DONE]
        with pytest.raises(SessionNotFound):
            await delete(world.replica(), session)
        assert world.leftovers(session) == []

    run(main())


@pytest.mark.parametrize("when", ["while it runs", "behind it"])
def test_i9_an_upload_without_any_record_that_begins_late_is_gone_when_a_delete_answers(when) -> None:
    """I9: an ingest that stalled before CreateMultipartUpload; NOT_FOUND from DeleteSession means: nothing is left."""

    async def main() -> None:
        world = World()
        session = await begin(world, "open")

        async def begins() -> None:
            await world.start_upload(session)

        fault = Fault("delete", keys.DECISION, first(begins), times=1 if when == "while it runs" else 0)
        assert (await delete(world.replica(faults=fault), session)).state is SessionState.ABORTED
        if when == "behind it":
            await begins()
            with pytest.raises(SessionNotFound):
                await delete(world.replica(), session)
        assert world.leftovers(session) == []

    run(main())


def test_a_call_that_can_not_be_confirmed_is_unknown_and_never_a_success() -> None:
    """I8: answered only after HEAD says 404."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committed")

        def ignores(effect: Callable[[], Any]) -> None:
            """Answered, and nothing happens."""

        fault = Fault("delete", session.record.key, ignores, times=10_000)
        with pytest.raises(OutcomeUnknown):
            await delete(world.replica(faults=fault), session, seconds=20)
        assert keys.SESSION in world.names(session)
        assert keys.DELETED in world.names(session)
        assert (await delete(world.replica(), session)).state is SessionState.DELETED
        await gone_for_good(world, session)

    run(main())


def test_from_deleted_json_on_everyone_says_not_found() -> None:
    """C1: also while the object is still on its way out."""

    async def main() -> None:
        world = World()
        session = await begin(world, "committed")
        await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
        for ask in (world.replica().commit, world.replica().abort):
            with pytest.raises(SessionNotFound):
                await ask(session)
        assert await world.replica().outcome(session) == (SessionState.DELETED, None)

    run(main())


# --- crashes ---


@BEGINNINGS
@MOMENTS
@pytest.mark.parametrize("recovery", ["sweeper", "again"])
def test_i9_i11_a_delete_that_crashes_at_any_call_is_finished_by_another(beginning, moment, recovery) -> None:
    """I1, I2, I9, I11: every store call × before and after, then a fresh replica's sweeper, or the request again."""

    async def check(world: World, session: Session) -> None:
        names, decision = world.names(session), world.decision(session)
        if world.object(session) is not None:  # I2, at the very moment of the crash
            assert decision is not None
            assert decision.outcome is Outcome.COMMIT
        assert names == [] or decision is not None or keys.SESSION in names  # I11
        if keys.SESSION not in names:
            assert world.object(session) is None  # who finds no session finds no object
        marked = keys.DELETED in names or (names and keys.SESSION not in names)
        decided = decision is not None
        if recovery == "again":
            with contextlib.suppress(SessionNotFound):
                await delete(world.replica(), session)
        else:
            await world.replica().sweep_all(full=False)
            if not marked and names and decided and decision.outcome is Outcome.COMMIT:
                assert world.object(session) == session.content  # the delete had not begun: nothing is lost
                assert isinstance(await world.replica().commit(session), CommittedObject)
                return
            if names and not marked:
                if not decided:
                    await wait(EXPIRED_AFTER)
                    await world.replica().sweep_all(full=False)
                await wait(world_outcome_seconds())
                await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []
        await gone_for_good(world, session)

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, beginning, CHUNK + 5)
            crash = CrashAt(nth, moment)
            try:
                await delete(world.replica(faults=crash), session)
            except Crash:
                await check(world, session)
            else:
                assert crash.calls < nth
                assert nth > 15
                return

    run(main())


def world_outcome_seconds() -> float:
    return 24 * 3600.0 + 2


@BEGINNINGS
@pytest.mark.parametrize("action", [loses_answer, lands_late(0.4), lands_late(1e6)], ids=["lost", "late", "very late"])
def test_i8_i9_every_call_of_a_delete_may_lose_its_answer_or_land_late(beginning, action) -> None:
    """I8, I9: a call of the delete itself lands up to days later, behind everything: nothing comes back, or stays."""

    class NthWrite:
        def __init__(self, nth: int) -> None:
            self.nth, self.writes = nth, 0

        async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
            if op in ("put", "delete", "abort_multipart", "complete_multipart"):
                self.writes += 1
                if self.writes == self.nth:
                    answer = action(effect)
                    return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]
            return effect()

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, beginning, CHUNK + 5)
            faults = NthWrite(nth)
            await delete(world.replica(faults=faults), session)
            assert world.leftovers(session) == []
            if faults.writes < nth:
                assert nth > 6
                return
            await wait(2e6)
            await world.replica().sweep_all(full=True)
            await gone_for_good(world, session)

    run(main())


# --- stalled writers ---


class StallAt:
    """The process stands still before its ``nth`` call until ``other`` has happened; ``calls`` counts."""

    def __init__(self, nth: int, other: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.nth, self.other, self.calls = nth, other, 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.nth:
            await self.other()
        return effect()


async def outcome_of(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except SealaneError as error:
        return type(error)


@DIALECTS
@pytest.mark.parametrize("stalled", ["commit", "abort", "sweep", "delete"])
@pytest.mark.parametrize("beginning", ["open", "committing", "committed"])
def test_i9_whoever_stalls_at_any_call_and_wakes_behind_a_delete_brings_nothing_back(
    dialect, stalled, beginning
) -> None:
    """I1, I2, I9: a committer, aborter, sweeper or deleter sleeps through a whole delete, before each of its calls."""
    works: dict[str, Callable[[Replica, Session], Coroutine[Any, Any, Any]]] = {
        "commit": lambda replica, session: replica.commit(session),
        "abort": lambda replica, session: replica.abort(session),
        "sweep": lambda replica, session: replica.sweep(session),
        "delete": delete,
    }

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(dialect)
            session = await begin(world, beginning, CHUNK + 5)
            if stalled == "sweep":
                await wait(EXPIRED_AFTER)
            deletions: list[Deletion] = []

            async def in_between(world=world, session=session, deletions=deletions) -> None:
                with contextlib.suppress(SessionNotFound):  # the one that stalls had almost ended
                    deletions.append(await delete(world.replica(), session))
                assert world.leftovers(session) == []

            faults = StallAt(nth, in_between)
            answer = await outcome_of(works[stalled](world.replica(faults=faults), session))
            if faults.calls < nth:
                assert nth > 2
                return
            assert world.object(session) is None, nth
            if isinstance(answer, CommittedObject):  # it was committed before it was deleted
                assert deletions[0].state is SessionState.DELETED
            elif stalled == "commit":
                assert answer in (SessionNotFound, SessionAborted), nth
            await world.replica().sweep_all(full=True)
            await gone_for_good(world, session)

    run(main())


LATE = {
    "a part": "upload_part",
    "a receipt": "receipt",
    "multipart.json": "multipart",
    "an upload": "create",
    "decision.json": "decision",
    "done.json": "done",
    "LOST": "lost",
    "deleted.json": "deleted",
    "the CMU": "complete",
}


@DIALECTS
@pytest.mark.parametrize("beginning", ["open", "committed"])
@pytest.mark.parametrize("late", LATE)
def test_i9_what_lands_behind_a_delete_means_nothing_and_is_swept(dialect, beginning, late) -> None:
    """I9, and "a decision counts only if session.json is read after it": each write of a stalled writer, alone."""

    async def land(world: World, session: Session, decision: Decision) -> None:
        store = world.plain
        record = session.receipts[0]
        with contextlib.suppress(port.StoreError):
            match late:
                case "a part":
                    await world.store_part(session, 0, session.chunk(0))
                case "a receipt":
                    await store.put(keys.receipt(TENANT, session.id, record), b"", timeout=30)
                case "multipart.json":
                    named = MultipartRecord(session.id, await world.start_upload(session))
                    await world.put_record(session, keys.MULTIPART, named.encode())
                case "an upload":
                    await world.start_upload(session)
                case "decision.json":
                    await world.put_record(session, keys.DECISION, decision.encode())
                case "done.json":
                    done = DoneRecord(session.id, "e-4", len(session.content), bytes(32), store.now())
                    await world.put_record(session, keys.DONE, done.encode())
                case "LOST":
                    await world.put_record(session, keys.DONE, LostRecord(session.id, "why").encode())
                case "deleted.json":
                    await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
                case "the CMU":
                    parts = [port.Part(r.part_number, r.etag, r.sha256) for r in session.receipts]
                    await store.complete_multipart(session.record.key, session.upload_id, parts, timeout=30)

    async def main() -> None:
        world = World(dialect)
        session = await begin(world, beginning)
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)
        await delete(world.replica(), session)
        await land(world, session, decision)
        assert world.object(session) is None
        for ask in (world.replica().commit, world.replica().outcome, world.replica().abort):
            with pytest.raises(SessionNotFound):
                await ask(session)
        await world.replica().sweep_all(full=True)
        await gone_for_good(world, session)

    run(main())


# --- races ---


def test_i1_i2_i9_commits_aborts_deletes_and_sweepers_at_once() -> None:
    """I1, I2, I9: whatever order a seed makes, the delete's answer fits the decision, and nothing is left."""

    async def one(number: int, seed: int, world: World, session: Session, work: Any) -> Any:
        await wait(random.Random(seed * 97 + number).uniform(0.0, 0.6))
        replica = world.replica(latency=seeded_latency(seed * 31 + number))
        return await outcome_of(work(replica, session))

    def commit(replica: Replica, session: Session) -> Any:
        return replica.commit(session)

    def abort(replica: Replica, session: Session) -> Any:
        return replica.abort(session)

    def sweep(replica: Replica, session: Session) -> Any:
        return replica.sweep(session)

    async def main() -> None:
        seen = set()
        for seed in range(SEEDS):
            world = World(AWS if seed % 2 else SEAWEEDFS, seed=seed)
            session = await world.session(content_of(2 * CHUNK + 7, seed))
            works = [commit, commit, abort, delete, delete, sweep]
            answers = await asyncio.gather(
                *(one(number, seed, world, session, work) for number, work in enumerate(works))
            )
            deletions = [answer for answer in answers[3:5] if isinstance(answer, Deletion)]
            states = {deletion.state for deletion in deletions}
            assert len(states) <= 1, seed
            committed = {dataclasses.replace(a, replayed=False) for a in answers[:2] if isinstance(a, CommittedObject)}
            assert len(committed) <= 1
            if committed:
                assert SessionState.ABORTED not in states, seed
            seen |= states
            await world.replica().sweep_all(full=True)
            if not deletions:  # both came behind what the other, or the purge, had removed
                assert set(answers[3:5]) == {SessionNotFound}
            await gone_for_good(world, session)
        assert seen == {SessionState.DELETED, SessionState.ABORTED}

    run(main())


def test_w1_a_session_that_expires_while_it_is_deleted_says_expired() -> None:
    """Lost → obey the winner."""

    async def main() -> None:
        world = World()
        session = await begin(world, "open")

        async def expire() -> None:
            await world.put_record(session, keys.DECISION, Decision(session.id, Outcome.EXPIRE).encode())

        fault = Fault("put", keys.DECISION, first(expire))
        assert (await delete(world.replica(faults=fault), session)).state is SessionState.EXPIRED
        with pytest.raises((SessionExpired, SessionNotFound)):
            await world.replica().commit(session)
        await gone_for_good(world, session)

    run(main())


# --- the sweeper ---


@MOMENTS
def test_w5_a_sweeper_that_crashes_in_a_half_done_delete_is_followed_by_another(moment) -> None:
    """W5, I11: the frequent pass finds it, at whatever step it stopped."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            session = await begin(world, "committed")
            await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
            crash = CrashAt(nth, moment)
            try:
                await world.replica(faults=crash).sweep(session)
            except Crash:
                names = world.names(session)
                assert names == [] or keys.DECISION in names  # I11
                await world.replica().sweep_all(full=False)
            else:
                assert nth > 15
                return
            await gone_for_good(world, session)

    run(main())
