"""The seeded hand: what is struck next, how, and when; and the striking itself."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sealane.rpc.server import EXIT_SECOND_SIGNAL

from .cluster import Cluster, Replica
from .proxy import Fault, Weather
from .terms import LONG_STOP


class Blow(StrEnum):
    """What the hand does to a replica, to the store, or to a link."""

    KILL = "SIGKILL"
    TERMINATE = "SIGTERM"
    STOP_SHORT = "SIGSTOP for a moment"
    STOP_LONG = "SIGSTOP beyond ttl + grace + retention"
    STORE_KILL = "store: SIGKILL"
    STORE_TERMINATE = "store: SIGTERM"
    STORE_STOP = "store: SIGSTOP"
    WEATHER = "link"


_BOLD = 0.25
_STORE_SPARED_SECONDS = 20.0
"""After it was struck: without a store nothing happens that could go wrong."""
_OF_THE_STORE = "the store is struck"
_WEIGHTS: dict[Blow, int] = {
    Blow.KILL: 64,
    Blow.TERMINATE: 5,
    Blow.STOP_SHORT: 4,
    Blow.STOP_LONG: 3,
    Blow.STORE_KILL: 4,
    Blow.STORE_TERMINATE: 1,
    Blow.STORE_STOP: 2,
    Blow.WEATHER: 18,
}


@dataclass(frozen=True, slots=True)
class Strike:
    """One move, whole: the same seed gives the same list, whatever the machine makes of it."""

    pause: float
    """Seconds since the move before."""
    blow: Blow
    where: float
    """0…1, of the replicas or links that there are."""
    seconds: float = 0.0
    """How long it lasts: a stop, a weather, the time until what ended begins again."""
    weather: Weather | None = None
    bold: bool = False
    """Also a replica that is not ready yet; else another one, or none: who never gets up proves nothing."""


def plan(seed: int, *, pace: float) -> Iterator[Strike]:
    """Moves without end, ``pace`` seconds apart on average."""
    rng = random.Random(f"hand {seed}")
    blows, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    while True:
        blow = rng.choices(blows, weights)[0]
        pause, where = rng.expovariate(1 / pace), rng.random()
        match blow:
            case Blow.KILL | Blow.TERMINATE:
                again = rng.choice((0.0, 0.0, 0.0, rng.uniform(0.0, 4.0)))
                yield Strike(pause, blow, where, again, bold=rng.random() < _BOLD)
            case Blow.STOP_SHORT:
                yield Strike(pause, blow, where, rng.uniform(0.05, 3.0), bold=True)
            case Blow.STOP_LONG:
                yield Strike(pause, blow, where, LONG_STOP + rng.uniform(0.0, 4.0))
            case Blow.STORE_KILL | Blow.STORE_TERMINATE:
                yield Strike(pause, blow, where, rng.choice((0.0, 0.0, rng.uniform(0.0, 6.0))))
            case Blow.STORE_STOP:
                yield Strike(pause, blow, where, rng.uniform(0.1, 8.0))
            case Blow.WEATHER:
                fault = rng.choice(list(Fault))
                chance = 1.0 if fault is Fault.BLACKHOLE else rng.choice((0.05, 0.2, 0.5))
                yield Strike(pause, blow, where, rng.uniform(1.0, 12.0), Weather(fault, chance))


@dataclass(slots=True)
class Tally:
    """What was done."""

    blows: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    """SIGKILLs that found a process, by what it was."""
    kills_while_starting: int = 0
    passed_over: int = 0
    """Moves that found nobody ready."""

    @property
    def all_kills(self) -> int:
        return sum(self.kills.values())


class Hand:
    """Carries a plan out."""

    def __init__(self, cluster: Cluster, tally: Tally) -> None:
        self._cluster = cluster
        self._tally = tally
        self._lasting: set[asyncio.Task[None]] = set()
        self._stopped: set[str] = set()
        self._foul: set[str] = set()
        self._spare_store_until = 0.0

    async def strike(self, move: Strike) -> None:
        """Begin it; what lasts goes on by itself."""
        links = list(self._cluster.links)
        replica = self._whom(move)
        match move.blow:
            case Blow.KILL | Blow.TERMINATE | Blow.STOP_SHORT | Blow.STOP_LONG if replica is None:
                self._tally.passed_over += 1
            case Blow.KILL if replica:
                self._kill(replica, move)
            case Blow.TERMINATE if replica:
                replica.pause = move.seconds
                if replica.strike(signal.SIGTERM, 0, -signal.SIGTERM, EXIT_SECOND_SIGNAL):
                    self._tally.blows[move.blow] += 1
            case Blow.STOP_SHORT | Blow.STOP_LONG if replica:
                if replica.name not in self._stopped:
                    self._last(self._stop(replica, move))
            case Blow.STORE_KILL | Blow.STORE_TERMINATE | Blow.STORE_STOP:
                if not self._cluster.store_busy.locked() and time.monotonic() > self._spare_store_until:
                    self._last(self._strike_store(move), _OF_THE_STORE)
            case Blow.WEATHER:
                name = links[int(move.where * len(links))]
                if name not in self._foul:
                    self._last(self._weather(name, move))

    async def rest(self) -> None:
        """Let go of everything: weather fair, stopped processes going, the store up."""
        for link in self._cluster.links.values():
            link.set(None)
        for replica in self._cluster.replicas:
            replica.strike(signal.SIGCONT)
        stores = [task for task in self._lasting if task.get_name() == _OF_THE_STORE]
        for task in self._lasting.difference(stores):
            task.cancel()
        await asyncio.gather(*self._lasting, return_exceptions=True)

    def _whom(self, move: Strike) -> Replica | None:
        there = [each for each in self._cluster.replicas if each.process and (move.bold or each.ready_at)]
        return there[int(move.where * len(there))] if there else None

    def _kill(self, replica: Replica, move: Strike) -> None:
        starting = not replica.ready_at
        replica.pause = move.seconds
        if replica.strike(signal.SIGKILL, -signal.SIGKILL):
            self._tally.blows[move.blow] += 1
            self._tally.kills[replica.kind] += 1
            self._tally.kills_while_starting += starting

    async def _stop(self, replica: Replica, move: Strike) -> None:
        if not replica.strike(signal.SIGSTOP):
            return
        self._tally.blows[move.blow] += 1
        self._stopped.add(replica.name)
        try:
            await asyncio.sleep(move.seconds)
        finally:
            self._stopped.discard(replica.name)
            replica.strike(signal.SIGCONT)

    async def _strike_store(self, move: Strike) -> None:
        self._tally.blows[move.blow] += 1
        try:
            match move.blow:
                case Blow.STORE_STOP:
                    await self._cluster.stop_store(move.seconds)
                case Blow.STORE_KILL:
                    self._tally.kills["store"] += 1
                    await self._cluster.restart_store(signal.SIGKILL, down=move.seconds)
                case _:
                    await self._cluster.restart_store(signal.SIGTERM, down=move.seconds)
        finally:
            self._spare_store_until = time.monotonic() + _STORE_SPARED_SECONDS

    async def _weather(self, name: str, move: Strike) -> None:
        self._tally.blows[move.blow] += 1
        self._foul.add(name)
        self._cluster.links[name].set(move.weather)
        try:
            await asyncio.sleep(move.seconds)
        finally:
            self._foul.discard(name)
            self._cluster.links[name].set(None)

    def _last(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)
