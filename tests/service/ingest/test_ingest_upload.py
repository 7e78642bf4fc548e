"""Uploading: what a client sees when all goes well, and when chunks come twice or differ."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from blake3 import blake3
from grpc import aio
from ingest_replica import KIB, chunk, chunks_of, header, receipt_keys, refused, running, until
from store_faults import Faults

from sealane.domain.errors import ChunkConflict, ChunkCorrupt
from sealane.rpc.status import from_rpc_error
from sealane.store.simulated import SimulatedBucket, SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb


def _data(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_a_whole_object_is_covered_and_its_prefix_digest_is_its_blake3() -> None:
    data = _data(5 * KIB + 77)
    async with running() as replica:
        session = await replica.create(size=len(data), filename="a.bin")
        answer = await replica.upload(session.session_id, chunks_of(data))
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED] * 6
        assert answer.coverage.complete
        shown = await replica.get(session.session_id)
        assert shown.coverage.prefix.blake3 == blake3(data).digest()
        assert shown.coverage.stored_bytes == len(data)
        assert shown.outcome_unavailable  # nobody listens where assembly should be


async def test_the_bytes_in_the_store_are_those_sent_and_each_receipt_says_so() -> None:
    data = _data(3 * KIB)
    store = SimulatedStore()
    async with running(store) as replica:
        session = await replica.create(size=len(data))
        await replica.upload(session.session_id, chunks_of(data))
        receipts = await replica.receipts(session.session_id)
        assert [r.chunk_index for r in receipts] == [0, 1, 2]
        assert [r.blake3 for r in receipts] == [blake3(c).digest() for c in chunks_of(data)]
        assert replica.ingest.memory.in_use == 0


async def test_chunks_in_any_order_over_two_replicas_that_share_one_store() -> None:
    data = _data(8 * KIB)
    pieces = chunks_of(data)
    bucket = SimulatedBucket()
    async with running(SimulatedStore(bucket)) as one, running(SimulatedStore(bucket)) as two:
        session = (await one.create(size=len(data))).session_id
        await asyncio.gather(
            one.upload(session, {5: pieces[5], 1: pieces[1], 7: pieces[7]}),
            two.upload(session, {4: pieces[4], 0: pieces[0]}),
        )
        half = await two.get(session)
        assert [(r.first, r.last) for r in half.coverage.missing_ranges] == [(2, 3), (6, 6)]
        assert half.coverage.prefix.blake3 == blake3(data[: 2 * KIB]).digest()
        await two.upload(session, {6: pieces[6], 3: pieces[3], 2: pieces[2]})
        assert (await one.get(session)).coverage.prefix.blake3 == blake3(data).digest()
        # The multipart.json race ⚠: whoever lost it aborted its own upload, and only that.
        assert len(bucket.open_uploads()) == 1


async def test_a_chunk_sent_again_is_a_duplicate_and_nothing_goes_to_the_store() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=2 * KIB)).session_id
        pieces = chunks_of(_data(2 * KIB))
        await replica.upload(session, pieces)
        before = sum(call.op == "upload_part" for call in store.calls)
        answer = await replica.upload(session, {1: pieces[1]})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_DUPLICATE]
        assert sum(call.op == "upload_part" for call in store.calls) == before
        assert len(receipt_keys(store, session)) == 2


async def test_other_bytes_under_a_stored_index_are_a_conflict_and_the_stored_ones_stay_i5() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=2 * KIB)).session_id
        first, other = _data(KIB, 1), _data(KIB, 2)
        await replica.upload(session, {0: first})
        error = await refused(replica.upload(session, {0: other}))
        assert isinstance(error, ChunkConflict)
        assert (error.chunks[0].expected, error.chunks[0].actual) == (blake3(first).digest(), blake3(other).digest())
        assert [r.blake3 for r in await replica.receipts(session)] == [blake3(first).digest()]


async def test_one_index_twice_in_one_stream_is_stored_once() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=KIB)).session_id
        data = _data(KIB)
        answer = await replica.send([header(session), *chunk(0, data), *chunk(0, data)])
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED, pb.CHUNK_STATUS_DUPLICATE]


async def test_two_uploads_of_one_index_in_one_stream_follow_one_another() -> None:
    """Side by side they could overtake one another at the store; the second then finds the first one's receipt."""
    faults = Faults()
    held = faults.hold("upload_part")
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=KIB)).session_id
        data = _data(KIB)
        sending = asyncio.ensure_future(replica.send([header(session), *chunk(0, data), *chunk(0, data)]))
        await held.reached.wait()
        await until(lambda: replica.ingest.memory.in_use == 2 * KIB, what="the second one has arrived, too")
        held.go.set()
        answer = await sending
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_STORED, pb.CHUNK_STATUS_DUPLICATE]
        assert sum(call.op == "upload_part" for call in store.calls) == 1


