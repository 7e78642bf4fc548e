"""Uploads from every kind of source, through both services: the object is what the source was."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from client_world import KIB, TINY_FRAMES, World, content, options, world

from sealane.client import Phase, Progress, SourceChanged, UploadResult, streams
from sealane.client.connections import Connections
from sealane.client.errors import InvalidFilename, PeerUnavailable
from sealane.client.streams import Buffers

SIZES = [0, 1, KIB - 1, KIB, KIB + 1, 7 * KIB, 20 * KIB + 17]


def check(here: World, result: UploadResult, data: bytes) -> None:
    assert here.object(result.key) == data
    assert result.digest == blake3(data).hexdigest()
    assert result.size == len(data)
    assert result.bytes_sent == len(data)
    assert result.retries == 0
    assert here.journals() == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_path_becomes_an_object_of_the_same_bytes(here: World, tmp_path: Path, size: int) -> None:
    data = content(size)
    path = tmp_path / "film.mov"
    path.write_bytes(data)
    async with here.client() as client:
        result = await client.upload(path, metadata={"colour": "grey"}, content_type="video/quicktime")
        check(here, result, data)
        session = await client.get_session(result.session_id)
    assert result.key.endswith("/film.mov")
    assert (session.size, session.chunk_size, session.content_type) == (size, KIB, "video/quicktime")
    assert session.metadata == {"colour": "grey"}


@pytest.mark.parametrize("size", SIZES)
async def test_an_async_iterator_of_unknown_size_becomes_an_object(here: World, size: int) -> None:
    data = content(size)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 700):
            yield data[start : start + 700]
            yield b""
            await asyncio.sleep(0)

    async with here.client() as client:
        result = await client.upload(pieces(), filename="stream.bin", stream_options=TINY_FRAMES)
    check(here, result, data)
    assert result.chunk_size == 4 * KIB


@pytest.mark.parametrize("size", [0, KIB, 9 * KIB + 5])
async def test_bytes_file_objects_iterators_and_pipes_become_objects(here: World, tmp_path: Path, size: int) -> None:
    data = content(size)
    path = tmp_path / "file"
    path.write_bytes(b"skipped" + data)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), 333):
            yield data[start : start + 333]

    reading, writing = os.pipe()
    feeder = asyncio.create_task(asyncio.to_thread(_feed, writing, data))
    async with here.client() as client:
        check(here, await client.upload(data, stream_options=TINY_FRAMES), data)
        check(here, await client.upload(bytearray(data), stream_options=TINY_FRAMES), data)
        check(here, await client.upload(io.BytesIO(data), stream_options=TINY_FRAMES), data)
        check(here, await client.upload(pieces(), stream_options=TINY_FRAMES), data)
        with path.open("rb") as file:
            file.seek(len(b"skipped"))
            check(here, await client.upload(file, stream_options=TINY_FRAMES), data)
        with os.fdopen(reading, "rb") as pipe:
            check(here, await client.upload(pipe, stream_options=TINY_FRAMES), data)
    await feeder


def _feed(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


@pytest.mark.parametrize(("parallel", "chunks_per_stream"), [(1, 1), (1, 16), (3, 2), (8, 16)])
async def test_streams_and_their_lengths_make_no_difference_to_the_object(
    here: World, parallel: int, chunks_per_stream: int
) -> None:
    data = content(40 * KIB + 3)
    async with here.client() as client:
        result = await client.upload(
            data, stream_options=options(parallel=parallel, chunks_per_stream=chunks_per_stream)
        )
    check(here, result, data)
    assert result.streams >= -(-result.chunk_count // chunks_per_stream)


async def test_a_stream_holds_no_more_chunks_than_asked_for(here: World) -> None:
    most = 0
    now: dict[object, set[int]] = {}

    def count(frame: object) -> object:
        nonlocal most
        chunks = now.setdefault(asyncio.current_task(), set())
        chunks.add(frame.chunk_index)  # type: ignore[attr-defined]
        most = max(most, len(chunks))
        return frame

    here.ingest.trouble.on_frame = count
    async with here.client() as client:
        await client.upload(content(40 * KIB), stream_options=options(parallel=2, chunks_per_stream=3))
    assert most <= 3


async def test_the_same_file_twice_makes_two_objects_that_never_meet(here: World, tmp_path: Path) -> None:
    """The fourth classic failure: two sessions of the same file name never collide."""
    path = tmp_path / "same"
    path.write_bytes(content(3 * KIB))
    async with here.client() as client:
        results = await asyncio.gather(*(client.upload(path) for _ in range(4)))
    assert len({result.key for result in results}) == 4
    assert {here.object(result.key) for result in results} == {content(3 * KIB)}
    assert here.journals() == []


async def test_progress_says_what_is_stored_and_what_is_in_flight(here: World) -> None:
    data = content(12 * KIB + 1)
    seen: list[Progress] = []
    async with here.client() as client:
        result = await client.upload(data, progress=seen.append, stream_options=TINY_FRAMES)
    assert seen[0].phase is Phase.STARTING
    assert seen[-1].phase is Phase.DONE
    stored = [p.bytes_stored for p in seen]
    assert stored == sorted(stored)
    assert all(p.bytes_in_flight >= 0 and p.bytes_stored + p.bytes_in_flight <= len(data) for p in seen)
    last = seen[-1]
    assert (last.bytes_stored, last.bytes_in_flight, last.chunks_stored) == (len(data), 0, 13)
    assert (last.bytes_total, last.chunks_total, last.bytes_resumed) == (len(data), 13, 0)
    assert {p.session_id for p in seen} == {result.session_id}


async def test_an_exception_of_the_progress_callback_ends_the_upload(here: World) -> None:
    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.bytes_in_flight:
            raise Enough

    async with here.client() as client:
        with pytest.raises(Enough):
            await client.upload(content(9 * KIB), progress=stop, stream_options=TINY_FRAMES)
    assert here.objects() == []


@pytest.mark.parametrize("cancelled", [False, True], ids=["closed", "cancelled"])
async def test_closing_the_client_ends_its_uploads_and_cancels_nobody_elses_task(here: World, cancelled: bool) -> None:
    held = asyncio.Event()

    async def hold(_: object) -> object:
        held.set()
        return await asyncio.get_running_loop().create_future()

    here.ingest.trouble.on_frame = hold
    async with here.client() as client:
        uploading = asyncio.create_task(client.upload(content(9 * KIB), stream_options=TINY_FRAMES))
        await asyncio.wait_for(held.wait(), 20)
        if cancelled:
            uploading.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else PeerUnavailable):
        await asyncio.wait_for(uploading, 20)


def test_a_process_ends_at_ctrl_c_while_it_opens_a_fifo_that_nobody_writes_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = """
import asyncio, sys, threading
from sealane.client import Client
async def main():
    async with Client("127.0.0.1:1", "127.0.0.1:1") as client:
        before = threading.active_count()
        upload = asyncio.create_task(client.upload(sys.argv[1]))
        while threading.active_count() == before:
            await asyncio.sleep(0)
        print("opening", flush=True)
        await upload
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"opening\n"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said


