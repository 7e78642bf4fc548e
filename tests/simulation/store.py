"""The simulated store as one process reaches it: calls in flight outlive their caller, and faults come by plan."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sealane.store.port import (
    AccessDenied,
    ClockSkewed,
    NoSuchUpload,
    ObjectPage,
    OutcomeUnknown,
    StoreError,
    Throttled,
    UploadPage,
    WriteConflict,
)
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.store.simulated_bucket import SIGNATURE_LIFETIME
from tests.simulation.calls import CALL, Call
from tests.simulation.virtual_loop import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

_REFUSALS: dict[str, type[StoreError]] = {
    "refused": OutcomeUnknown,
    "throttled": Throttled,
    "denied": AccessDenied,
    "conflict": WriteConflict,
    "says_gone": NoSuchUpload,
}
_LIFETIME = SIGNATURE_LIFETIME.total_seconds()


class _Flight:
    """One call: what happens when it arrives, and when its answer does. Both are the world's doing."""

    __slots__ = (
        *("back", "cut", "dies", "early", "effect", "future", "key", "local", "number", "op", "refusal", "served"),
        *("shows", "signed", "store"),
    )

    future: asyncio.Future[Any] | None
    refusal: StoreError | None
    dies: float | None

    def __init__(self, store: ProcessStore, op: str, key: str, effect: Callable[[], Any], served: Call | None) -> None:
        self.store = store
        self.op = op
        self.key = key
        self.effect = effect
        self.served = served
        self.refusal = self.dies = None
        self.cut = self.early = False
        self.shows = 0.0

    def send(self, number: int, future: asyncio.Future[Any], back: float) -> None:
        """It is signed now, with the store's time as the process knows it."""
        self.number = number
        self.future = future
        self.back = back
        store, process = self.store, self.store.process
        self.local = local = store.world.loop.now - process.lag + process.skew
        self.signed = local + store.offset

    def land(self) -> None:
        """It takes effect, or doesn't."""
        store, world = self.store, self.store.world
        now = world.loop.now
        store.in_flight.pop(self.number, None)
        if self.served is not None:
            self.served.landings.append((now, self.op, self.key))
        error: StoreError | None = None
        answer: Any = None
        if not -_LIFETIME <= now - self.signed <= _LIFETIME:
            error = ClockSkewed("signed by a wrong clock, or long ago")
        elif self.refusal is not None:
            error = self.refusal
        else:
            if self.shows:
                world.bucket.later = functools.partial(world.loop.world_later, self.shows)
            try:
                answer = self.effect()
            except StoreError as raised:
                error = raised.with_traceback(None)  # which would keep this frame, and it the error
        if world.trace is not None:
            outcome = _outcome(answer, error, self.cut, self.early)
            world.tell(store.process.name, f"{self.op} {self.key}", outcome)
        if world.gate is not None:
            world.gate.landed(store.process)
        if self.dies is not None:
            world.crash(store.process, self.dies)
        elif not self.cut and not self.early:
            world.loop.world_later(self.back, self.settle, answer, error, now)

    def settle(self, answer: Any, error: StoreError | None, at: float) -> None:
        """Its answer comes, or time is up."""
        future = self.future
        if future is None or future.done():
            return
        if type(error) is not OutcomeUnknown:
            self.store.learn(at, self.local)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)


class ProcessStore(SimulatedStore):
    """One process's connection to the bucket.

    A request that was sent takes effect when it arrives, whether its sender still lives, waits or stands still; unless
    it was signed more than 15 minutes before (R6). The store's time is learnt from every answer.
    """

    def __init__(self, world: World, process: Process, rng: random.Random, *, page: int = 1000) -> None:
        super().__init__(world.bucket, name="bucket")
        self.world = world
        self.process = process
        self._loop = world.loop
        self._rng = rng
        self._page = page
        self.offset = 0.0
        self.in_flight: dict[int, Any] = {}
        """Sent, and not arrived yet."""
        self._sent = 0
        process.ends.append(self._cut)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.local() + self.offset)

    def local(self) -> float:
        process = self.process
        return self._loop.now - process.lag + process.skew

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
        world, rng, process = self.world, self._rng, self.process
        loop = world.loop
        flight = _Flight(self, op, key, effect, CALL.get())
        there, back = 0.001 + rng.random() * 0.02, 0.001 + rng.random() * 0.02
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
                flight.dies = fault.seconds
            elif kind in _REFUSALS:
                flight.refusal = _REFUSALS[kind](f"fault: {kind}")
            elif kind == "lost":
                flight.cut = True
            elif kind in {"late", "error200"}:
                flight.cut = True
                if fault.seconds:
                    there += fault.seconds
                else:
                    flight.refusal = OutcomeUnknown("fault: 200 with an error in it")
            elif kind == "slow":
                there += fault.seconds
            elif kind == "slow_answer":
                back += fault.seconds
            elif kind == "early_abort":
                flight.early = True
                there += fault.seconds
            elif kind == "shows_late":
                flight.shows = fault.seconds
                back += fault.seconds
            elif kind == "lose_upload":
                world.lose_upload(key)
        self._sent = number = self._sent + 1
        future: asyncio.Future[T] = asyncio.Future(loop=loop)
        flight.send(number, future, back)
        self.in_flight[number] = loop.world_later(there, flight.land)
        if flight.cut:
            loop.call_later(min(timeout, 0.01 + back), flight.settle, None, OutcomeUnknown("fault: no answer"), 0.0)
        elif flight.early:
            loop.world_later(min(timeout, 0.01 + back), flight.settle, None, None, loop.now)
        elif there + back >= timeout:
            unknown = OutcomeUnknown(f"no answer within {timeout:g} s")
            loop.call_later(timeout, flight.settle, None, unknown, 0.0)
        try:
            return await future
        except asyncio.CancelledError:
            if number in self.in_flight and rng.random() < 0.5:
                self.in_flight.pop(number).cancel()  # it was not sent yet
            raise
        finally:
            flight.future = future = None  # type: ignore[assignment]  # an error must not be kept by its own frame

    def learn(self, at: float, sent: float) -> None:
        """From a Date header, in whole seconds; the offset stays while it fits (sealane.store.s3_clock)."""
        process = self.process
        second = int(at)
        low, high = second - (self._loop.now - process.lag + process.skew), second + 1 - sent
        if not low <= self.offset <= high:
            self.offset = (low + high) / 2

    def _cut(self) -> None:
        """The process has crashed: what it had sent may still arrive, or not."""
        for timer in self.in_flight.values():
            if self._rng.random() < 0.5:
                timer.cancel()
        self.in_flight.clear()


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
