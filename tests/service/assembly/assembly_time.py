"""Virtual time: nothing in assembly's tests waits for real seconds, and one seed gives one run."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeps take no time: waiting moves the clock instead."""

    def __init__(self) -> None:
        loop = self
        self.virtual_now = 1_000_000.0

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                assert timeout is not None, "nothing left to wait for: a deadlock"
                loop.virtual_now += max(0.0, timeout)
                return super().select(0)

        super().__init__(Selector())
        self._clock_resolution = 1e-6  # years from 0, a float can't tell nanoseconds apart

    def time(self) -> float:
        return self.virtual_now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once, on the loop: a thread's end is nothing that virtual time could wait for."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the awaiting code gets whatever the job raised
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def wait(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


async def eventually(condition: Callable[[], bool | Coroutine[Any, Any, bool]], seconds: float = 30) -> None:
    """Wait for a condition, in real time; TimeoutError if it never holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.01)