async def test_a_name_that_is_no_unicode_text_is_an_invalid_filename(here: World, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff")
    path.write_bytes(b"content")
    async with here.client() as client:
        with pytest.raises(InvalidFilename):
            await client.upload(path)
        with pytest.raises(InvalidFilename):
            await client.create_session(filename=path.name)
        result = await client.upload(path, filename="good")
    check(here, result, b"content")


async def test_a_file_that_is_written_to_meanwhile_is_never_committed(here: World, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content(8 * KIB))

    def append(frame: object) -> object:
        with path.open("ab") as file:
            file.write(b"more")
        here.ingest.trouble.on_frame = None
        return frame

    here.ingest.trouble.on_frame = append
    async with here.client() as client:
        with pytest.raises(SourceChanged):
            await client.upload(path, stream_options=options(parallel=1))
        assert here.objects() == []
        result = await client.upload(path)
    assert here.object(result.key) == path.read_bytes()


@pytest.mark.parametrize("said", [5 * KIB - 1, 5 * KIB + 1])
async def test_an_iterator_that_is_not_as_long_as_declared_is_never_committed(here: World, said: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield content(5 * KIB)

    async with here.client() as client:
        with pytest.raises(SourceChanged):
            await client.upload(pieces(), size=said, stream_options=TINY_FRAMES)
    assert here.objects() == []


async def test_an_error_of_the_source_reaches_the_caller_as_it_is(here: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield content(5 * KIB)
        raise ZeroDivisionError

    async with here.client() as client:
        with pytest.raises(ZeroDivisionError):
            await client.upload(pieces(), stream_options=TINY_FRAMES)
        with pytest.raises(FileNotFoundError):
            await client.upload("/no/such/file")
        with pytest.raises(TypeError, match="binary"):
            await client.upload(io.StringIO("text"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="size"):
            await client.upload(b"four", size=5)


async def test_chunks_in_memory_stay_within_their_bound(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 × parallel + 1 for what can be read again, max_memory for what can't (I13, the client's side)."""
    made = 0
    take = Buffers.take

    def counted(self: Buffers) -> bytearray:
        nonlocal made
        made += not self._free
        return take(self)

    monkeypatch.setattr(Buffers, "take", counted)

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield content(4 * KIB, number)

    async with here.client(max_memory=32 * KIB) as client:
        await client.upload(content(100 * KIB), stream_options=options(parallel=3))
        assert made <= 7
        made = 0
        await client.upload(pieces(), stream_options=TINY_FRAMES)
        assert made <= 8  # of 4 KiB


async def test_a_limit_lets_every_frame_of_every_stream_through_the_same_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And opens no more streams than it can feed. How the gate paces: tests/unit/test_client_rate_limit.py."""
    taken: list[int] = []
    lanes: set[int] = set()
    opened = Connections.upload_stream

    class Gate:
        def __init__(self, bytes_per_second: float) -> None:
            assert bytes_per_second == 2 * streams.MIN_RATE

        async def take(self, count: int) -> None:
            taken.append(count)

    def upload_stream(self: Connections, lane: int, **values: Any) -> Any:
        lanes.add(lane)
        return opened(self, lane, **values)

    monkeypatch.setattr(streams, "RateLimit", Gate)
    monkeypatch.setattr(Connections, "upload_stream", upload_stream)
    async with world(tmp_path) as here, here.client() as client:
        result = await client.upload(
            content(9 * KIB + 5), filename="a", parallel=5, chunk_size=KIB, max_bytes_per_second=2 * streams.MIN_RATE
        )
        assert lanes <= {0, 1}
        free = await client.upload(content(9 * KIB + 5), filename="a", chunk_size=KIB)
    assert free.digest == result.digest
    assert sum(taken) == result.bytes_sent == 9 * KIB + 5
    assert len(taken) == here.ingest.trouble.frames // 2 == 10
