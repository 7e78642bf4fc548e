"""Guards that show only at one moment: each test here fails if its guard is taken away (tests/mutants)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from assembly_acts import TENANT, commit, decide, purge
from blake3 import blake3
from grpc import aio
from ingest_replica import KIB, TINY, chunk, chunks_of, header, receipt_keys, refused, running, until
from store_faults import Faults

import ingest_service.standing
from ingest_service.admission import Lease
from ingest_service.create import NewSession, SessionCreator
from ingest_service.quota_guard import QuotaGuard
from ingest_service.receive import UploadStream
from ingest_service.standing import Standing
from ingest_service.statistics import Statistics
from ingest_service.stream_messages import Frame, Header, StreamMessage
from ingest_service.task_scope import TaskScope
from ingest_service.usage import Usage
from sealane.domain.chunks import Receipt
from sealane.domain.decision import Outcome
from sealane.domain.errors import DeadlineExceeded, SessionAborted, SessionNotFound, SessionSealed
from sealane.domain.ids import SessionId
from sealane.domain.quotas import Quotas
from sealane.domain.states import SessionState
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import Part
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords
from sealane.store.simulated import SimulatedStore

DATA = random.Random(23).randbytes(3 * KIB)
PIECES = chunks_of(DATA)


async def test_session_json_is_written_before_the_request_that_names_it() -> None:
    """⚠ Section 3: whoever finds a request finds its session; a crash between the two leaves an id that nobody has."""
    store = SimulatedStore()
    async with running(store) as replica:
        await replica.create(size=KIB, request_id="r")
    written = [call.key for call in store.calls if call.op == "put"]
    assert [key.endswith(keys.SESSION) for key in written] == [True, False]
    assert "/requests/" in written[1]


async def test_a_session_id_that_is_taken_is_left_to_its_session() -> None:
    """Session.json is written with If-None-Match: should entropy ever repeat, the second session takes another id."""
    store = SimulatedStore()
    told = iter([b"\1" * 16, b"\2" * 16, b"\1" * 16, b"\3" * 16, b"\4" * 16, b"\5" * 16])
    retrying = RetryingStore(store, rng=random.Random(1))
    creator = SessionCreator(
        records=SessionRecords(retrying),
        limits=TINY,
        entropy=lambda count: next(told)[:count],
        statistics=Statistics(),
        quotas=QuotaGuard(Quotas(), Usage(retrying, TaskScope(1), refresh_seconds=1)),
        bucket=store.bucket,
    )
    first, second = [
        await creator.create(TENANT, "somebody", NewSession(size=KIB), Deadline.after(30)) for _ in range(2)
    ]
    assert first.record.session_id == "01" * 16
    assert second.record.session_id == "04" * 16
    stored = store.state.get(keys.record(TENANT, SessionId("01" * 16), keys.SESSION))
    assert b"".join(piece or b"" for piece in stored.pieces) == first.record.encode()


async def test_no_decision_is_believed_for_two_seconds_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4, step 1."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = SessionId((await replica.create(size=KIB)).session_id)
        standing = Standing(SessionRecords(RetryingStore(store, rng=random.Random(1))), TINY, cached_sessions=8)
        target = await standing.open(TENANT, session, Deadline.after(30))
        decide(store.state, session, Outcome.ABORT)
        assert await standing.decided(target, Deadline.after(30)) is None
        assert ingest_service.standing.DECISION_ABSENT_SECONDS <= 2
        monkeypatch.setattr(ingest_service.standing, "DECISION_ABSENT_SECONDS", 0.0)
        with pytest.raises(SessionAborted):
            await standing.decided(target, Deadline.after(30))


async def test_a_stream_of_which_one_chunk_was_not_mended_is_answered_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """⚠ Section 4, step 1: what was taken before the decision may be none of the decision's."""
    monkeypatch.setattr(ingest_service.standing, "DECISION_ABSENT_SECONDS", 0.0)
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        call = replica.stub.UploadChunks(timeout=20)
        for message in [header(session), *chunk(0, PIECES[0])]:
            await call.write(message)
        statistics = replica.ingest.statistics
        await until(lambda: statistics.chunks_duplicate == 1, what="the first chunk is taken")
        await commit(replica, session, DATA)
        for message in chunk(1, PIECES[1]):
            await call.write(message)
        await call.done_writing()
        error = await refused(_answer(call))
        assert isinstance(error, SessionSealed)
        assert error.state is SessionState.COMMITTING


async def _answer(call: Any) -> object:
    try:
        return await call
    except aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def test_no_frame_is_read_while_memory_is_short_i13() -> None:
    """Section 4, step 2: the budget is asked before the first frame, so that flow control holds the client."""
    async with running() as replica:
        session = (await replica.create(size=len(DATA))).session_id
        services = replica.ingest.servicer._services
        all_of_it = await services.memory.lease(services.memory.size, Deadline.after(5))
        read: list[StreamMessage] = []

        async def messages() -> AsyncIterator[StreamMessage]:
            for message in (Header(session), Frame(0, 0, PIECES[0], blake3(PIECES[0]).digest())):
                read.append(message)
                yield message

        running_stream = asyncio.ensure_future(UploadStream(services, TENANT, messages(), Deadline.after(20)).run())
        await until(lambda: services.memory.waiting == 1, what="the stream waits for memory")
        assert read == [Header(session)]
        all_of_it.release()
        assert (await running_stream).coverage.stored_chunks == 1


