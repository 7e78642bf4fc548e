"""One thread for calls that may block for ever, such as a read of standard input.

The loop's own pool is joined when the loop closes: one read that never returns would hang the process at Ctrl-C. This
thread is a daemon, and whoever waits for it can be cancelled at once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class DaemonThread:
    """Runs one call at a time, in order. The thread starts with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending = 0

    @property
    def idle(self) -> bool:
        """Whether no call is running."""
        return self._pending == 0

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call()`` answers or raises. A cancelled caller leaves the call running: its result is dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending += 1
        self._jobs.put((call, future))
        return await future

    def close(self) -> None:
        """End the thread after the call that it is in."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - handed to the caller, who raises it
                error = raised
            try:
                future.get_loop().call_soon_threadsafe(self._settle, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _settle(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._pending -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # a future can't carry it
            future.set_exception(RuntimeError("the source raised StopIteration"))
        else:
            future.set_exception(error)
