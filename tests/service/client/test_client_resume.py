"""Streams break, answers get lost, servers come and go, bytes flip: the upload goes on, and sends little twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from client_world import KIB, TINY, TINY_FRAMES, World, content, options, world
from resuming import at_frame, check

from sealane.client import BackoffPolicy, BrokenStream, GaveUp, SessionState
from sealane.client.errors import (
    ChunkCorrupt,
    DeadlineExceeded,
    PeerUnavailable,
    Unauthenticated,
)
from sealane.client.frames import frames, header
from sealane.client.streams import MAX_CORRUPT
from sealane.rpc.channel import channel
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc


def arrived_twice(here: World, chunks: int) -> int:
    """Chunks (of one frame each) that reached a service more often than once. What was cut off in a socket's buffer, at
    this size whole streams, did not."""
    return sum(replica.trouble.frames for replica in here.ingests) - chunks


@pytest.mark.parametrize("parallel", [1, 4])
async def test_a_killed_and_restarted_ingest_costs_only_the_chunks_that_were_on_the_way(
    here: World, parallel: int
) -> None:
    """A restart loses no acknowledged chunk; sent twice: at most (parts in flight + 1) chunks a stream."""

    async def restart() -> None:
        await here.ingest.stop()
        await here.ingest.start()

    data = content(40 * KIB)
    restarted = at_frame(here, 23, restart)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=parallel, chunks_per_stream=8))
    await asyncio.wait_for(restarted.wait(), 20)
    check(here, result, data)
    assert result.retries >= 1
    assert arrived_twice(here, 40) <= parallel * (4 + 1)


async def test_a_draining_replica_is_left_for_another_and_at_most_one_chunk_a_stream_goes_twice(two: World) -> None:
    data = content(40 * KIB)
    drained = at_frame(two, 7, two.ingest.drain)
    async with two.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2, chunks_per_stream=5))
    await asyncio.wait_for(drained.wait(), 20)
    check(two, result, data)
    assert arrived_twice(two, 40) <= 2


async def test_a_lost_answer_of_a_stream_sends_nothing_twice(here: World) -> None:
    """Nothing exists only in a reply: the coverage says what the lost acknowledgement would have said."""
    here.ingest.trouble.lose_answers["UploadChunks"] = 3
    data = content(20 * KIB)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2, chunks_per_stream=4))
    check(here, result, data)
    assert result.retries == 3
    assert result.bytes_sent == len(data)
    assert result.broken_streams == (BrokenStream("PEER_UNAVAILABLE", 0),) * 3


async def test_lost_answers_of_create_and_commit_do_no_harm(here: World) -> None:
    here.ingest.trouble.lose_answers["CreateSession"] = 2
    here.assembly.trouble.lose_answers["CommitSession"] = 2
    data = content(3 * KIB)
    async with here.client() as client:
        result = await client.upload(data)
        assert [s.session_id async for s in client.list_sessions(state=SessionState.COMMITTED)] == [result.session_id]
    check(here, result, data)
    assert result.committed_object.replayed
    assert here.assembly.trouble.calls["CommitSession"] == 3


async def test_a_flipped_byte_is_sent_again(here: World) -> None:
    flipped: list[int] = []

    def flip(frame: Any) -> Any:
        if here.ingest.trouble.frames in (3, 9):
            flipped.append(frame.chunk_index)
            return replace(frame, data=bytes([frame.data[0] ^ 1]) + bytes(frame.data[1:]))
        return frame

    here.ingest.trouble.on_frame = flip
    data = content(12 * KIB)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2))
    assert len(flipped) == 2
    check(here, result, data)


async def test_a_chunk_that_never_arrives_whole_ends_the_upload(here: World) -> None:
    """It is sent once, and again as often as an accident may befall it; then the upload says so."""
    sent = 0

    def flip(frame: Any) -> Any:
        nonlocal sent
        if frame.chunk_index != 2:
            return frame
        sent += frame.blake3 != b""
        return replace(frame, data=b"x" * len(frame.data))

    here.ingest.trouble.on_frame = flip
    async with here.client() as client:
        with pytest.raises(ChunkCorrupt) as refused:
            await client.upload(content(4 * KIB), stream_options=options(parallel=1))
    assert [chunk.index for chunk in refused.value.chunks] == [2]
    assert sent == MAX_CORRUPT + 1
    assert here.objects() == []


async def test_an_iterator_survives_broken_streams_as_its_chunks_are_kept_until_acknowledged(here: World) -> None:
    data = content(60 * KIB)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 900):
            yield data[start : start + 900]

    async def restart() -> None:
        await here.ingest.stop()
        await here.ingest.start()

    restarted = at_frame(here, 17, restart)
    here.ingest.trouble.lose_answers["UploadChunks"] = 1
    async with here.client() as client:
        result = await client.upload(pieces(), stream_options=TINY_FRAMES)
    await asyncio.wait_for(restarted.wait(), 20)
    check(here, result, data)


async def test_an_iterator_s_chunks_are_kept_where_the_server_names_only_the_first_of_the_holes(tmp_path: Path) -> None:
    """A reply lists so many ranges; the others are missing nevertheless, and nobody could send them again."""
    data = content(6 * KIB)

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    async with world(tmp_path, limits=replace(TINY, max_missing_ranges=1)) as here, here.client() as client:
        session = (await client.create_session(filename="f", size=len(data))).session_id
        async with channel(here.ingest.address, own_connection=True) as raw:
            messages = [header(session)]
            for index in (0, 2, 4):
                chunk = memoryview(data)[index * KIB : (index + 1) * KIB]
                messages += [message for _, message in frames(index, chunk, blake3(chunk).digest(), KIB)]
            await ingest_service_pb2_grpc.IngestServiceStub(raw).UploadChunks(
                pb.UploadChunksRequest.FromString(message) for message in messages
            )
        here.ingest.trouble.before["UploadChunks"] = lambda: asyncio.sleep(0.5)  # the stream is whole by then, and
        here.ingest.trouble.refuse["UploadChunks"] = PeerUnavailable(retry_after=0.0)  # nothing of it was stored
        result = await client.upload(pieces(), session_id=session, stream_options=options(parallel=1))
        check(here, result, data)
        assert result.retries == 1


async def test_an_upload_outlives_any_number_of_tokens(here: World) -> None:
    """More than it has streams: what counts are refusals in a row, with nothing acknowledged in between."""
    data = content(60 * KIB)

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(60):
            if number % 10 == 9:  # at most five chunks are read ahead: the one before was refused by now
                here.ingest.trouble.refuse["UploadChunks"] = Unauthenticated()
            yield data[number * KIB : (number + 1) * KIB]

    few = options(parallel=2, chunks_per_stream=2)
    async with here.client(token=lambda: "the-token-of-the-hour") as client:
        session = await client.create_session(filename="f", chunk_size=KIB)
        result = await client.upload(pieces(), session_id=session.session_id, stream_options=few)
    check(here, result, data)
    assert [broken.reason for broken in result.broken_streams].count("UNAUTHENTICATED") > few.parallel


async def test_a_full_server_is_asked_again_when_it_said_to(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED OVERLOADED: more lanes than the replica has streams."""
    async with world(tmp_path, max_streams=1) as here:
        data = content(30 * KIB)
        async with here.client() as client:
            result = await client.upload(data, stream_options=options(parallel=3, chunks_per_stream=2))
        check(here, result, data)


