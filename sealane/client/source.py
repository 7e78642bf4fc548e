"""Where an upload's bytes come from: a path, a file object, bytes in memory, or an iterator of bytes.

Two kinds. A :class:`SeekableSource` can be read again at any offset, so a chunk that was lost on the way costs no
memory. A :class:`SequentialSource` (an iterator, a pipe) gives every byte once: the upload keeps a chunk in memory
until the server has acknowledged it.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
import threading
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from sealane.client.blocking import DaemonThread
from sealane.client.errors import SourceChanged

UploadSource = (
    str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview | AsyncIterable[bytes] | Iterable[bytes]
)
"""What ``upload`` takes. A ``str`` is a path. A seekable file object is read from where it stands to its end."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file, in which version: what must be equal for a journal to resume."""

    path: str
    """Absolute, symbolic links resolved."""
    size: int
    mtime_ns: int
    inode: int


class SeekableSource(ABC):
    """Bytes that can be read again. Its methods block: they are called in a thread, one at a time per buffer."""

    name: str = ""
    identity: FileIdentity | None = None

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes in all, as it was when the source was opened."""

    @abstractmethod
    def read_at(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset``. Raises SourceChanged if the source ends before that."""

    def check_unchanged(self) -> None:  # noqa: B027 - nothing to check is right for most
        """Raise SourceChanged if it is known to have other bytes by now."""

    def close(self) -> None:  # noqa: B027 - nothing to close is right for most
        """Give back what :func:`open_source` opened; never what the caller did."""


class SequentialSource(ABC):
    """Bytes that come once. ``size`` is None unless the caller knows it."""

    name: str = ""

    @abstractmethod
    async def read(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the source goes; how many bytes that was. Less than its length: the end."""

    async def close(self) -> None:  # noqa: B027 - nothing to close is right for some
        """Let go of what the source holds."""


class PathSource(SeekableSource):
    """A regular file, read with positioned reads."""

    def __init__(self, path: str, file: io.FileIO) -> None:
        self._file = file
        status = os.fstat(file.fileno())
        self.name = default_filename(path)
        self.identity = FileIdentity(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino)

    @property
    def size(self) -> int:
        assert self.identity is not None
        return self.identity.size

    def read_at(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            count = os.preadv(self._file.fileno(), [buffer[done:]], offset + done)
            if count == 0:
                raise SourceChanged(f"The file ended at byte {offset + done}; it had {self.size} bytes.")
            done += count

    def check_unchanged(self) -> None:
        assert self.identity is not None
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.identity.size, self.identity.mtime_ns):
            raise SourceChanged("The file was written to while it was being uploaded. Upload it again.")

    def close(self) -> None:
        self._file.close()


class FileObjectSource(SeekableSource):
    """A seekable binary file object, from where it stands to its end. It is the caller's to close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._start = file.tell()
        self._size = file.seek(0, os.SEEK_END) - self._start
        file.seek(self._start)
        name = getattr(file, "name", None)
        self.name = default_filename(name) if isinstance(name, str) else ""

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, buffer: memoryview) -> None:
        done = 0
        with self._lock:
            self._file.seek(self._start + offset)
            while done < len(buffer):
                count = _read_some(self._file, buffer[done:])
                if count == 0:
                    raise SourceChanged(f"The file ended at byte {offset + done}; it had {self._size} bytes.")
                done += count

    def check_unchanged(self) -> None:
        with self._lock:
            if self._file.seek(0, os.SEEK_END) - self._start != self._size:
                raise SourceChanged("The file was written to while it was being uploaded. Upload it again.")


class MemorySource(SeekableSource):
    """Bytes in memory."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data).cast("B")

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._data[offset : offset + len(buffer)]


class AsyncIteratorSource(SequentialSource):
    """Pieces of any length from an async iterator."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces: AsyncIterator[bytes] = aiter(pieces)
        self._rest = memoryview(b"")

    async def read(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer):
            if not self._rest:
                piece = await self._next()
                if piece is None:
                    break
                self._rest = memoryview(piece).cast("B")
                continue
            take = min(len(self._rest), len(buffer) - done)
            buffer[done : done + take] = self._rest[:take]
            self._rest = self._rest[take:]
            done += take
        return done

    async def _next(self) -> bytes | None:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            return None


class IteratorSource(AsyncIteratorSource):
    """The same from a plain iterator, which may block: it is stepped in a thread of its own."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._thread = DaemonThread("sealane-source")
        self._iterator: Iterator[bytes] = iter(pieces)
        self._rest = memoryview(b"")

    async def _next(self) -> bytes | None:
        return await self._thread.run(lambda: next(self._iterator, None))

    async def close(self) -> None:
        self._thread.close()


class PipeSource(SequentialSource):
    """A binary file object that can't seek: a pipe, a socket, standard input. Closed here only if opened here."""

    def __init__(self, file: BinaryIO, *, own: bool = False) -> None:
        self._file = file
        self._own = own
        # A read of an idle pipe can't be interrupted: a pooled thread would keep the whole process from ending.
        self._thread = DaemonThread("sealane-source")

    async def read(self, buffer: memoryview) -> int:
        return await self._thread.run(lambda: self._fill(buffer))

    def _fill(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and (count := _read_some(self._file, buffer[done:])):
            done += count
        return done

    async def close(self) -> None:
        self._thread.close()
        if self._own and self._thread.idle:
            await asyncio.to_thread(self._file.close)


def open_source(source: UploadSource) -> SeekableSource | SequentialSource:
    """``source`` as one of the two kinds. Blocks (it opens files): call it in a thread.

    OSError as ``open`` raises it; TypeError for what is no source, a text file say.
    """
    match source:
        case str() | os.PathLike():
            return _open_path(os.fspath(source))
        case bytes() | bytearray() | memoryview():
            return MemorySource(source)
    if isinstance(source, io.TextIOBase):
        raise TypeError("the source is a text file: open it in binary mode")
    if hasattr(source, "read"):
        file: Any = source
        return FileObjectSource(file) if _seekable(file) else PipeSource(file)
    if isinstance(source, AsyncIterable):
        return AsyncIteratorSource(source)
    if isinstance(source, Iterable):
        return IteratorSource(source)
    raise TypeError(f"cannot upload from {type(source).__name__}: give a path, a binary file, bytes, or an iterator")


def default_filename(path: str) -> str:
    """The last segment of ``path`` in Unicode NFC (macOS hands out NFD, which no object key may be in)."""
    return unicodedata.normalize("NFC", os.path.basename(path))


def _open_path(path: str) -> SeekableSource | SequentialSource:
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - the source closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return PathSource(path, file)
    return PipeSource(file, own=True)


def _seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable and seekable())


def _read_some(file: Any, buffer: memoryview) -> int:
    """Bytes read into ``buffer``; 0 at the end. With ``readinto`` if the object has it: one copy less."""
    readinto = getattr(file, "readinto", None)
    if readinto is not None:
        count = readinto(buffer)
        if count is None:
            raise BlockingIOError("the source is a non-blocking file that has nothing to read yet")
        return int(count)
    piece = file.read(len(buffer))
    buffer[: len(piece)] = piece
    return len(piece)
