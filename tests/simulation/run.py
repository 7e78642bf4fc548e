"""Runs of seeds: one, with its trace; many, over processes; and a failing one, shrunk."""

from __future__ import annotations

import functools
import gc
import hashlib
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import structlog

from sealane.domain import blake3_tree
from sealane.domain.records import MultipartRecord, SessionRecord
from tests.simulation.plan import Plan, make
from tests.simulation.world import Violation, World

BATCH = 200
"""Seeds that a process takes at once."""
_errors: list[str] = []


def _note(logger: Any, method: str, event: Any) -> Any:
    """Of the services' own logs only errors count, and they are violations."""
    _errors.append(str(event))
    raise structlog.DropEvent


def prepare() -> None:
    """Make this process one for simulation: no logs, no words about coroutines that a crash has left, quick hashes."""
    structlog.configure(
        processors=[_note],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=True,
    )
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    warnings.simplefilter("ignore", RuntimeWarning)
    # A pure function of some 190 microseconds; contents are cut from a small stock.
    blake3_tree._compress = functools.lru_cache(1 << 16)(blake3_tree._compress)
    # Records never change, and are read some thirty times a run: parsed once.
    for record in (SessionRecord, MultipartRecord):
        setattr(record, "parse", staticmethod(functools.lru_cache(4096)(record.parse)))  # noqa: B010 - mypy
    gc.disable()  # a collection in the middle of a run would end what a crash has left, at another step each time
    gc.freeze()


@dataclass
class Result:
    """What came of one run. ``outcomes`` counts sessions."""

    plan: Plan
    violations: list[Violation]
    fired: dict[str, int]
    outcomes: Counter[str]
    trace: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def play(plan: Plan, *, trace: bool = False) -> Result:
    """Run ``plan``."""
    _errors.clear()
    world = World(plan, trace=trace)
    violations = world.play()
    if _errors and not violations:
        violations.append(Violation("BUG", f"logged as an error: {_errors[0]}", 0.0))
    outcomes = Counter("LOST" if facts.lost else str(facts.outcome) for facts in world.model.sessions.values())
    return Result(plan, violations, world.faults.fired, outcomes, world.trace.lines if world.trace else [])


def shrink(plan: Plan, *, seconds: float = 60.0) -> Plan:
    """The smallest plan found that breaks the same invariant: one item less at a time, as long as it still does."""
    broken = {violation.invariant for violation in play(plan).violations[:1]}
    until = time.monotonic() + seconds
    smaller = True
    while smaller and time.monotonic() < until:
        smaller = False
        for candidate in plan.smaller():
            if not candidate.deeds:
                continue
            found = play(candidate).violations
            if found and found[0].invariant in broken:
                plan, smaller = candidate, True
                break
    return plan


@dataclass
class Tally:
    """What came of many seeds."""

    seeds: int = 0
    violations: list[tuple[int, str]] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.violations += other.violations
        self.fired.update(other.fired)
        self.outcomes.update(other.outcomes)


def batch(first: int, count: int) -> Tally:
    """Seeds ``first`` … in this process."""
    tally = Tally()
    for seed in range(first, first + count):
        result = play(make(seed))
        tally.seeds += 1
        tally.fired.update(result.fired)
        tally.outcomes.update(result.outcomes)
        tally.violations += [(seed, f"{found.invariant}: {found.text}") for found in result.violations[:1]]
        if seed % 50 == 49:
            gc.collect()
    return tally


def many(first: int, count: int, jobs: int, *, most: int = 20) -> Iterator[Tally]:
    """Seeds ``first`` … over ``jobs`` processes; the tally after each batch. Ends early at ``most`` violations."""
    total = Tally()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=prepare) as pool:
        waiting = {
            pool.submit(batch, start, min(BATCH, first + count - start)) for start in range(first, first + count, BATCH)
        }
        for done in as_completed(waiting):
            total.add(done.result())
            yield total
            if len(total.violations) >= most:
                pool.shutdown(cancel_futures=True)
                return
