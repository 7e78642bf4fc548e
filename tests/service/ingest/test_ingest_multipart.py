"""One multipart upload a session, and the receipt that makes a chunk stored (protocol.md section 4, steps 5, 6)."""

from __future__ import annotations

import pytest
from assembly_writes import PIECES, TENANT, calls_of, decide, decide_commit, record_key, write_record
from ingest_replica import KIB, receipt_keys, refused, running
from store_faults import Faults

from sealane.domain.decision import Outcome
from sealane.domain.errors import (
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId
from sealane.domain.records import MultipartRecord
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore

# --- step 5: one multipart upload ---


async def test_who_loses_the_multipart_race_uses_the_winners_upload_and_aborts_its_own() -> None:
    """⚠ After 412: GET multipart.json, use what it names."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = await replica.create(size=3 * KIB)
        object_key = keys.object_key(TENANT, SessionId(session.session_id), session.filename)
        winners: list[str] = []

        def another_replica() -> None:
            upload = store.state.create_multipart(object_key, EPOCH, metadata={}, content_type="")
            winners.append(upload)
            record = MultipartRecord(session.session_id, upload)
            write_record(store.state, session.session_id, keys.MULTIPART, record.encode())

        faults.just_before("put", keys.MULTIPART, another_replica)
        await replica.upload(session.session_id, PIECES)
        assert store.state.open_uploads() == [object_key]  # ours is gone, the winner's is there …
        assert len(store.state.list_parts(object_key, winners[0], None, 1000).parts) == 3  # … with the parts


async def test_a_multipart_record_whose_answer_was_lost_is_ours_and_nothing_is_aborted() -> None:
    """⚠ An unknown outcome is read, not guessed: 412 on a repeated PUT would look like a lost race."""
    faults = Faults()
    faults.lose_answer("put", keys.MULTIPART)
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        answer = await replica.upload(session, PIECES)
        assert answer.coverage.complete
        assert not calls_of(store, "abort_multipart")
        assert len(store.state.open_uploads()) == 1


async def test_a_multipart_record_that_lands_late_is_waited_for_and_no_upload_is_aborted_unread() -> None:
    """⚠ Abort your own only when the record was READ and names another."""
    faults = Faults()
    late = faults.lands_late("put", keys.MULTIPART)
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        answer = await replica.upload(session, PIECES)  # the same PUT again, and it is ours
        assert answer.coverage.complete
        with pytest.raises(Exception, match="there already"):
            late.late[0]()  # the first one lands now: refused, for the key exists
        assert not calls_of(store, "abort_multipart")


async def test_a_multipart_record_that_cannot_be_read_leaves_the_own_upload_to_the_sweeper() -> None:
    """⚠ … and one that could not be read is not aborted: it may be the one that the record names."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.5) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        faults.lose_answer("put", keys.MULTIPART)

        def unreadable() -> None:
            faults.never_arrives("get", keys.MULTIPART, times=1000)

        faults.just_before("create_multipart", "", unreadable)
        error = await refused(replica.upload(session, PIECES))
        assert error.reason.value in ("OUTCOME_UNKNOWN", "STORE_UNAVAILABLE")
        assert not calls_of(store, "abort_multipart")
        assert len(store.state.open_uploads()) == 1


async def test_a_create_multipart_whose_answer_was_lost_is_made_again_and_the_orphan_is_left_alone() -> None:
    faults = Faults()
    faults.lose_answer("create_multipart")
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert (await replica.upload(session, PIECES)).coverage.complete
        assert len(store.state.open_uploads()) == 2  # W6 takes the one that multipart.json does not name
        assert not calls_of(store, "abort_multipart")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(None, SessionLost), (Outcome.ABORT, SessionAborted), (Outcome.EXPIRE, SessionExpired), ("gone", SessionNotFound)],
)
async def test_an_upload_that_is_gone_is_lost_only_if_no_decision_explains_it(
    outcome: Outcome | str | None, kind: type[Exception]
) -> None:
    """NoSuchUpload → GET decision; none, and the session there → SESSION_LOST."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, {0: PIECES[0]})
        upload_id = MultipartRecord.parse(
            b"".join(p or b"" for p in store.state.get(record_key(session, keys.MULTIPART)).pieces)
        ).upload_id

        def elsewhere() -> None:
            store.state.lose_upload(upload_id)
            if outcome == "gone":
                store.state.delete(record_key(session, keys.SESSION))
            elif isinstance(outcome, Outcome):
                decide(store.state, session, outcome)

        faults.just_before("upload_part", "", elsewhere)
        assert type(await refused(replica.upload(session, {1: PIECES[1]}))) is kind


async def test_an_upload_that_is_gone_while_a_commit_stands_is_sealed_and_never_lost_i8() -> None:
    """The CMU may just have succeeded: the object can be there before done.json is."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await decide_commit(writer, session)
        upload_id = MultipartRecord.parse(
            b"".join(p or b"" for p in store.state.get(record_key(session, keys.MULTIPART)).pieces)
        ).upload_id
    async with running(SimulatedStore(store.state, faults=faults)) as replica:
        faults.just_before("upload_part", "", lambda: store.state.lose_upload(upload_id))
        assert isinstance(await refused(replica.upload(session, {1: PIECES[1]})), SessionSealed)


# --- step 6: the receipt is what makes a chunk stored ---


async def test_a_part_without_its_receipt_is_no_chunk_and_is_acknowledged_to_nobody() -> None:
    faults = Faults()
    faults.never_arrives("put", "/receipts/", times=1000)
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.3) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert isinstance(await refused(replica.upload(session, {0: PIECES[0]})), StoreUnavailable)
        assert not receipt_keys(store, session)
        assert (await replica.get(session)).coverage.stored_chunks == 0


@pytest.mark.parametrize("op", ["upload_part", "put"])
async def test_a_part_or_receipt_whose_answer_was_lost_is_sent_again_and_stored_once(op: str) -> None:
    faults = Faults()
    faults.lose_answer(op, "/receipts/" if op == "put" else "")
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert (await replica.upload(session, PIECES)).coverage.complete
        assert len(receipt_keys(store, session)) == 3
