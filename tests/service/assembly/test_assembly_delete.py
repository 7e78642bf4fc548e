"""DeleteSession at a key of its own (W5): what goes, in which order, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from assembly_faults import Fault, first, refuses
from assembly_time import run, wait
from assembly_world import DIALECTS, EXPIRED_AFTER, TENANT, World
from deletes import begin, delete, gone_for_good, told

from sealane.domain.errors import (
    ChunkNeeded,
    OutcomeUnknown,
    SessionLost,
    SessionNotFound,
)
from sealane.domain.records import DeletedRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port


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
