"""A TCP proxy that misbehaves: it cuts answers, tears requests, delays, resets and swallows (protocol.md section 12).

It knows no HTTP: an *answer* begins with the first bytes that come back after bytes went out. What a swallowed request
had in it is passed on when the swallowing ends, though its sender has long left: a write that lands late.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from sealane.dev.ports import LOOPBACK

_BLOCK = 64 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""


class Fault(StrEnum):
    """What may happen on a link."""

    CUT_ANSWER = "answer cut"
    TEAR_REQUEST = "request torn"
    DELAY_30_MS = "delayed 30 ms"
    DELAY_5_S = "delayed 5 s"
    RESET = "reset"
    BLACKHOLE = "swallowed"


_DELAYS = {Fault.DELAY_30_MS: 0.03, Fault.DELAY_5_S: 5.0}


@dataclass(frozen=True, slots=True)
class Weather:
    """A fault, and how likely it is for each answer (each request, for TEAR_REQUEST)."""

    fault: Fault
    chance: float = 1.0


class Link:
    """Listens on a port of its own, and passes to ``target``; ``weather`` None is a fair one. A context manager."""

    def __init__(self, target: tuple[str, int], *, rng: random.Random) -> None:
        self._target = target
        self._rng = rng
        self._weather: Weather | None = None
        self._fair = asyncio.Event()
        self._fair.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.shut = False
        """While it is, whoever connects is sent away: there is nothing behind it yet."""
        self.suffered: Counter[str] = Counter()
        """How often each fault has struck something."""
        self.bytes = 0

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def set(self, weather: Weather | None) -> None:
        """From now on. A reset also ends every connection that there is."""
        self._weather = weather
        if weather is not None and weather.fault is Fault.BLACKHOLE:
            self._fair.clear()
        else:
            self._fair.set()
        if weather is not None and weather.fault is Fault.RESET:
            for writer in list(self._writers):
                self.suffered[Fault.RESET] += 1
                _reset(writer)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, limit=_BLOCK)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(near)
        far: asyncio.StreamWriter | None = None
        try:
            if self.shut or self._strikes(Fault.RESET):
                _reset(near)
                return
            far_reader, far = await asyncio.open_connection(*self._target, limit=_BLOCK)
            self._writers.add(far)
            talk = _Talk()
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._up(near_reader, far, talk))
                pumps.create_task(self._down(far_reader, near, far, talk))
        except (OSError, ExceptionGroup):
            pass  # a connection that ended, of itself or by us: the other side sees the same
        finally:
            self._connections.discard(task)
            for writer in (near, far):
                if writer is not None:
                    self._writers.discard(writer)
                    with contextlib.suppress(OSError, RuntimeError):
                        writer.close()

    async def _up(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, talk: _Talk) -> None:
        while block := await source.read(_BLOCK):
            await self._hold()
            begins = talk.answering
            talk.answering = False
            if begins and self._strikes(Fault.TEAR_REQUEST):
                sink.write(block[: self._rng.randrange(len(block))])
                await sink.drain()
                raise ConnectionAbortedError
            self.bytes += len(block)
            sink.write(block)
            await sink.drain()
        sink.write_eof()

    async def _down(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, far: asyncio.StreamWriter, talk: _Talk
    ) -> None:
        while block := await source.read(_BLOCK):
            begins = not talk.answering
            talk.answering = True
            if begins:
                if self._strikes(Fault.CUT_ANSWER):
                    _reset(sink)
                    far.close()
                    raise ConnectionAbortedError
                for fault, seconds in _DELAYS.items():
                    if self._strikes(fault):
                        await asyncio.sleep(seconds)
            await self._hold()
            self.bytes += len(block)
            sink.write(block)
            await sink.drain()
        sink.close()
        raise ConnectionAbortedError  # the store has closed: what else the client would say, nobody hears

    async def _hold(self) -> None:
        if not self._fair.is_set():
            self.suffered[Fault.BLACKHOLE] += 1
            await self._fair.wait()

    def _strikes(self, fault: Fault) -> bool:
        weather = self._weather
        if weather is None or weather.fault is not fault or self._rng.random() >= weather.chance:
            return False
        self.suffered[fault] += 1
        return True


@dataclass(slots=True)
class _Talk:
    answering: bool = True
    """Whether the latest bytes were the far side's: then what comes next from the near side begins a request."""


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