async def test_without_progress_the_client_gives_up_and_says_why_and_a_later_try_resumes(
    here: World, tmp_path: Path
) -> None:
    data = content(12 * KIB)
    path = tmp_path / "file"
    path.write_bytes(data)
    stopped = at_frame(here, 9, here.ingest.stop)
    async with here.client(backoff=BackoffPolicy(0.01, 0.05, patience_seconds=1.5)) as client:
        with pytest.raises(GaveUp) as gave_up:
            await client.upload(path, stream_options=options(parallel=1, chunks_per_stream=2))
    await asyncio.wait_for(stopped.wait(), 20)
    assert isinstance(gave_up.value.last, PeerUnavailable)
    assert len(here.journals()) == 1
    await here.ingest.start()
    async with here.client() as client:
        result = await client.upload(path)
    check(here, result, data)
    assert result.bytes_resumed >= 6 * KIB
    assert result.bytes_sent == len(data) - result.bytes_resumed


async def test_what_a_broken_stream_stored_is_progress_however_long_the_stream_took(here: World) -> None:
    """The patience is over when the second stream breaks, but that stream stored every chunk: nobody gives up."""
    patience = 1.2  # more than a PeerUnavailable asks for
    data = content(3 * KIB)
    trouble = here.ingest.trouble

    def look(frame: Any) -> Any:
        return refuse() if trouble.calls["UploadChunks"] == 1 else slowly(frame)

    async def refuse() -> Any:
        raise PeerUnavailable("The first stream breaks before it stores anything.", retry_after=0.0)

    async def slowly(frame: Any) -> Any:
        trouble.lose_answers["UploadChunks"] = 1
        trouble.on_frame = None
        await asyncio.sleep(1.5 * patience)  # a slow line
        return frame

    trouble.on_frame = look
    impatient = BackoffPolicy(base_seconds=0.01, cap_seconds=0.01, patience_seconds=patience)
    async with here.client(backoff=impatient) as client:
        result = await client.upload(data, filename="a", stream_options=options(parallel=1))
    check(here, result, data)
    assert result.retries == 2


async def test_the_callers_timeout_ends_the_whole_upload(here: World) -> None:
    await here.ingest.stop()
    async with here.client() as client:
        with pytest.raises(DeadlineExceeded, match="resumes"):
            await client.upload(b"bytes", timeout=0.2)
    await here.ingest.start()