async def test_a_stream_that_waits_for_memory_keeps_no_frame_i13() -> None:
    """gRPC's reader refers to the last message until it has the next, which is not asked for before there is memory."""
    async with running() as replica:
        session = (await replica.create(size=len(DATA))).session_id
        services = replica.ingest.servicer._services
        frame = Frame(0, 0, memoryview(PIECES[0]), blake3(PIECES[0]).digest())

        async def messages() -> AsyncIterator[StreamMessage]:
            yield Header(session)
            other.append(asyncio.ensure_future(services.memory.lease(services.memory.size, Deadline.after(20))))
            await until(lambda: services.memory.waiting == 1, what="another stream waits for all the memory")
            yield frame

        other: list[asyncio.Future[Lease]] = []
        stream = asyncio.ensure_future(UploadStream(services, TENANT, messages(), Deadline.after(20)).run())
        await until(lambda: bool(other) and other[0].done(), what="the other stream has it")
        await until(lambda: services.memory.waiting == 1, what="this one waits for the second chunk's")
        assert len(frame.data) == 0
        (await other[0]).release()
        assert (await stream).coverage.stored_chunks == 1


async def test_the_upload_carries_the_sessions_token() -> None:
    """Section 3: a HEAD of the object proves whose it is."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=KIB, metadata={"colour": "blue"})).session_id
        await replica.upload(session, [PIECES[0]])
        (receipt,) = [keys.parse_receipt(key) for key in receipt_keys(store, session)]
        found = await SessionRecords(RetryingStore(store, rng=random.Random(1))).session(
            TENANT, SessionId(session), Deadline.after(5)
        )
        multipart = await SessionRecords(RetryingStore(store, rng=random.Random(1))).multipart(
            TENANT, SessionId(session), Deadline.after(5)
        )
        assert found is not None
        assert multipart is not None
        await store.complete_multipart(
            found.record.key, multipart.record.upload_id, [Part(1, receipt.etag, receipt.sha256)], timeout=5
        )
        head = await store.head(found.record.key, timeout=5)
        assert head.metadata == {"colour": "blue", keys.TOKEN_METADATA: found.record.token}


async def test_receipts_of_a_session_that_is_purged_while_they_are_listed_are_not_found_i8() -> None:
    """⚠ The receipts go before session.json does: fewer of them would pass for holes."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        faults.just_before("list_objects", "/receipts/", lambda: purge(store.state, session))
        assert isinstance(await refused(replica.receipts(session)), SessionNotFound)


async def test_coverage_of_a_session_that_is_purged_while_it_is_listed_is_not_found_i8() -> None:
    """⚠ As above, for GetSession while assembly is away."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        faults.just_before("list_objects", "/receipts/", lambda: purge(store.state, session))
        assert isinstance(await refused(replica.get(session)), SessionNotFound)


async def test_receipts_are_told_over_as_many_pages_as_the_store_makes() -> None:
    """C2, R1: a hole in what assembly is told would be a hole in the object."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create()).session_id
        for index in range(1001):  # one more than a page of S3 has
            receipt = Receipt(index, KIB, bytes(32), bytes(32), bytes(32), "e")
            await store.put(keys.receipt(TENANT, SessionId(session), receipt), b"", timeout=5)
        assert [receipt.chunk_index for receipt in await replica.receipts(session)] == list(range(1001))


async def test_a_client_that_is_never_silent_and_yet_too_slow_is_given_up_i14() -> None:
    """Section 11, "1 byte a second": a chunk has the idle time and what its bytes take at the lowest rate, in all."""
    async with running(stream_idle_seconds=1.0, stream_min_rate=1e6) as replica:
        data = b"s" * 80
        session = (await replica.create(size=len(data))).session_id

        async def messages() -> AsyncIterator[StreamMessage]:
            yield Header(session)
            for offset in range(len(data)):
                await asyncio.sleep(0.05)  # the client's slowness is the subject
                last = offset == len(data) - 1
                yield Frame(0, offset, data[offset : offset + 1], blake3(data).digest() if last else b"")

        services = replica.ingest.servicer._services
        with pytest.raises(DeadlineExceeded):
            await UploadStream(services, TENANT, messages(), Deadline.after(60)).run()
        assert services.memory.in_use == 0


async def test_a_client_that_says_nothing_between_two_chunks_is_given_up_i14() -> None:
    """Section 11, "silence after the header"; the call's own deadline may be half an hour."""
    async with running(stream_idle_seconds=0.2) as replica:
        session = (await replica.create(size=len(DATA))).session_id

        async def messages() -> AsyncIterator[StreamMessage]:
            yield Header(session)
            await asyncio.get_running_loop().create_future()

        services = replica.ingest.servicer._services
        with pytest.raises(DeadlineExceeded):
            async with asyncio.timeout(20):
                await UploadStream(services, TENANT, messages(), Deadline.after(60)).run()
