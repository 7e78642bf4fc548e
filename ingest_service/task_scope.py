"""Work that outlives the call that began it, and never the service.

A client that goes away must not cost the bytes it has sent: its chunks' uploads go on here, outside of the handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from sealane.domain.errors import SealaneError
from sealane.logs import get_logger
from sealane.store.port import StoreError

T = TypeVar("T")

_log = get_logger(__name__)


class TaskScope:
    """Owns tasks that fail alone. Leaving it waits ``grace`` seconds for them, then cancels them and waits."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    @property
    def running(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run ``work`` to its end. RuntimeError outside of the scope."""
        if not self._open:
            work.close()
            raise RuntimeError("the scope is not open")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()  # the call that began it raises it, if it is still there
        if error is not None and not isinstance(error, SealaneError | StoreError):
            _log.error("background work failed", task=task.get_name(), exc_info=error)

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._grace)
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
