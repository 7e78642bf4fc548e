"""The gate: no service on a store that lies, and none given up on for a store that is merely away."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import pytest

from sealane.rpc.health import Readiness
from sealane.store.gate import ProbeGate, StoreRefused
from sealane.store.port import AccessDenied, OutcomeUnknown, StoreError
from sealane.store.probe import ProbeReport, Verdict, probe
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import Flaws

T = TypeVar("T")


class Away:
    """A fault plan with a switch: every call fails with ``error`` while it is set."""

    def __init__(self, error: StoreError | None = None) -> None:
        self.error = error

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        if self.error is not None:
            raise self.error
        return effect()


def gate_of(
    store: SimulatedStore,
    readiness: Readiness,
    *,
    accept: tuple[str, ...] = (),
    report: ProbeReport | None = None,
    prove_again: Callable[[], Awaitable[ProbeReport]] | None = None,
) -> ProbeGate:
    """With the real probe (or one that answers ``report``), and no time to lose."""

    async def answered() -> ProbeReport:
        assert report is not None
        return report

    real = partial(probe, store, entropy=random.Random(1).randbytes, races=2)
    return ProbeGate(
        store,
        answered if report is not None else real,
        readiness,
        rng=random.Random(2),
        accept=accept,
        first_pause=0.001,
        longest_pause=0.005,
        watch_seconds=0.002,
        prove_again=prove_again,
        settle_seconds=0.002,
    )


@contextlib.asynccontextmanager
async def running(gate: ProbeGate) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(gate.run())
    try:
        async with asyncio.timeout(60):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(readiness: Readiness, ready: bool) -> None:
    while readiness.ready is not ready:
        await readiness.changed()


async def test_an_honest_store_opens_the_gate() -> None:
    """R1-R6 all given: ready, and the report is there for GetServerInfo."""
    readiness = Readiness()
    gate = gate_of(SimulatedStore(), readiness)
    before = (gate.accepted, gate.report, readiness.ready)
    async with running(gate):
        await until(readiness, True)
        assert before == (False, None, False)
        assert gate.accepted
        assert gate.report is not None
        assert gate.report.ok


async def test_a_store_that_ignores_if_none_match_is_refused_by_name() -> None:
    """Section 2: a negative verdict ends the process and names the guarantee; no call was ever served."""
    store, readiness = SimulatedStore(SimulatedBucket(flaws=Flaws(ignores_if_absent=True))), Readiness()
    gate = gate_of(store, readiness)
    async with running(gate) as task:
        with pytest.raises(StoreRefused, match="does not give R2") as refused:
            await task
    assert refused.value.missing == ("R2",)
    assert not gate.accepted
    assert not readiness.ready


async def test_a_weakness_is_accepted_by_its_own_name_only() -> None:
    """An operator may accept R2's lack; who accepted R5's has not accepted R2's."""
    store, readiness = SimulatedStore(SimulatedBucket(flaws=Flaws(ignores_if_absent=True))), Readiness()
    async with running(gate_of(store, readiness, accept=("R5",))) as task:
        with pytest.raises(StoreRefused):
            await task
    gate = gate_of(store, readiness, accept=("R2",))
    async with running(gate):
        await until(readiness, True)
        assert gate.accepted
        assert gate.report is not None
        assert gate.report.missing == ("R2",)


async def test_what_was_not_tried_is_not_proven() -> None:
    """Beside an accepted weakness the probe may not have reached the others: still closed, tried again."""
    weak = Verdict("R2", False, "two winners", 0.1)
    report = ProbeReport((weak,), untried=("R5",), prefix="p", cleaned=True)
    readiness = Readiness()
    gate = gate_of(SimulatedStore(), readiness, accept=("R2",), report=report)
    async with running(gate):
        while "out of reach" not in readiness.why:
            await readiness.changed()
        assert not gate.accepted


@pytest.mark.parametrize("error", [OutcomeUnknown("connection refused"), AccessDenied("no such key id")])
async def test_a_store_out_of_reach_is_no_verdict(error: StoreError) -> None:
    """Alive and not ready, however long it takes; the store coming up opens the gate by itself."""
    away = Away(error)
    readiness = Readiness()
    gate = gate_of(SimulatedStore(faults=away), readiness)
    async with running(gate) as task:
        while "out of reach" not in readiness.why:
            await readiness.changed()
        assert not task.done()
        assert not gate.accepted
        away.error = None
        await until(readiness, True)
        assert gate.accepted