async def test_a_wrong_digest_is_chunk_corrupt_stores_nothing_and_harms_no_other_stream() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=4 * KIB)).session_id
        pieces = chunks_of(_data(4 * KIB))
        bad = [header(session), *chunk(0, pieces[0], digest=b"\1" * 32)]
        good = {1: pieces[1], 2: pieces[2], 3: pieces[3]}
        error, answer = await asyncio.gather(refused(replica.send(bad)), replica.upload(session, good))
        assert isinstance(error, ChunkCorrupt)
        assert error.chunks[0].index == 0
        assert len(answer.chunks) == 3
        assert [r.chunk_index for r in await replica.receipts(session)] == [1, 2, 3]


async def test_a_chunk_that_fails_ends_its_stream_at_once_though_the_client_says_nothing_more() -> None:
    async with running(stream_idle_seconds=600.0) as replica:
        session = (await replica.create(size=4 * KIB)).session_id
        call = replica.stub.UploadChunks(timeout=60)
        for message in [header(session), *chunk(0, _data(KIB), digest=b"\1" * 32)]:
            await call.write(message)
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert isinstance(from_rpc_error(caught.value), ChunkCorrupt)


async def test_a_stream_has_no_more_parts_in_flight_than_allowed_and_receives_one_chunk_beside_them() -> None:
    faults = Faults()
    held = faults.hold("upload_part", times=100)
    store = SimulatedStore(faults=faults)
    async with running(store, parts_in_flight=2) as replica:
        session = (await replica.create(size=6 * KIB)).session_id
        sending = asyncio.ensure_future(replica.upload(session, chunks_of(_data(6 * KIB))))
        await until(lambda: sum(c.op == "upload_part" for c in store.calls) == 2, what="two parts are in flight")
        assert replica.ingest.memory.in_use == 2 * KIB  # and no third chunk is read before one of them has ended
        held.go.set()
        assert (await sending).coverage.complete
        assert replica.ingest.memory.peak <= 3 * KIB


async def test_a_header_alone_answers_the_coverage() -> None:
    async with running() as replica:
        session = (await replica.create(size=KIB)).session_id
        answer = await replica.send([header(session)])
        assert not answer.chunks
        assert [(r.first, r.last) for r in answer.coverage.missing_ranges] == [(0, 0)]


async def test_sixty_four_sessions_at_once_of_equal_and_of_different_content_never_mix() -> None:
    contents = [_data(3 * KIB + 100, seed % 32) for seed in range(64)]  # each content twice
    async with running() as replica:

        async def whole(data: bytes) -> bytes:
            session = (await replica.create(size=len(data), filename="same-name")).session_id
            await replica.upload(session, chunks_of(data))
            return (await replica.get(session)).coverage.prefix.blake3

        digests = await asyncio.gather(*(whole(data) for data in contents))
        assert digests == [blake3(data).digest() for data in contents]
        assert replica.ingest.memory.peak <= replica.ingest.memory.size  # I13
        assert replica.ingest.memory.in_use == 0


async def test_the_line_of_an_upload_streams_outcome_names_its_session(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as replica:
        session = (await replica.create(size=KIB)).session_id
        capsys.readouterr()
        await replica.upload(session, [_data(KIB)])
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    outcomes = [line for line in lines if line.get("method", "").endswith("/UploadChunks")]
    assert [(line["code"], line["session_id"]) for line in outcomes] == [("OK", session)]
