"""The ⚠ rules of protocol.md sections 3 and 4, each with the moment at which it is easy to break."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from blake3 import blake3
from grpc import aio
from ingest_replica import KIB, Replica, chunk, chunks_of, frame, header, receipt_keys, refused, running, until
from store_faults import Faults

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, Decision, DuplicateAnswer, Outcome
from sealane.domain.errors import (
    ChunkConflict,
    InternalError,
    InvalidStream,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
    StoreUnavailable,
)
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import LostRecord, MultipartRecord
from sealane.domain.states import SessionState
from sealane.rpc import convert
from sealane.store import keys
from sealane.store.port import ChecksumMismatch
from sealane.store.simulated import EPOCH, SimulatedBucket, SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

TENANT = Tenant("default")
DATA = random.Random(3).randbytes(3 * KIB)
PIECES = chunks_of(DATA)


def _key(session: str, name: str) -> str:
    return keys.record(TENANT, SessionId(session), name)


def _write(bucket: SimulatedBucket, session: str, name: str, body: bytes) -> None:
    """What another replica, or assembly, writes."""
    bucket.put(_key(session, name), body, EPOCH, if_absent=True, content_type="application/json")


def _decide(bucket: SimulatedBucket, session: str, outcome: Outcome) -> None:
    decision = Decision(session, outcome)
    if outcome is Outcome.DUPLICATE:
        parameters = CommitParameters(3, 3 * KIB, blake3(DATA).digest())
        answer = DuplicateAnswer("ab" * 16, 1, "etag", parameters.size, parameters.blake3, EPOCH)
        decision = Decision(session, outcome, parameters, answer=answer)
    _write(bucket, session, keys.DECISION, decision.encode())


async def _commit(replica: Replica, session: str) -> None:
    """decision=COMMIT over what is stored, as assembly writes it; not done yet."""
    assert isinstance(replica.store, SimulatedStore)
    bucket = replica.store.state
    receipts: list[Receipt] = [convert.receipt_from_proto(r) for r in await replica.receipts(session)]
    multipart = MultipartRecord.parse(b"".join(p or b"" for p in bucket.get(_key(session, keys.MULTIPART)).pieces))
    size = sum(r.length for r in receipts)
    parameters = CommitParameters(len(receipts), size, blake3(DATA[:size]).digest())
    _write(
        bucket,
        session,
        keys.DECISION,
        Decision.commit(session, parameters, multipart.upload_id, receipts).encode(),
    )


def _calls(store: SimulatedStore, op: str, part: str = "") -> list[str]:
    return [call.key for call in store.calls if call.op == op and part in call.key]


# --- only the digest ends a chunk ---


@pytest.mark.parametrize("frames", [1, 2], ids=["half of its bytes", "all of its bytes"])
async def test_a_cancel_in_the_middle_of_a_chunk_stores_nothing_of_it_and_frees_its_memory(frames: int) -> None:
    """⚠ A gRPC server sees a normal end of the stream when its client cancels."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), frame(0, 0, PIECES[0][:500]), frame(None, 500, PIECES[0][500:])][: 1 + frames]:
            await call.write(message)
        await until(lambda: replica.ingest.memory.in_use > 0, what="the chunk arrives")
        call.cancel()
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert replica.ingest.memory.in_use == 0
        assert not receipt_keys(store, session)
        assert not _calls(store, "upload_part")


