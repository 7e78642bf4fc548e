"""Where replicas are born: the zygote as a child of ours, and each of its children as something to strike at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sealane.dev.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 120.0


class Born:
    """One process. It is awaited once, by whoever had it born."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._on_end)

    def signal(self, number: signal.Signals) -> bool:
        """Whether it was there to get it."""
        if self._ended.is_set():
            return False
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

    async def ended(self) -> int:
        """Its exit code, −n for signal n, once it has ended."""
        await self._ended.wait()
        return await self._nursery.ask(op="reap", pid=self.pid)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self._ended.set()


class Nursery:
    """Has processes born by the zygote. All of them die with it, and it dies with us."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._one_at_a_time = asyncio.Lock()

    async def spawn(self, program: str, *, env: Mapping[str, str], log: Path) -> Born:
        return Born(self, await self.ask(op="spawn", program=program, env=dict(env), log=str(log)))

    async def ask(self, **command: Any) -> int:
        async with self._one_at_a_time:
            self._writer.write(json.dumps(command).encode() + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
            if not line:
                raise RuntimeError("the zygote ended")
            return int(json.loads(line))


@asynccontextmanager
async def nursery(directory: Path, kernel: Path) -> AsyncIterator[Nursery]:
    """A zygote until the block ends; ``kernel`` is numba's cache folder."""
    path = directory / "zygote.sock"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NUMBA_CACHE_DIR": str(kernel),
        "OPENBLAS_NUM_THREADS": "1",  # no thread may be there when it forks
        "PYTHONUNBUFFERED": "1",
    }
    child = ChildProcess(
        [sys.executable, "-m", "tests.chaos.zygote", str(path)],
        env=env,
        cwd=ROOT,
        log_path=directory / "logs" / "zygote.log",
        name="zygote",
    )
    child.start()
    try:
        await asyncio.to_thread(child.await_ready, path.exists, timeout=_START_SECONDS)
        reader, writer = await asyncio.open_unix_connection(str(path))
        with contextlib.closing(writer):
            yield Nursery(reader, writer)
    finally:
        child.kill()
