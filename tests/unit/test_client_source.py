"""Sources: where an upload's bytes come from, read whole, in order, at any offset if they can."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.client.blocking import DaemonThread
from sealane.client.errors import SourceChanged
from sealane.client.source import (
    AsyncIteratorSource,
    FileObjectSource,
    MemorySource,
    PathSource,
    PipeSource,
    SeekableSource,
    SequentialSource,
    default_filename,
    open_source,
)


class Trickle(io.RawIOBase):
    """Reads a byte or two at a time, as a raw file may."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._data[self._at : self._at + min(2, len(buffer))]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


async def read_in_order(source: SequentialSource, size: int) -> list[bytes]:
    found: list[bytes] = []
    while True:
        buffer = bytearray(size)
        count = await source.read(memoryview(buffer))
        if count:
            found.append(bytes(buffer[:count]))
        if count < size:
            return found


@settings(deadline=None)  # files and loops take their time
@given(st.lists(st.binary(max_size=50)), st.integers(1, 70))
def test_pieces_of_any_length_come_out_in_full_buffers(pieces: list[bytes], size: int) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    whole = b"".join(pieces)
    expected = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert asyncio.run(read_in_order(AsyncIteratorSource(stream()), size)) == expected


async def test_a_plain_iterator_and_a_pipe_and_a_trickle_are_the_same() -> None:
    data = bytes(range(256)) * 5
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    for source in (
        open_source([data[:7], b"", data[7:]]),
        open_source(os.fdopen(reading, "rb")),
        open_source(Trickle(data)),
    ):
        assert isinstance(source, SequentialSource)
        assert b"".join(await read_in_order(source, 100)) == data
        await source.close()


def seekable(kind: str, data: bytes, tmp_path: Path) -> SeekableSource:
    if kind == "memory":
        return MemorySource(data)
    path = tmp_path / "file"
    path.write_bytes(b"ab" + data if kind == "object" else data)
    if kind == "path":
        source = open_source(path)
        assert isinstance(source, PathSource)
        return source
    file = path.open("rb")
    file.seek(2)
    source = open_source(file)
    assert isinstance(source, FileObjectSource)
    return source


@pytest.mark.parametrize("kind", ["memory", "path", "object"])
def test_a_seekable_source_is_read_at_any_offset_from_any_thread(kind: str, tmp_path: Path) -> None:
    data = os.urandom(10_000)
    source = seekable(kind, data, tmp_path)
    assert source.size == len(data)
    wrong: list[int] = []

    def read(start: int) -> None:
        for offset in range(start, 9_000, 700):
            buffer = bytearray(900)
            source.read_at(offset, memoryview(buffer))
            if bytes(buffer) != data[offset : offset + 900]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    source.check_unchanged()
    source.close()


@pytest.mark.parametrize("kind", ["path", "object"])
def test_a_file_that_was_cut_short_is_a_changed_source(kind: str, tmp_path: Path) -> None:
    source = seekable(kind, b"x" * 100, tmp_path)
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(60)
    with pytest.raises(SourceChanged):
        source.read_at(50, memoryview(bytearray(50)))
    with pytest.raises(SourceChanged):
        source.check_unchanged()
    source.close()


def test_a_file_that_was_written_to_with_its_length_kept_is_a_changed_source(tmp_path: Path) -> None:
    source = seekable("path", b"x" * 100, tmp_path)
    source.check_unchanged()
    assert source.identity is not None
    os.utime(tmp_path / "file", ns=(1, source.identity.mtime_ns + 1))
    with pytest.raises(SourceChanged):
        source.check_unchanged()
    source.close()


def test_a_file_that_has_grown_within_a_tick_of_its_clock_is_a_changed_source(tmp_path: Path) -> None:
    source = seekable("path", b"x" * 100, tmp_path)
    assert source.identity is not None
    with (tmp_path / "file").open("ab") as file:
        file.write(b"y")
    os.utime(tmp_path / "file", ns=(1, source.identity.mtime_ns))
    with pytest.raises(SourceChanged):
        source.check_unchanged()
    source.close()


def test_a_files_identity_is_that_of_the_file_and_not_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("real")
    through, direct = open_source(tmp_path / "link"), open_source(str(tmp_path / "real"))
    assert isinstance(through, PathSource)
    assert isinstance(direct, PathSource)
    assert through.identity == direct.identity
    assert (through.name, direct.name) == ("link", "real")
    through.close()
    direct.close()


async def test_a_fifo_is_a_pipe_whatever_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    opening = asyncio.create_task(asyncio.to_thread(open_source, tmp_path / "fifo"))
    await asyncio.to_thread((tmp_path / "fifo").write_bytes, b"through the pipe")
    source = await opening
    assert isinstance(source, PipeSource)
    assert await read_in_order(source, 100) == [b"through the pipe"]
    await source.close()


def test_names_are_made_fit_for_an_object_key() -> None:
    assert default_filename("/a/b/cafe\u0301.txt") == "caf\u00e9.txt"


@pytest.mark.parametrize("wrong", [5, None, io.StringIO("text"), object()])
def test_what_is_no_source_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        open_source(wrong)  # type: ignore[arg-type]


async def test_a_read_that_never_returns_can_be_left_behind() -> None:
    """Ctrl-C at an idle standard input must end the process: nothing joins that thread."""
    thread = DaemonThread("test")
    release = threading.Event()
    entered = threading.Event()

    def block() -> None:
        entered.set()
        release.wait()

    waiting = asyncio.create_task(thread.run(block))
    await asyncio.to_thread(entered.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not thread.idle
    release.set()
    assert await thread.run(lambda: 7) == 7
    assert thread.idle
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    thread.close()