async def test_a_deadline_in_the_middle_of_a_chunk_stores_nothing_of_it() -> None:
    """⚠ … and when its deadline passes."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=0.2)
        await call.write(header(session))
        await call.write(frame(0, 0, PIECES[0]))
        with pytest.raises(aio.AioRpcError):
            await call
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert not receipt_keys(store, session)
        assert replica.ingest.memory.in_use == 0


async def test_an_end_of_stream_in_the_middle_of_a_chunk_keeps_the_whole_chunks_before_it() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        error = await refused(replica.send([header(session), *chunk(0, PIECES[0]), frame(1, 0, PIECES[1])]))
        assert isinstance(error, InvalidStream)
        await until(lambda: len(receipt_keys(store, session)) == 1, what="chunk 0 is stored")
        assert [r.chunk_index for r in await replica.receipts(session)] == [0]


async def test_a_whole_chunk_is_stored_though_its_client_went_away_meanwhile() -> None:
    """Part uploads run in a scope outside of the handler: the bytes that were sent are not lost."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    held = faults.hold("upload_part")
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), *chunk(0, PIECES[0])]:
            await call.write(message)
        await held.reached.wait()
        call.cancel()
        await until(lambda: replica.ingest.streams.held == 0, what="the stream is given up")
        assert replica.ingest.memory.in_use == KIB  # I13: the store's call still looks at it
        held.go.set()
        await until(lambda: len(receipt_keys(store, session)) == 1, what="the receipt is written")
        await until(lambda: replica.ingest.memory.in_use == 0, what="its memory comes back")


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
        _decide(store.state, session, outcome)
        error = await refused(replica.upload(session, PIECES))
        assert type(error) is kind
        assert not _calls(store, "upload_part")


