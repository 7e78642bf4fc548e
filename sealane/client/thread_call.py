"""A coroutine on one thread's event loop, awaited by another thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from sealane.client.errors import ClientClosed

T = TypeVar("T")

CANCEL_SECONDS = 30.0
"""The longest that an interrupted call waits for its own clean end."""


class ThreadCall(Generic[T]):
    """One coroutine on the client's loop, awaited by a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._closed = False
        loop.call_soon_threadsafe(self._begin)

    def result(self) -> T:
        """Wait for it. When the waiting is interrupted, the work is cancelled first."""
        try:
            return self.outcome.result()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Cancel the work and wait until it has ended; a no-op if it has."""
        if not self.outcome.done():
            self._loop.call_soon_threadsafe(self._cancel_task)
            concurrent.futures.wait([self.outcome], timeout=CANCEL_SECONDS)

    def close(self) -> None:
        """Cancel the work, without waiting: whoever awaits it is told that the client was closed."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._cancel_task)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._settle)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled() and self._closed:
            self.outcome.set_exception(ClientClosed())
        elif task.cancelled():
            self.outcome.set_exception(concurrent.futures.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())
