"""One chaos, from the first process to the reckoning; and how it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clients import crew
from .cluster import Cluster, cluster
from .hand import Hand, Tally, plan
from .ledger import Ledger
from .reckoning import Verified, reckon

_TELL_SECONDS = 15.0
_PATIENCE = 300.0
"""After the last fault, for everything that was begun to end, and as long again for what must be gone: seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how hard. The end comes with ``seconds`` or with ``kills``, whichever is first (None: never)."""

    seed: int
    seconds: float | None
    kills: int | None = None
    pace: float = 3.0
    """Seconds between two moves of the hand, on average."""
    lanes: int = 6
    replicas: int = 2
    first_calm: float = 0.0
    patience: float = _PATIENCE


@dataclass(slots=True)
class Report:
    """What was done, and what came of it."""

    seed: int
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    ledger: Ledger = field(default_factory=Ledger)
    verified: Verified = field(default_factory=Verified)
    faults: Counter[str] = field(default_factory=Counter)
    proxied_bytes: int = 0
    births: int = 0
    starts: list[float] = field(default_factory=list)
    seconds_to_recover: float = 0.0
    alarms: Counter[str] = field(default_factory=Counter)
    """Lines that would have woken an operator, by their event: none is due."""

    @property
    def ok(self) -> bool:
        return not self.ledger.violations

    @property
    def median_start(self) -> float:
        return statistics.median(self.starts) if self.starts else 0.0

    def rows(self) -> list[tuple[str, str]]:
        ledger, tally = self.ledger, self.tally
        kinds = Counter(entry.kind for entry in ledger.entries)
        committed = Counter(entry.kind for entry in ledger.entries if entry.answers)
        return [
            ("seed", str(self.seed)),
            ("minutes", f"{self.seconds / 60:.1f}"),
            ("kills (SIGKILL)", f"{tally.all_kills:,}: " + _counts(tally.kills)),
            ("  of these, before they were ready", f"{tally.kills_while_starting:,}"),
            ("processes born", f"{self.births:,}; ready after {self.median_start:.1f} s (median)"),
            ("moves of the hand", _counts(tally.blows)),
            ("faults that struck on links", f"{sum(self.faults.values()):,}: " + _counts(self.faults)),
            ("bytes through the links", f"{self.proxied_bytes:,}"),
            ("sessions", f"{len(ledger.entries):,}: " + _counts(kinds)),
            ("  committed", f"{sum(committed.values()):,}: " + _counts(committed)),
            ("  gone without a trace", f"{self.verified.gone:,}"),
            ("  that nobody finished, aborted in the end", f"{self.verified.strangers:,}"),
            ("answers to commits, equal per session", f"{ledger.commit_answers:,}"),
            ("errors ridden out", _counts(ledger.errors)),
            ("objects read back and equal", f"{self.verified.objects:,}"),
            ("bytes read back and equal", f"{self.verified.bytes:,}"),
            ("acknowledged chunks in them", f"{self.verified.acknowledged_chunks:,}"),
            ("generations of chosen keys, each once", f"{self.verified.generations:,}"),
            ("keys that sealane's audit walked", f"{self.verified.audited_keys:,}"),
            ("keys in the bucket, all explained", f"{self.verified.keys:,}"),
            ("seconds until all was ready again", f"{self.seconds_to_recover:.1f}"),
            ("alarms in the logs", _counts(self.alarms)),
            ("violations", str(len(ledger.violations))),
        ]

    def document(self) -> dict[str, Any]:
        kinds = Counter(entry.kind for entry in self.ledger.entries)
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "python": platform.python_version(),
            "kills": dict(self.tally.kills),
            "kills_total": self.tally.all_kills,
            "kills_while_starting": self.tally.kills_while_starting,
            "moves_that_found_nobody_ready": self.tally.passed_over,
            "births": self.births,
            "median_start_seconds": round(self.median_start, 2),
            "moves": dict(self.tally.blows),
            "faults": dict(self.faults),
            "proxied_bytes": self.proxied_bytes,
            "sessions": dict(kinds),
            "sessions_total": len(self.ledger.entries),
            "committed": sum(bool(entry.answers) for entry in self.ledger.entries),
            "gone": self.verified.gone,
            "strangers": self.verified.strangers,
            "commit_answers": self.ledger.commit_answers,
            "errors": dict(self.ledger.errors),
            "objects_verified": self.verified.objects,
            "bytes_verified": self.verified.bytes,
            "acknowledged_chunks": self.verified.acknowledged_chunks,
            "generations": self.verified.generations,
            "audited_keys": self.verified.audited_keys,
            "keys": self.verified.keys,
            "alarms": dict(self.alarms),
            "seconds_to_recover": round(self.seconds_to_recover, 1),
            "violations": self.ledger.violations,
        }


async def chaos(options: Options, directory: Path, *, kernel: Path, enough: asyncio.Event | None = None) -> Report:
    """All of it; ``enough`` ends the blows early.

    Raises only what is wrong with the machine; what is wrong with sealane is in the report.
    """
    report = Report(options.seed)
    rng = random.Random(f"clients {options.seed}")
    began = time.monotonic()
    async with cluster(
        directory, replicas=options.replicas, rng=rng, kernel=kernel, violation=report.ledger.violation
    ) as struck:
        await struck.all_ready()
        async with crew(struck, report.ledger) as clients:
            over = asyncio.Event()
            lanes = [
                asyncio.create_task(clients.lane(f"{options.seed}/{lane}", random.Random(rng.random()), over))
                for lane in range(options.lanes)
            ]
            hand = Hand(struck, report.tally)
            watch = asyncio.create_task(_tell(report, lanes))
            await asyncio.sleep(options.first_calm)
            await _struck(hand, options, report, enough or asyncio.Event())
            over.set()
            await hand.rest()
            calm = time.monotonic()
            try:
                await struck.all_ready()
            except TimeoutError:
                report.ledger.violation("not every replica was ready again")
            report.seconds_to_recover = time.monotonic() - calm
            _, waiting = await asyncio.wait(lanes, timeout=options.patience)
            for lane in waiting:
                report.ledger.violation(f"I14: a client waits for ever: {lane.get_stack(limit=1)}")
                lane.cancel()
            for result in await asyncio.gather(*lanes, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
            watch.cancel()
            report.verified = await reckon(struck, report.ledger, clients.client, patience=options.patience)
        _count(report, struck)
    report.seconds = time.monotonic() - began
    return report


async def _struck(hand: Hand, options: Options, report: Report, enough: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    until = float("inf") if options.seconds is None else loop.time() + options.seconds
    for move in plan(options.seed, pace=options.pace):
        pause = min(move.pause, until - loop.time())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), max(0.0, pause))
        if enough.is_set() or loop.time() >= until:
            return
        await hand.strike(move)
        if options.kills is not None and report.tally.all_kills >= options.kills:
            return


async def _tell(report: Report, lanes: list[asyncio.Task[None]]) -> None:
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        committed = sum(bool(entry.answers) for entry in report.ledger.entries)
        print(
            f"{report.tally.all_kills} kills, {len(report.ledger.entries)} sessions, {committed} committed, "
            f"{sum(not lane.done() for lane in lanes)} clients at work, {len(report.ledger.violations)} violations",
            file=sys.stderr,
            flush=True,
        )


def _count(report: Report, struck: Cluster) -> None:
    for link in struck.links.values():
        report.faults.update(link.suffered)
        report.proxied_bytes += link.bytes
    report.starts = [seconds for replica in struck.replicas for seconds in replica.starts]
    for replica in struck.replicas:
        report.alarms.update(_alarms(replica.log))
    report.births = sum(replica.births for replica in struck.replicas)


def _alarms(log: Path) -> Iterator[str]:
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"alarm": true' in line:
                with contextlib.suppress(ValueError):  # a line that a kill has cut
                    yield str(json.loads(line).get("event"))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"
