"""A simulated store behind a gate with the services' own times, for tests in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from sealane.rpc.health import Readiness
from sealane.store.gate import ProbeGate
from sealane.store.observed import NO_LISTENER, ObservedStore
from sealane.store.port import NoListener, StoreError
from sealane.store.probe import LOST_AT_START, ProbeReport, Verdict, probe
from sealane.store.simulated import SimulatedStore

T = TypeVar("T")
GIVEN = ProbeReport((), (), "", cleaned=True)
LACKING = ProbeReport((Verdict("R2", False, "two winners", 0.1),), (), "", cleaned=True)


class Store:
    """``error`` is what every call fails with, ``refuse_next`` the end of the key whose next call alone is refused."""

    def __init__(self, *, refused: float = 0.0, probe_for_real: bool = False) -> None:
        """``refused`` is the share of all connections that is; ``probe_for_real``: the probe, of R2 alone, is tried
        in place of what the test says was found."""
        self._dice = random.Random(5)
        self._share = refused
        self._for_real = probe_for_real
        self.refused_in_proofs = 0
        """So many times more a proof dials again, once in each."""
        self.error: StoreError | None = None
        self.refuse_next: str | None = None
        self.found = GIVEN
        """What it is proven to give."""
        self.probes: list[float] = []
        self.proofs: list[float] = []
        self.looks: list[float] = []
        self.readiness = Readiness()
        self._beneath = SimulatedStore(faults=self)
        self.observed = ObservedStore(self._beneath, lambda _op, outcome, _s: self.gate.heard(outcome))
        self.gate = ProbeGate(
            self.observed, self._given, self.readiness, rng=random.Random(1), prove_again=self._proven_again
        )

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        if key.endswith("reach"):
            self.looks.append(now())
        if self.refuse_next is not None and key.endswith(self.refuse_next):
            self.refuse_next = None
            raise NoListener("refused")
        if self.error is not None:
            raise self.error
        if self._dice.random() < self._share:
            raise NoListener("refused")
        return effect()

    async def _given(self) -> ProbeReport:
        self.probes.append(now())
        await self._proven()
        return GIVEN

    async def _proven_again(self) -> ProbeReport:
        assert not self.gate.accepted
        self.proofs.append(now())
        await self._proven()
        return self.found

    async def _proven(self) -> None:
        if self.error is not None:
            raise self.error
        if self.refused_in_proofs:
            self.refused_in_proofs -= 1
            self.gate.heard(NO_LISTENER)
        if self._for_real:
            report = await probe(
                self._beneath,
                entropy=self._dice.randbytes,
                only=LOST_AT_START,
                on_refused=lambda: self.gate.heard(NO_LISTENER),
            )
            assert report.ok

    async def call(self) -> None:
        """Somebody's call, whatever comes of it."""
        with contextlib.suppress(StoreError):
            await self.observed.get("k", timeout=1.0)

    async def until_looked_for(self) -> None:
        looks = len(self.looks)
        while len(self.looks) == looks:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)

    async def until(self, ready: bool) -> None:
        while self.readiness.ready is not ready:
            await self.readiness.changed()


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def running(store: Store) -> AsyncIterator[Store]:
    """Its gate runs."""
    task = asyncio.create_task(store.gate.run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Store]:
    """It is proven."""
    async with running(Store()) as store:
        await store.until(True)
        yield store
