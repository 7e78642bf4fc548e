"""What goes wrong with a call to the store: refused, lost, late, stalled, or the process dies at it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from sealane.store.port import OutcomeUnknown, StoreError
from sealane.store.simulated import Latency

T = TypeVar("T")

MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])
"""Of a crash, beside the call's effect."""


class Crash(BaseException):
    """The process is gone: no handler may run on, and none may catch this."""


class Fault:
    """``action`` at the ``nth`` call that ``op`` and the key's ending fit; all others pass. ``fired`` counts."""

    def __init__(
        self,
        op: str,
        ending: str,
        action: Callable[[Callable[[], Any]], Any],
        *,
        nth: int = 1,
        times: int = 1,
    ) -> None:
        self.op, self.ending, self.action = op, ending, action
        self.nth, self.times = nth, times
        self.seen = self.fired = 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        if op == self.op and key.endswith(self.ending):
            self.seen += 1
            if self.nth <= self.seen < self.nth + self.times:
                self.fired += 1
                return await _awaited(self.action(effect))
        return effect()


class Faults:
    """Several at once: the first whose call fits acts."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        for fault in self.faults:
            if op == fault.op and key.endswith(fault.ending):
                return await fault.around(op, key, effect)
        return effect()


async def _awaited(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


def refuses(error: StoreError) -> Callable[[Callable[[], Any]], Any]:
    """The call never takes effect, and answers ``error``."""

    def act(effect: Callable[[], Any]) -> Any:
        raise error

    return act


def loses_answer(effect: Callable[[], Any]) -> Any:
    """The call takes effect; its answer is lost."""
    effect()
    raise OutcomeUnknown("the answer was lost")


def lands_late(seconds: float) -> Callable[[Callable[[], Any]], Any]:
    """No answer now; the call takes effect ``seconds`` later, if it still can."""

    def act(effect: Callable[[], Any]) -> Any:
        def land() -> None:
            with contextlib.suppress(StoreError):
                effect()

        asyncio.get_running_loop().call_later(seconds, land)
        raise OutcomeUnknown("no answer")

    return act


def first(other: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[Callable[[], Any]], Any]:
    """``other`` happens to the end while the call is on its way."""

    async def act(effect: Callable[[], Any]) -> Any:
        await other()
        return effect()

    return act


def stalls(until: asyncio.Event) -> Callable[[Callable[[], Any]], Any]:
    """The process stands still before the call, as under SIGSTOP."""

    async def act(effect: Callable[[], Any]) -> Any:
        await until.wait()
        return effect()

    return act


class CrashAt:
    """The process dies at its ``nth`` call, "before" it takes effect or "after"."""

    def __init__(self, nth: int, moment: str) -> None:
        self.nth, self.moment = nth, moment
        self.calls = 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.nth:
            if self.moment == "after":
                with contextlib.suppress(StoreError):
                    effect()
            raise Crash(f"{self.moment} call {self.nth}: {op} {key}")
        return effect()


def seeded_latency(seed: int) -> Latency:
    """0…50 ms each way, and one call in twenty takes seconds: as on a bad day."""
    rng = random.Random(seed)

    def latency(op: str, key: str) -> float:
        return rng.uniform(0.5, 8.0) if rng.random() < 0.05 else rng.uniform(0.0, 0.05)

    return latency
