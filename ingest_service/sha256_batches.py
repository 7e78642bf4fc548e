"""SHA-256 of several chunks at a time: which chunks wait for which.

Together they cost less: three by the processor's own instructions half as much each
(:mod:`sealane.domain.sha256_extensions`), eight in the lanes of vectors what one and a half do alone
(:mod:`sealane.domain.sha256_kernel`). So a chunk waits for company as long as that delays nothing: while enough other
chunks are on their way to keep the store busy. It is hashed once the chunks that wait are no fewer than those on their
way, or fill all lanes, or as soon as the store has little left to do; and after five seconds whatever the others do.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

HashTogether = Callable[[Sequence[memoryview]], list[bytes]]
"""Up to ``lanes`` buffers of equal length -> the SHA-256 of each."""

BUSY = 2
"""Chunks on their way that keep the store busy: while there are fewer, nothing waits."""
LONGEST_WAIT = 5.0
"""Seconds for which a chunk waits for company, at most: for the day when all those on their way hang."""


@dataclass(eq=False, slots=True)
class _Waiting:
    data: memoryview
    until: float
    digest: asyncio.Future[bytes]


class Sha256Batches:
    """One batch is hashed at a time: what arrives meanwhile is the next one. Use within one event loop."""

    def __init__(self, together: HashTogether, executor: Executor | None, *, lanes: int, fewest: int) -> None:
        """``together`` takes ``lanes`` buffers at most, and is used for ``fewest`` and more."""
        self._together = together
        self._executor = executor
        self._lanes = lanes
        self._fewest = fewest
        self._waiting: list[_Waiting] = []
        self._hashing = False
        self._on_their_way = 0
        self.batches = 0
        """Batches hashed so far."""

    async def digest(self, data: memoryview, *, hurry: bool = False) -> bytes:
        """The SHA-256 of ``data``; in a ``hurry`` it takes along who waits, and waits for nobody itself.

        When this ends, by cancellation too, nothing looks at ``data`` any more.
        """
        loop = asyncio.get_running_loop()
        mine = _Waiting(data, loop.time() + (0.0 if hurry else LONGEST_WAIT), loop.create_future())
        self._waiting.append(mine)
        alarm = loop.call_at(mine.until, self._start)
        self._start()
        try:
            return await asyncio.shield(mine.digest)
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:
                await asyncio.wait([mine.digest])  # milliseconds; the buffer may be someone else's after this
                if not mine.digest.cancelled():
                    mine.digest.exception()
            raise
        finally:
            alarm.cancel()

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """A chunk that is hashed, until it is stored."""
        self._on_their_way += 1
        try:
            yield
        finally:
            self._on_their_way -= 1
            self._start()

    def _due(self) -> bool:
        enough = min(self._lanes, self._on_their_way if self._on_their_way >= BUSY else 1)
        now = asyncio.get_running_loop().time()
        return len(self._waiting) >= enough or any(waiting.until <= now for waiting in self._waiting)

    def _start(self) -> None:
        if self._hashing or not self._waiting or not self._due():
            return
        length = len(min(self._waiting, key=lambda waiting: waiting.until).data)
        batch = [waiting for waiting in self._waiting if len(waiting.data) == length][: self._lanes]
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        self._hashing = True
        self.batches += 1
        loop = asyncio.get_running_loop()
        try:
            job = loop.run_in_executor(self._executor, self._hash, [waiting.data for waiting in batch])
        except RuntimeError as error:  # the executor was shut down: nobody shall wait for it
            self._hashing = False
            for waiting in batch:
                waiting.digest.set_exception(error)
            return
        job.add_done_callback(lambda _: self._ended(batch, job))

    def _ended(self, batch: list[_Waiting], job: asyncio.Future[list[bytes]]) -> None:
        self._hashing = False
        failure = None if job.cancelled() else job.exception()
        for number, waiting in enumerate(batch):
            if job.cancelled():  # the executor is being shut down
                waiting.digest.cancel()
            elif failure is not None:
                waiting.digest.set_exception(failure)
            else:
                waiting.digest.set_result(job.result()[number])
        self._start()

    def _hash(self, buffers: list[memoryview]) -> list[bytes]:
        if len(buffers) >= self._fewest:
            return self._together(buffers)
        return [hashlib.sha256(buffer).digest() for buffer in buffers]