async def test_a_decision_without_its_session_means_nothing() -> None:
    """⚠ A late writer can leave a decision behind a purge: NOT_FOUND, not ABORTED."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.send([header(session)])  # session.json is cached now
        store.state.delete(_key(session, keys.SESSION))
        _decide(store.state, session, Outcome.ABORT)
        replica.ingest.servicer._services.standing._undecided.drop((TENANT, SessionId(session)))
        assert isinstance(await refused(replica.upload(session, PIECES)), SessionNotFound)
        assert isinstance(await refused(replica.get(session)), SessionNotFound)


async def test_a_committing_session_takes_its_own_chunks_again_as_parts_only() -> None:
    """⚠ That is how an overwritten part is mended."""
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await _commit(writer, session)
    async with running(SimulatedStore(store.state)) as replica:
        assert isinstance(replica.store, SimulatedStore)
        answer = await replica.upload(session, {1: PIECES[1]})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED]
        assert len(_calls(replica.store, "upload_part")) == 1
        assert not _calls(replica.store, "put")
        shown = await replica.get(session)
        assert convert.state_from_proto(shown.state) is SessionState.COMMITTING


async def test_a_committing_session_takes_no_other_bytes() -> None:
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await _commit(writer, session)
    async with running(SimulatedStore(store.state)) as replica:
        assert isinstance(replica.store, SimulatedStore)
        error = await refused(replica.upload(session, {1: PIECES[0]}))
        assert isinstance(error, SessionSealed)
        assert error.state is SessionState.COMMITTING
        assert not _calls(replica.store, "upload_part")


async def test_a_session_that_the_store_lost_says_so() -> None:
    store = SimulatedStore()
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await _commit(writer, session)
        _write(store.state, session, keys.DONE, LostRecord(session, "test").encode())
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
            store.state.delete(_key(session, keys.SESSION))
        elif isinstance(outcome, Outcome):
            _decide(store.state, session, outcome)
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
            _write(store.state, session.session_id, keys.MULTIPART, record.encode())

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
        assert not _calls(store, "abort_multipart")
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
        assert not _calls(store, "abort_multipart")


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
        assert not _calls(store, "abort_multipart")
        assert len(store.state.open_uploads()) == 1


async def test_a_create_multipart_whose_answer_was_lost_is_made_again_and_the_orphan_is_left_alone() -> None:
    faults = Faults()
    faults.lose_answer("create_multipart")
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert (await replica.upload(session, PIECES)).coverage.complete
        assert len(store.state.open_uploads()) == 2  # W6 takes the one that multipart.json does not name
        assert not _calls(store, "abort_multipart")


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
            b"".join(p or b"" for p in store.state.get(_key(session, keys.MULTIPART)).pieces)
        ).upload_id

        def elsewhere() -> None:
            store.state.lose_upload(upload_id)
            if outcome == "gone":
                store.state.delete(_key(session, keys.SESSION))
            elif isinstance(outcome, Outcome):
                _decide(store.state, session, outcome)

        faults.just_before("upload_part", "", elsewhere)
        assert type(await refused(replica.upload(session, {1: PIECES[1]}))) is kind


async def test_an_upload_that_is_gone_while_a_commit_stands_is_sealed_and_never_lost_i8() -> None:
    """The CMU may just have succeeded: the object can be there before done.json is."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as writer:
        session = (await writer.create(size=3 * KIB)).session_id
        await writer.upload(session, PIECES)
        await _commit(writer, session)
        upload_id = MultipartRecord.parse(
            b"".join(p or b"" for p in store.state.get(_key(session, keys.MULTIPART)).pieces)
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
                store.state.delete(_key(session, keys.SESSION))
            else:
                _decide(store.state, session, Outcome(outcome))

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
            body = b"".join(piece or b"" for piece in store.state.get(_key(session, keys.MULTIPART)).pieces)
            size = sum(receipt.length for receipt in receipts)
            parameters = CommitParameters(len(receipts), size, blake3(DATA[:size]).digest())
            upload_id = MultipartRecord.parse(body).upload_id
            decision = Decision.commit(session, parameters, upload_id, receipts)
            _write(store.state, session, keys.DECISION, decision.encode())

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


# --- fail closed ---


@pytest.mark.parametrize(
    "name",
    [
        "00000000.1024.forged",
        "junk",
        "nested/00000000.1024.a.b.c.d",
        "nested/00000000.1024." + ".".join(["A" * 43] * 3) + ".etag",  # but for its folder a good one
        "00000000.01024." + ".".join(["A" * 43] * 3) + ".etag",
        "00000000.1024." + ".".join(["A" * 42] * 3) + ".etag",
    ],
)
async def test_a_forged_receipt_stops_every_answer_that_would_rest_on_it(name: str) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.upload(session, {1: PIECES[1]})
        prefix = keys.receipts_prefix(TENANT, SessionId(session))
        store.state.put(prefix + name, b"", EPOCH, if_absent=False, content_type="")
        for awaited in (replica.get(session), replica.receipts(session), replica.upload(session, {2: PIECES[2]})):
            error = await refused(awaited)
            assert isinstance(error, InternalError)
            assert name not in error.message


@pytest.mark.parametrize("body", [b"", b"{", b'{"version":2,"kind":"session"}', b"[]", b"\xff" * 10])
async def test_a_torn_forged_or_future_session_record_decides_nothing(body: bytes) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = "ab" * 16
        _write(store.state, session, keys.SESSION, body)
        for awaited in (replica.get(session), replica.receipts(session), replica.upload(session, PIECES)):
            assert isinstance(await refused(awaited), InternalError)


async def test_a_session_record_that_names_another_tenants_key_is_refused_i12() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        shown = await replica.create(size=3 * KIB)
        key = _key(shown.session_id, keys.SESSION)
        body = b"".join(p or b"" for p in store.state.get(key).pieces)
        store.state.delete(key)
        _write(store.state, shown.session_id, keys.SESSION, body.replace(b'"default/by-session', b'"victim/by-session'))
        assert isinstance(await refused(replica.upload(shown.session_id, PIECES)), InternalError)
        assert not _calls(store, "upload_part")


async def test_another_tenants_session_is_not_found_and_no_key_of_theirs_is_touched_i12() -> None:
    bucket = SimulatedBucket()
    async with running(SimulatedStore(bucket), tenant="alice") as alice:
        session = (await alice.create(size=3 * KIB)).session_id
        await alice.upload(session, PIECES)
    eve_store = SimulatedStore(bucket)
    async with running(eve_store, tenant="eve") as eve:
        for awaited in (eve.get(session), eve.receipts(session), eve.upload(session, PIECES)):
            assert isinstance(await refused(awaited), SessionNotFound)
        await eve.create(size=KIB, filename="mine")
    for call in eve_store.calls:
        assert call.key.startswith((".sealane/eve/", "eve/"))


# --- I13 over real gRPC ---


async def test_random_streams_of_random_fates_never_hold_more_than_the_budget_i13() -> None:
    rng = random.Random(11)
    store = SimulatedStore(latency=lambda op, key: rng.random() * 0.002)
    budget = 6 * KIB
    async with running(store, memory_budget=budget, max_streams=100, memory_wait_seconds=20.0) as replica:
        highest = 0

        async def watch() -> None:
            nonlocal highest
            while True:
                highest = max(highest, replica.ingest.memory.in_use)
                await asyncio.sleep(0)

        async def one(number: int) -> None:
            session = (await replica.create(size=3 * KIB)).session_id
            call = replica.stub.UploadChunks(timeout=20)
            messages = [header(session), *(f for i, data in enumerate(PIECES) for f in chunk(i, data))]
            fate = rng.choice(["whole", "whole", "cancel", "cut"])
            stop = len(messages) if fate == "whole" else rng.randrange(1, len(messages))
            try:
                for message in messages[:stop]:
                    await call.write(message)
                if fate == "cancel":
                    call.cancel()
                await call.done_writing()
                await call
            except (aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError):
                assert fate != "whole", number

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(one(number) for number in range(40)))
        await until(lambda: replica.ingest.scope.running == 0, what="all uploads have ended")
        await until(lambda: replica.ingest.streams.held == 0, what="all streams have ended")
        watching.cancel()
        assert 0 < highest <= budget
        assert replica.ingest.memory.peak <= budget
        assert replica.ingest.memory.in_use == 0


