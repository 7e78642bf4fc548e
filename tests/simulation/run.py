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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, TypeVar, cast

import structlog

from sealane.domain import blake3_tree
from sealane.domain.claims import ClaimRecord
from sealane.domain.decision import Decision
from sealane.domain.records import MultipartRecord, SessionRecord, parse_done
from sealane.store import session_records
from tests.simulation.plan import make
from tests.simulation.plans import Plan
from tests.simulation.world import Violation, World

T = TypeVar("T")

BATCH = 200
"""Seeds that a process takes at once."""
_errors: list[str] = []


def _note(logger: Any, method: str, event: Any) -> Any:
    """Of the services' own logs only errors count, and they are violations."""
    _errors.append(str(event))
    raise structlog.DropEvent


def _once(parse: Callable[[Any], T]) -> Callable[[Any], T]:
    """``parse`` that remembers what it made of bytes; a claim has its decision's values in it, which are none."""
    known = functools.lru_cache(256)(parse)

    def parse_once(body: Any) -> T:
        return known(body) if type(body) is bytes else parse(body)

    return parse_once


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
    for record in (SessionRecord, MultipartRecord, Decision, ClaimRecord):
        setattr(record, "parse", staticmethod(_once(record.parse)))  # noqa: B010 - mypy
    setattr(session_records, "parse_done", _once(parse_done))  # noqa: B010 - mypy
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
    sessions = [facts for model in world.models.values() for facts in model.sessions.values()]
    outcomes = Counter("LOST" if facts.lost else str(facts.outcome) for facts in sessions)
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
    return tally


def many(first: int, count: int, jobs: int, *, most: int = 20) -> Iterator[Tally]:
    """Seeds ``first`` … over ``jobs`` processes; the tally after each batch. Ends early at ``most`` violations.

    Each batch has a process of its own, forked from this one: what its runs have left, some 350 KiB each, goes with
    it, and no collector has to look for it, which cost a fifth of a run.
    """
    prepare()
    fork = get_context("fork")
    total = Tally()
    waiting = [(start, min(BATCH, first + count - start)) for start in range(first, first + count, BATCH)][::-1]
    running: dict[Connection, ForkProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, theirs = fork.Pipe(duplex=False)
                running[ours] = fork.Process(target=_send, args=(theirs, *waiting.pop()))
                running[ours].start()
                theirs.close()
            for answered in cast("list[Connection]", wait(list(running))):
                process = running.pop(answered)
                total.add(answered.recv())  # EOFError: it has died
                process.join()
                yield total
                if len(total.violations) >= most:
                    return
    finally:
        for process in running.values():
            process.kill()


def _send(to: Connection, first: int, count: int) -> None:
    to.send(batch(first, count))
