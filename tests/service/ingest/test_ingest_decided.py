"""What a decision does to a stream: before it, beside it, instead of its OK (protocol.md section 4, steps 1, 4, 7)."""

from __future__ import annotations

import pytest
from assembly_writes import DATA, PIECES, TENANT, calls_of, decide, decide_commit, record_key, write_record
from blake3 import blake3
from ingest_replica import KIB, header, receipt_keys, refused, running
from store_faults import Faults

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.errors import (
    ChunkConflict,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.ids import SessionId
from sealane.domain.records import LostRecord, MultipartRecord
from sealane.domain.states import SessionState
from sealane.rpc import convert
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

# --- step 1: what a decision does to a stream ---


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.ABORT, SessionAborted), (Outcome.EXPIRE, SessionExpired), (Outcome.DUPLICATE, SessionSealed)],
)
async def test_a_decided_session_takes_no_chunks_and_says_what_it_has_become(
    outcome: Outcome, kind: type[Exception]
) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        decide(store.state, session, outcome)
        error = await refused(replica.upload(session, PIECES))
        assert type(error) is kind
        assert not calls_of(store, "upload_part")


async def test_a_decision_without_its_session_means_nothing() -> None:
    """⚠ A late writer can leave a decision behind a purge: NOT_FOUND, not ABORTED."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.send([header(session)])  # session.json is cached now
        store.state.delete(record_key(session, keys.SESSION))
        decide(store.state, session, Outcome.ABORT)
        replica.ingest.servicer._services.standing._undecided.drop((TENANT, SessionId(session)))
        assert isinstance(await refused(replica.upload(session, PIECES)), SessionNotFound)
        assert isinstance(await refused(replica.get(session)), SessionNotFound)


async def test_a_committing_session_takes_its_own_chunks_again_as_parts_only() -> None:
    """⚠ That is how an overwritten part is mended."""
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await decide_commit(writer, session)
    async with running(SimulatedStore(store.state)) as replica:
        assert isinstance(replica.store, SimulatedStore)
        answer = await replica.upload(session, {1: PIECES[1]})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED]
        assert len(calls_of(replica.store, "upload_part")) == 1
        assert not calls_of(replica.store, "put")
        shown = await replica.get(session)
        assert convert.state_from_proto(shown.state) is SessionState.COMMITTING


async def test_a_committing_session_takes_no_other_bytes() -> None:
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await decide_commit(writer, session)
    async with running(SimulatedStore(store.state)) as replica:
        assert isinstance(replica.store, SimulatedStore)
        error = await refused(replica.upload(session, {1: PIECES[0]}))
        assert isinstance(error, SessionSealed)
        assert error.state is SessionState.COMMITTING
        assert not calls_of(replica.store, "upload_part")


async def test_a_session_that_the_store_lost_says_so() -> None:
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await decide_commit(writer, session)
        write_record(store.state, session, keys.DONE, LostRecord(session, "test").encode())
    async with running(SimulatedStore(store.state)) as replica:
        assert isinstance(await refused(replica.upload(session, {1: PIECES[1]})), SessionLost)
        assert convert.state_from_proto((await replica.get(session)).state) is SessionState.LOST


# --- step 4: no negative answer about a session that is decided ---


@pytest.mark.parametrize(
    ("outcome", "kind"), [(None, ChunkConflict), (Outcome.ABORT, SessionAborted), ("gone", SessionNotFound)]
)
async def test_before_a_conflict_is_answered_the_decision_and_then_the_session_are_read_again(
    outcome: Outcome | str | None, kind: type[Exception]
) -> None:
    """⚠ Rules of reading: what has been decided meanwhile comes first, and a session that is gone is NOT_FOUND."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, PIECES)  # "no decision" is believed from here on for 2 s
        await replica.send([header(session)])
        if outcome == "gone":
            store.state.delete(record_key(session, keys.SESSION))
        elif isinstance(outcome, Outcome):
            decide(store.state, session, outcome)
        assert type(await refused(replica.upload(session, {1: PIECES[0]}))) is kind


async def test_other_bytes_are_a_conflict_even_if_these_very_bytes_are_stored_too() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, {0: PIECES[0]})
        other = Receipt(0, KIB, b"\1" * 32, b"\2" * 32, b"\3" * 32, "e" * 32)
        store.state.put(keys.receipt(TENANT, SessionId(session), other), b"", EPOCH, if_absent=False, content_type="")
        assert isinstance(await refused(replica.upload(session, {0: PIECES[0]})), ChunkConflict)
        shown = await replica.get(session)
        assert list(shown.coverage.conflicting_chunks) == [0]
        assert shown.coverage.prefix.chunks == 0


# --- step 7: the last word is the store's ---


@pytest.mark.parametrize(
    ("outcome", "kind"), [(Outcome.ABORT, SessionAborted), (Outcome.EXPIRE, SessionExpired), ("gone", SessionNotFound)]
)
async def test_what_happens_while_a_stream_runs_is_answered_instead_of_ok_i5(
    outcome: Outcome | str, kind: type[Exception]
) -> None:
    """⚠ The final answer rests on records read after the last receipt, not on the cache of two seconds."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id

        def elsewhere() -> None:
            if outcome == "gone":
                store.state.delete(record_key(session, keys.SESSION))
            else:
                decide(store.state, session, Outcome(outcome))

        faults.just_before("put", "/receipts/00000002.", elsewhere)
        assert type(await refused(replica.upload(session, PIECES))) is kind


async def test_a_commit_that_is_decided_while_a_stream_runs_is_answered_sealed_instead_of_ok() -> None:
    """⚠ The chunk may be none of the decision's: only a stream that mended its list may be told OK under a COMMIT."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store, parts_in_flight=1) as replica:
        session = (await replica.create()).session_id

        def commit_of_what_is_there() -> None:
            receipts = [keys.parse_receipt(key) for key in receipt_keys(store, session)]
            body = b"".join(piece or b"" for piece in store.state.get(record_key(session, keys.MULTIPART)).pieces)
            size = sum(receipt.length for receipt in receipts)
            parameters = CommitParameters(len(receipts), size, blake3(DATA[:size]).digest())
            upload_id = MultipartRecord.parse(body).upload_id
            decision = Decision.commit(session, parameters, upload_id, receipts)
            write_record(store.state, session, keys.DECISION, decision.encode())

        faults.just_before("put", "/receipts/00000002.", commit_of_what_is_there)
        error = await refused(replica.upload(session, PIECES))
        assert isinstance(error, SessionSealed)
        assert error.state is SessionState.COMMITTING


async def test_before_the_final_answer_the_decision_is_read_first_and_the_session_second() -> None:
    """⚠ In the other order a purge between the two reads would be answered OK."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, PIECES)
        last = [call.key.rsplit("/", 1)[-1] for call in store.calls[-2:]]
        assert last == [keys.DECISION, keys.SESSION]
        assert store.calls[-3].op == "list_objects"  # and both after the coverage that is answered