async def test_a_store_that_goes_away_later_makes_the_replica_not_ready_until_it_is_back() -> None:
    """The verdict stands, readiness goes: calls in hand fail by themselves, new ones go elsewhere."""
    away = Away()
    readiness = Readiness()
    gate = gate_of(SimulatedStore(faults=away), readiness)
    async with running(gate):
        await until(readiness, True)
        away.error = OutcomeUnknown("cut")
        await until(readiness, False)
        assert "away" in readiness.why
        assert gate.accepted
        away.error = None
        await until(readiness, True)


@pytest.mark.parametrize("weak", [False, True])
async def test_a_store_that_comes_back_is_asked_for_r2_again_before_anything_is_accepted(weak: bool) -> None:
    """SeaweedFS lacks it in the second after its start; a store that lacks it then for good ends the process."""
    away, flaws = Away(), Flaws()
    readiness = Readiness()
    store = SimulatedStore(SimulatedBucket(flaws=flaws), faults=away)
    asked = asyncio.Event()

    async def again() -> ProbeReport:
        asked.set()
        assert not gate.accepted
        assert not readiness.ready
        return await probe(store, entropy=random.Random(3).randbytes, races=2, only=("R2",))

    gate = gate_of(store, readiness, prove_again=again)
    async with running(gate) as task:
        await until(readiness, True)
        away.error = OutcomeUnknown("cut")
        await until(readiness, False)
        assert not gate.accepted
        store.state.flaws = dataclasses.replace(flaws, ignores_if_absent=weak)
        away.error = None
        if weak:
            with pytest.raises(StoreRefused, match="R2"):
                await task
        else:
            await until(readiness, True)
            assert gate.accepted
        assert asked.is_set()


async def test_a_store_that_goes_again_while_it_is_proven_is_away() -> None:
    away = Away()
    readiness = Readiness()
    tries = 0

    async def again() -> ProbeReport:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OutcomeUnknown("gone again")
        return ProbeReport((), (), "", cleaned=True)

    gate = gate_of(SimulatedStore(faults=away), readiness, prove_again=again)
    async with running(gate):
        await until(readiness, True)
        away.error = OutcomeUnknown("cut")
        await until(readiness, False)
        away.error = None
        await until(readiness, True)
    assert tries == 3


async def test_one_miss_alone_is_no_outage() -> None:
    """A single slow answer under load must not take the replica out of rotation."""

    class EveryOther(Away):
        misses = 0
        enough = asyncio.Event()

        async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
            if key.endswith("reach"):
                self.misses += 1
                if self.misses == 8:
                    self.enough.set()
                if self.misses % 2:
                    raise OutcomeUnknown("hiccup")
            return effect()

    changes: list[str] = []

    class Recorded(Readiness):
        def set(self, ready: bool, why: str = "", *, of: str = "service") -> None:
            super().set(ready, why, of=of)
            changes.append(self.why)

    hiccups, readiness = EveryOther(), Recorded()
    async with running(gate_of(SimulatedStore(faults=hiccups), readiness)):
        await hiccups.enough.wait()
    assert set(changes) == {""}


async def test_a_store_that_answers_others_is_not_away_however_long_a_look_takes() -> None:
    """In the crowd of an overload a look may come too late, twice: that takes no replica out of rotation."""

    class Crowded(Away):
        misses = 0
        crowd = True

        async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
            if key.endswith("reach"):
                self.misses += 1
                if self.crowd:
                    gate.heard("ok")
                raise OutcomeUnknown("too late")
            return effect()

    crowded, readiness = Crowded(), Readiness()
    gate = gate_of(SimulatedStore(faults=crowded), readiness)
    async with running(gate):
        await until(readiness, True)
        while crowded.misses < 10:  # noqa: ASYNC110 - so many looks
            await asyncio.sleep(0.001)
        assert readiness.ready
        crowded.crowd = False
        await until(readiness, False)


async def test_readiness_is_the_sum_of_its_conditions() -> None:
    """A gate that finds its store again must not make a draining replica ready."""
    readiness = Readiness(waiting_for=("store", "kernel"))
    seen: list[tuple[bool, str]] = []
    for of, ready in [("store", True), ("kernel", True), ("drain", False), ("store", False), ("store", True)]:
        readiness.set(ready, "because", of=of)
        seen.append((readiness.ready, readiness.why))
    assert seen == [
        (False, "kernel: not yet known"),
        (True, ""),
        (False, "drain: because"),
        (False, "drain: because; store: because"),
        (False, "drain: because"),
    ]


async def test_every_change_wakes_whoever_waits() -> None:
    """No change is lost between looking and waiting."""
    readiness = Readiness(waiting_for=())
    waiting: Any = asyncio.ensure_future(readiness.changed())
    await asyncio.sleep(0)
    readiness.set(True)  # no change
    await asyncio.sleep(0)
    assert not waiting.done()
    readiness.set(False, "x")
    await asyncio.wait_for(waiting, 5)