# --- deadlines and clocks ---


async def test_a_store_that_never_answers_ends_every_call_by_its_deadline_i14() -> None:
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.3, s3_attempt_seconds=0.1) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        await replica.send([header(session)])
        dead = [faults.hold(op, times=10_000) for op in ("get", "put", "list_objects", "upload_part")]
        for awaited in (
            replica.call("GetSession", pb.GetSessionRequest(session_id=session), timeout=0.5),
            replica.call("CreateSession", pb.CreateSessionRequest(), timeout=0.5),
            replica.call("ListSessions", pb.ListSessionsRequest(), timeout=0.5),
            replica.send([header(session), *chunk(0, PIECES[0])], timeout=5.0),
        ):
            assert (await refused(awaited)).reason in ("STORE_UNAVAILABLE", "DEADLINE_EXCEEDED")
        await until(lambda: replica.ingest.memory.in_use == 0, what="the memory comes back")
        await until(lambda: replica.ingest.scope.running == 0, what="the uploads end")
        for fault in dead:
            fault.times = 0
        assert (await replica.upload(session, PIECES)).coverage.complete


async def test_uploads_behind_one_that_hangs_end_by_their_own_deadline_and_the_next_ones_go_on_i14() -> None:
    faults = Faults()
    held = faults.hold("upload_part", times=100)
    store = SimulatedStore(faults=faults)
    async with running(store, chunk_store_seconds=0.5, s3_max_connections=1) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        errors = await asyncio.gather(*(refused(replica.upload(session, {n: PIECES[n]})) for n in range(3)))
        assert {type(error) for error in errors} == {StoreUnavailable}
        held.times = 0
        assert (await replica.upload(session, PIECES)).coverage.complete


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_replica_whose_clock_is_a_day_off_answers_the_stores_times_i15(days: int) -> None:
    bucket = SimulatedBucket()
    skew = timedelta(days=days)
    async with running(SimulatedStore(bucket, skew=skew)) as wrong, running(SimulatedStore(bucket)) as right:
        session = await wrong.create(size=3 * KIB)
        answer = await wrong.upload(session.session_id, PIECES)
        assert answer.coverage.complete
        shown = await right.get(session.session_id)
        assert shown == await wrong.get(session.session_id)
        assert shown.create_time == session.create_time
        started = (await wrong.info()).start_time, (await right.info()).start_time
        assert abs(started[0].seconds - started[1].seconds) < 60


async def test_a_chunk_whose_bytes_are_garbled_on_the_way_to_the_store_is_sent_again() -> None:
    faults = Faults()

    def garble() -> None:
        raise ChecksumMismatch("as the store saw it")

    faults.just_before("upload_part", "", garble)
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=3 * KIB)).session_id
        assert (await replica.upload(session, PIECES)).coverage.complete
