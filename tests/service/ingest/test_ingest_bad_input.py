"""Every bad input of protocol.md section 11 gets its code and reason; nothing is stored, and the server goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from blake3 import blake3
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from ingest_replica import KIB, Frames, Replica, chunk, frame, header, receipt_keys, refused, running, send_all, until

from ingest_service.short_chunk import ShortChunkRule
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.domain.errors import (
    ChunkOutOfRange,
    DeadlineExceeded,
    InvalidDigest,
    InvalidFilename,
    InvalidMetadata,
    InvalidRequest,
    InvalidSessionId,
    InvalidSize,
    InvalidStream,
    Overloaded,
    Reason,
    SessionNotFound,
)
from sealane.domain.limits import Limits
from sealane.rpc.status import TABLE, from_rpc_error
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

DATA = b"a" * KIB
DIGEST = blake3(DATA).digest()
SIZE = 3 * KIB + 10
"""Chunks 0, 1, 2 of 1 KiB and chunk 3 of 10 bytes."""

Stream = Callable[[str], Frames]

STREAMS: dict[str, tuple[Stream, type[Exception], str]] = {
    "empty stream": (lambda s: [], InvalidStream, "header"),
    "first message not a header": (lambda s: chunk(0, DATA), InvalidStream, "header"),
    "frame before header": (lambda s: [*chunk(0, DATA), header(s)], InvalidStream, "header"),
    "message with nothing in it": (lambda s: [header(s), pb.UploadChunksRequest()], InvalidStream, "message"),
    "header twice": (lambda s: [header(s), header(s)], InvalidStream, "header"),
    "header in the middle of a chunk": (
        lambda s: [header(s), frame(0, 0, DATA[:10]), header(s), frame(None, 10, DATA[10:], DIGEST)],
        InvalidStream,
        "header",
    ),
    "no index on the first frame": (lambda s: [header(s), frame(None, 0, DATA, DIGEST)], InvalidStream, "chunk_index"),
    "digest of 31 bytes": (lambda s: [header(s), frame(0, 0, DATA, DIGEST[:31])], InvalidDigest, "blake3"),
    "digest of 33 bytes": (lambda s: [header(s), frame(0, 0, DATA, DIGEST + b"x")], InvalidDigest, "blake3"),
    "digest of 64 hex characters": (
        lambda s: [header(s), frame(0, 0, DATA, DIGEST.hex().encode())],
        InvalidDigest,
        "blake3",
    ),
    "end in the middle of a chunk": (lambda s: [header(s), frame(0, 0, DATA[:10])], InvalidStream, "frame"),
    "all the bytes and no digest": (lambda s: [header(s), frame(0, 0, DATA)], InvalidStream, "frame"),
    "interleaved chunks": (
        lambda s: [header(s), frame(0, 0, DATA[:10]), frame(1, 0, DATA[:10])],
        InvalidStream,
        "chunk_index",
    ),
    "first frame not at offset 0": (lambda s: [header(s), frame(0, 10, DATA[10:], DIGEST)], InvalidStream, "offset"),
    "a gap between frames": (
        lambda s: [header(s), frame(0, 0, DATA[:10]), frame(0, 20, DATA[20:], DIGEST)],
        InvalidStream,
        "offset",
    ),
    "reordered frames": (
        lambda s: [header(s), frame(0, 0, DATA[:10]), frame(0, 20, DATA[20:]), frame(0, 10, DATA[10:20], DIGEST)],
        InvalidStream,
        "offset",
    ),
    "a later frame without its offset": (
        lambda s: [header(s), frame(0, 0, DATA[:10]), frame(0, 0, DATA[10:], DIGEST)],
        InvalidStream,
        "offset",
    ),
    "negative offset": (lambda s: [header(s), frame(0, -1, DATA, DIGEST)], InvalidStream, "offset"),
    "frame without data and digest": (lambda s: [header(s), frame(0, 0, b"")], InvalidStream, "data"),
    "frame over the limit": (lambda s: [header(s), frame(0, 0, b"a" * (KIB + 1), DIGEST)], InvalidStream, "data"),
    "zero-length chunk": (lambda s: [header(s), *chunk(0, b"")], ChunkOutOfRange, "length"),
    "short chunk that is not the last": (lambda s: [header(s), *chunk(1, DATA[:-1])], ChunkOutOfRange, "length"),
    "last chunk too short": (lambda s: [header(s), *chunk(3, b"a" * 9)], ChunkOutOfRange, "length"),
    "last chunk too long": (lambda s: [header(s), *chunk(3, b"a" * 11)], ChunkOutOfRange, "length"),
    "chunk over chunk_size": (lambda s: [header(s), *chunk(0, DATA + b"a")], ChunkOutOfRange, "length"),
    "index negative": (lambda s: [header(s), *chunk(-1, DATA)], ChunkOutOfRange, "chunk_index"),
    "index n": (lambda s: [header(s), *chunk(4, DATA)], ChunkOutOfRange, "chunk_index"),
    "index 10,000": (lambda s: [header(s), *chunk(10_000, DATA)], ChunkOutOfRange, "chunk_index"),
    "index 2^63-1": (lambda s: [header(s), *chunk(2**63 - 1, DATA)], ChunkOutOfRange, "chunk_index"),
    "index -2^63": (lambda s: [header(s), *chunk(-(2**63), DATA)], ChunkOutOfRange, "chunk_index"),
    "unknown session": (lambda s: [header("0" * 32), *chunk(0, DATA)], SessionNotFound, ""),
}


@pytest.mark.parametrize("row", STREAMS)
async def test_a_bad_stream_gets_its_reason_stores_nothing_and_the_server_goes_on(row: str) -> None:
    make, kind, field = STREAMS[row]
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create(size=SIZE)).session_id
        before = store.state.keys()
        error = await refused(replica.send(make(session)))
        assert type(error) is kind
        assert getattr(error, "field", "") == field
        assert store.state.keys() == before
        assert not store.state.open_uploads()
        await _goes_on(replica, session)
        info = await replica.info()
        assert info.statistics.errors_by_reason == {error.reason.value: 1}


BAD_IDS = [
    "",
    "../" * 10,
    "a" * 31,
    "A" * 32,
    "0" * 33,
    "0" * 31 + "\n",
    "0" * 31 + "\0",
    "%2e" * 10,
    "0" * 10_240,
    "é" * 32,
]


@pytest.mark.parametrize("session", BAD_IDS, ids=repr)
@pytest.mark.parametrize("method", ["UploadChunks", "GetSession", "WatchSession", "StreamReceipts"])
async def test_a_malformed_session_id_is_refused_everywhere_before_any_key_is_made_of_it_i12(
    session: str, method: str
) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        error = await refused(_call(replica, method, session))
        assert type(error) is InvalidSessionId
        assert not store.calls


async def _call(replica: Replica, method: str, session: str) -> Any:
    match method:
        case "UploadChunks":
            return await replica.send([header(session)])
        case "GetSession":
            return await replica.get(session)
        case "StreamReceipts":
            return await replica.receipts(session)
        case _:
            try:
                return [v async for v in replica.stub.WatchSession(pb.WatchSessionRequest(session_id=session))]
            except aio.AioRpcError as error:
                raise from_rpc_error(error) from error


CREATES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "filename with a separator": ({"filename": "a/b"}, InvalidFilename, "filename"),
    "filename with a control character": ({"filename": "a\x07b"}, InvalidFilename, "filename"),
    "filename of dots": ({"filename": ".."}, InvalidFilename, "filename"),
    "filename with a bidi override": ({"filename": "a\u202egpj.exe"}, InvalidFilename, "filename"),
    "filename not in NFC": ({"filename": "e\u0301"}, InvalidFilename, "filename"),
    "filename of 256 bytes": ({"filename": "a" * 256}, InvalidFilename, "filename"),
    "metadata of sealane's own": ({"metadata": {"sealane-token": "x"}}, InvalidMetadata, "metadata"),
    "metadata not ASCII": ({"metadata": {"a": "é"}}, InvalidMetadata, "metadata"),
    "metadata too large": ({"metadata": {"a": "x" * 1600}}, InvalidMetadata, "metadata"),
    "metadata with a line break": ({"metadata": {"a": "x\r\ny: z"}}, InvalidMetadata, "metadata"),
    "negative size": ({"size": -1}, InvalidSize, "size"),
    "size that no plan holds": ({"size": 2**63 - 1}, InvalidSize, "size"),
    "chunk_size not a power of two": ({"chunk_size": 3000}, InvalidSize, "chunk_size"),
    "chunk_size negative": ({"chunk_size": -1024}, InvalidSize, "chunk_size"),
    "chunk_size too large": ({"chunk_size": 8192}, InvalidSize, "chunk_size"),
    "too many chunks": ({"size": 10_001 * KIB, "chunk_size": KIB}, InvalidSize, "chunk_size"),
    "ttl too short": ({"ttl": Duration(seconds=1)}, InvalidRequest, "ttl"),
    "ttl negative": ({"ttl": Duration(seconds=-100)}, InvalidRequest, "ttl"),
    "ttl malformed": ({"ttl": Duration(seconds=100, nanos=-1)}, InvalidRequest, "ttl"),
    "ttl too long": ({"ttl": Duration(seconds=10**9)}, InvalidRequest, "ttl"),
    "content type malformed": ({"content_type": "a\r\nb: c"}, InvalidRequest, "content_type"),
    "request_id too long": ({"request_id": "x" * 129}, InvalidRequest, "request_id"),
    "request_id not ASCII": ({"request_id": "é"}, InvalidRequest, "request_id"),
}


@pytest.mark.parametrize("row", CREATES)
async def test_a_bad_create_gets_its_reason_and_nothing_is_stored(row: str) -> None:
    fields, kind, field = CREATES[row]
    store = SimulatedStore()
    async with running(store) as replica:
        error = await refused(replica.create(**fields))
        assert type(error) is kind
        assert getattr(error, "field", "") == field
        assert not store.calls


async def test_a_list_page_too_large_a_token_made_up_and_a_state_unknown_are_refused() -> None:
    async with running() as replica:
        for fields, reason in (
            ({"page_size": 1001}, Reason.INVALID_REQUEST),
            ({"page_size": -1}, Reason.INVALID_REQUEST),
            ({"page_token": "AAAA"}, Reason.INVALID_PAGE_TOKEN),
            ({"page_token": "é"}, Reason.INVALID_PAGE_TOKEN),
            ({"state": 999}, Reason.INVALID_REQUEST),
        ):
            error = await refused(replica.call("ListSessions", pb.ListSessionsRequest(**fields)))
            assert error.reason is reason


# --- while the size is unknown ---


UNKNOWN: dict[str, tuple[dict[int, bytes], Stream, str]] = {
    "a second short chunk": ({2: b"short"}, lambda s: [header(s), *chunk(1, b"also short")], "length"),
    "a chunk behind the short one": ({1: b"short"}, lambda s: [header(s), *chunk(2, DATA)], "chunk_index"),
    "a short chunk with others behind it": ({2: DATA}, lambda s: [header(s), *chunk(1, b"short")], "length"),
    "both in one stream": ({}, lambda s: [header(s), *chunk(0, b"short"), *chunk(1, DATA)], "chunk_index"),
    "zero-length chunk": ({}, lambda s: [header(s), *chunk(0, b"")], "length"),
    "index 10,000": ({}, lambda s: [header(s), *chunk(10_000, DATA)], "chunk_index"),
}


@pytest.mark.parametrize("row", UNKNOWN)
async def test_while_the_size_is_unknown_only_one_chunk_is_short_and_none_is_behind_it(row: str) -> None:
    first, make, field = UNKNOWN[row]
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create()).session_id
        if first:
            await replica.upload(session, first)
        error = await refused(replica.send(make(session)))
        assert isinstance(error, ChunkOutOfRange)
        assert error.field == field
        assert {r.chunk_index for r in await replica.receipts(session)} <= {0, *first}


async def test_while_the_size_is_unknown_a_short_chunk_is_held_against_what_other_streams_brought_meanwhile() -> None:
    async with running() as replica:
        session = (await replica.create()).session_id
        call = replica.stub.UploadChunks(timeout=20)
        await call.write(header(session))
        await until(lambda: replica.ingest.memory.in_use == KIB, what="the stream knows what was stored, and waits")
        await replica.upload(session, {2: DATA})
        for message in chunk(1, b"short"):
            await call.write(message)
        await call.done_writing()
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        error = from_rpc_error(caught.value)
        assert isinstance(error, ChunkOutOfRange)
        assert error.field == "length"
        assert [r.chunk_index for r in await replica.receipts(session)] == [2]


async def test_while_the_size_is_unknown_a_chunk_behind_the_short_one_is_refused_at_its_first_frame() -> None:
    """At once, not when all of its bytes have been sent."""
    async with running(stream_idle_seconds=600.0) as replica:
        session = (await replica.create()).session_id
        await replica.upload(session, {1: b"short"})
        call = replica.stub.UploadChunks(timeout=60)
        await call.write(header(session))
        await call.write(frame(2, 0, DATA[:10]))
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        error = from_rpc_error(caught.value)
        assert isinstance(error, ChunkOutOfRange)
        assert (error.field, error.maximum) == ("chunk_index", 1)


async def test_while_the_size_is_unknown_the_short_chunk_may_be_sent_again() -> None:
    async with running() as replica:
        session = (await replica.create()).session_id
        await replica.upload(session, [DATA, b"short"])
        answer = await replica.upload(session, {1: b"short"})
        assert [c.status for c in answer.chunks] == [pb.CHUNK_STATUS_DUPLICATE]
        assert not answer.coverage.complete  # nobody can know yet


# --- an object without bytes ---


def test_of_several_short_chunks_the_lowest_is_the_last_one() -> None:
    """Streams at once may have left more than one: behind the first of them nothing more is taken."""
    for order in ((4, 2), (2, 4)):
        rule = ShortChunkRule(KIB)
        for index in order:
            rule.note(index, KIB - 1)
        rule.check_index(2)
        with pytest.raises(ChunkOutOfRange):
            rule.check_index(3)


async def test_an_empty_object_has_no_chunk_that_could_be_sent() -> None:
    async with running() as replica:
        session = (await replica.create(size=0)).session_id
        assert (await replica.send([header(session)])).coverage.complete
        error = await refused(replica.send([header(session), *chunk(0, b"")]))
        assert isinstance(error, ChunkOutOfRange)


# --- on the wire itself ---


async def test_bytes_that_are_no_message_get_invalid_stream_and_no_parsers_text() -> None:
    async with running() as replica, aio.insecure_channel(replica.address) as raw:
        call = raw.stream_unary("/sealane.v1.IngestService/UploadChunks")
        with pytest.raises(aio.AioRpcError) as caught:
            await call(_each([b"\xff\xff\xff"]))
        error = from_rpc_error(caught.value)
        assert type(error) is InvalidStream
        assert caught.value.code() is TABLE[Reason.INVALID_STREAM].code


async def test_a_frame_of_a_mebibyte_is_taken_and_one_byte_more_is_refused() -> None:
    mebibyte = 1 << 20
    limits = replace(Limits(), min_chunk_bytes=2 * mebibyte, default_chunk_bytes=2 * mebibyte)
    data = b"x" * (2 * mebibyte)
    cheap = {"limits": limits, "memory_budget": 8 * mebibyte, "max_message_bytes": mebibyte + 64 * KIB}
    async with running(**cheap) as replica:
        session = (await replica.create(size=2 * mebibyte)).session_id
        digest = b"\0" * 32  # wrong, for the reference's chaining value takes long: it is enough that all was read
        taken = await refused(
            replica.send([header(session), frame(0, 0, data[:mebibyte]), frame(0, mebibyte, data[mebibyte:], digest)])
        )
        assert taken.reason is Reason.CHUNK_CORRUPT
        error = await refused(replica.send([header(session), frame(0, 0, data[: mebibyte + 1])]))
        assert type(error) is InvalidStream
        # Far beyond it gRPC itself refuses the message, before it is in memory.
        with pytest.raises(aio.AioRpcError) as caught:
            await replica.stub.UploadChunks(_each([header(session), frame(0, 0, data)]))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_compressed_stream_is_refused_so_that_no_bomb_is_unpacked() -> None:
    async with running() as replica:
        session = (await replica.create(size=SIZE)).session_id
        call = replica.stub.UploadChunks(compression=grpc.Compression.Gzip, timeout=20)
        error = await refused(send_all(call, [header(session), *chunk(0, DATA)]))
        assert error.reason is Reason.UNIMPLEMENTED
        await _goes_on(replica, session)


# --- slow and silent clients ---


@pytest.mark.parametrize("said", [0, 1, 2, 3], ids=["nothing", "a header", "half a chunk", "a chunk"])
async def test_a_silent_client_is_given_up_and_its_memory_comes_back(said: int) -> None:
    async with running(stream_idle_seconds=0.05) as replica:
        session = (await replica.create(size=SIZE)).session_id
        messages = [header(session), frame(0, 0, DATA[:10]), frame(None, 10, DATA[10:], DIGEST)][:said]
        call = replica.stub.UploadChunks(timeout=20)
        for message in messages:
            await call.write(message)
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert type(from_rpc_error(caught.value)) is DeadlineExceeded
        assert replica.ingest.memory.in_use == 0
        await until(lambda: replica.ingest.scope.running == 0, what="no upload in flight")
        assert len(await replica.receipts(session)) == (1 if said == 3 else 0)


async def test_a_byte_at_a_time_is_given_up_by_the_minimum_rate() -> None:
    """Never silent for long, and yet too slow: the client stops only when the server has ended the call."""
    async with running(stream_idle_seconds=0.2, stream_min_rate=1e6) as replica:
        session = (await replica.create(size=SIZE)).session_id
        stream = UploadStream(replica.stub.UploadChunks(timeout=20), stall_seconds=20.0)
        await stream.send(header(session))  # type: ignore[arg-type]  # the stub serializes
        with contextlib.suppress(StreamEnded):
            for offset in range(KIB):
                await stream.send(frame(0 if offset == 0 else None, offset, b"a"))  # type: ignore[arg-type]
                await asyncio.sleep(0.02)  # the client's slowness is the subject
        assert type(await refused(stream.answer())) is DeadlineExceeded


async def test_streams_beyond_the_limit_are_overloaded_with_a_time_to_come_back() -> None:
    async with running(max_streams=2) as replica:
        session = (await replica.create(size=SIZE)).session_id
        held = [replica.stub.UploadChunks(timeout=20) for _ in range(2)]
        for call in held:
            await call.write(header(session))
        await until(lambda: replica.ingest.streams.held == 2, what="two streams open")
        error = await refused(replica.upload(session, {0: DATA}))
        assert type(error) is Overloaded
        assert error.retry_after > 0
        for call in held:
            await call.done_writing()
            await call
        await _goes_on(replica, session)


async def _goes_on(replica: Replica, session: str) -> None:
    """The very same server takes the right bytes."""
    answer = await replica.upload(session, {0: DATA, 1: DATA, 2: DATA, 3: b"a" * 10})
    assert answer.coverage.complete
    assert replica.ingest.memory.in_use == 0
    assert isinstance(replica.store, SimulatedStore)
    assert len(receipt_keys(replica.store, session)) == 4


async def _each(messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message
