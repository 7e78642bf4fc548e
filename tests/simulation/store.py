"""The simulated store as one process reaches it: calls in flight outlive their caller, and faults come by plan."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sealane.store.port import (
    AccessDenied,
    ClockSkewed,
    ObjectPage,
    OutcomeUnknown,
    StoreError,
    Throttled,
    UploadPage,
    WriteConflict,
)
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.store.simulated_bucket import SIGNATURE_LIFETIME
from tests.simulation.virtual_loop import Process
from tests.simulation.wire import CALL

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

_REFUSALS: dict[str, type[StoreError]] = {
    "refused": OutcomeUnknown,
    "throttled": Throttled,
    "denied": AccessDenied,
    "conflict": WriteConflict,
}
_LIFETIME = SIGNATURE_LIFETIME.total_seconds()


class ProcessStore(SimulatedStore):
    """One process's connection to the bucket.

    A request that was sent takes effect when it arrives, whether its sender still lives, waits or stands still; unless
    it was signed more than 15 minutes before (R6). The store's time is learnt from every answer.
    """

    def __init__(self, world: World, process: Process, rng: random.Random, *, page: int = 1000) -> None:
        super().__init__(world.bucket, name="bucket")
        self._world = world
        self._process = process
        self._rng = rng
        self._page = page
        self._offset = 0.0
        self._in_flight: dict[int, Any] = {}
        self._sent = 0
        process.ends.append(self._cut)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._local() + self._offset)

    def _local(self) -> float:
        process = self._process
        return self._world.loop.now - process.lag + process.skew

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """Pages may be short, and still not the last."""
        return await super().list_objects(
            prefix, timeout=timeout, cursor=cursor, start_after=start_after, limit=min(limit, self._page)
        )

    async def list_uploads(
        self, prefix: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> UploadPage:
        return await super().list_uploads(prefix, timeout=timeout, cursor=cursor, limit=min(limit, self._page))

    async def _call(self, op: str, key: str, timeout: float, effect: Callable[[], T]) -> T:
        world, rng, process = self._world, self._rng, self._process
        loop = world.loop
        there, back = 0.001 + rng.random() * 0.02, 0.001 + rng.random() * 0.02
        refusal: StoreError | None = None
        cut = early = dies = False
        fault = world.faults.of(process.name, op, key, loop.now)
        if world.gate is not None:
            await world.gate.enter(process, op, key)
        if fault is not None:
            kind = fault.kind
            if kind == "crash_before":
                world.crash(process, fault.seconds)
                await loop.create_future()  # never
            elif kind == "pause_before":
                world.tell(process.name, "PAUSE", f"for {fault.seconds:g} s")
                process.stall(fault.seconds, clock_stops=True)
                await asyncio.sleep(0)
            elif kind == "crash_after":
                dies = True
            elif kind in _REFUSALS:
                refusal = _REFUSALS[kind](f"fault: {kind}")
            elif kind == "lost":
                cut = True
            elif kind in {"late", "error200"}:
                cut = True
                if fault.seconds:
                    there += fault.seconds
                else:
                    refusal = OutcomeUnknown("fault: 200 with an error in it")
            elif kind == "slow":
                there += fault.seconds
            elif kind == "slow_answer":
                back += fault.seconds
            elif kind == "early_abort":
                early = True
                there += fault.seconds
            elif kind == "lose_upload":
                world.lose_upload(key)
        signed, local = self._local() + self._offset, self._local()
        future: asyncio.Future[T] = loop.create_future()
        self._sent += 1
        number = self._sent
        served = CALL.get()

        def land() -> None:
            self._in_flight.pop(number, None)
            if served is not None:
                served.landings.append((loop.now, op, key))
            error: StoreError | None = None
            answer: Any = None
            if abs(loop.now - signed) > _LIFETIME:
                error = ClockSkewed("signed by a wrong clock, or long ago")
            elif refusal is not None:
                error = refusal
            else:
                try:
                    answer = effect()
                except StoreError as raised:
                    error = raised
            if world.trace is not None:
                world.tell(process.name, f"{op} {key}", _outcome(answer, error, cut, early), lands=True)
            if world.gate is not None:
                world.gate.landed(process)
            if dies:
                world.crash(process, fault.seconds if fault is not None else 0.0)
                return
            if not cut and not early:
                loop.world_later(back, settle, answer, error, loop.now)

        def settle(answer: Any, error: StoreError | None, at: float) -> None:
            if future.done():
                return
            if type(error) is not OutcomeUnknown:
                # A Date header has whole seconds; the offset stays while it fits (sealane.store.s3_clock).
                low, high = int(at) - self._local(), int(at) + 1 - local
                if not low <= self._offset <= high:
                    self._offset = (low + high) / 2
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answer)

        self._in_flight[number] = loop.world_later(there, land)
        if cut:
            loop.call_later(min(timeout, 0.01 + back), settle, None, OutcomeUnknown("fault: no answer"), 0.0)
        elif early:
            loop.world_later(min(timeout, 0.01 + back), settle, None, None, loop.now)
        elif there + back >= timeout:
            loop.call_later(timeout, settle, None, OutcomeUnknown(f"no answer within {timeout:g} s"), 0.0)
        try:
            return await future
        except asyncio.CancelledError:
            if number in self._in_flight and rng.random() < 0.5:
                self._in_flight.pop(number).cancel()  # it was not sent yet
            raise

    def _cut(self) -> None:
        """The process has crashed: what it had sent may still arrive, or not."""
        for timer in self._in_flight.values():
            if self._rng.random() < 0.5:
                timer.cancel()
        self._in_flight.clear()


def _outcome(answer: Any, error: StoreError | None, cut: bool, early: bool) -> str:
    if error is not None:
        text = type(error).__name__
    elif isinstance(answer, str):
        text = answer
    elif hasattr(answer, "objects"):
        text = f"{len(answer.objects)} keys{' …' if answer.cursor else ''}"
    else:
        text = "ok"
    return text + (" (answer lost)" if cut else " (answered before)" if early else "")
