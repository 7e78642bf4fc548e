"""``make simulate``: one seed with its trace, or many over all cores."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation import record
from tests.simulation.plan import make
from tests.simulation.run import Tally, many, play, prepare, shrink


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    arguments.add_argument("--seed", type=int, help="run this one, and tell all of it; a failing one is shrunk, too")
    arguments.add_argument("-n", type=int, default=10_000, help="how many seeds")
    arguments.add_argument("--start", type=int, default=0, help="the first of them")
    arguments.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    arguments.add_argument("--record", action="store_true", help="add a line to tests/simulation/seeds.jsonl")
    arguments.add_argument("--digest", action="store_true", help="print a digest of each seed's trace, and no more")
    given = arguments.parse_args()
    if given.digest:
        return _digests(given.start, given.n)
    return _several(given) if given.seed is None else _one(given.seed)


def _one(seed: int) -> int:
    prepare()
    result = play(make(seed), trace=True)
    print("\n".join(result.trace))
    print(f"\n{result.plan}\n")
    if not result.violations:
        print(f"No violation. Sessions: {dict(result.outcomes)}; faults: {result.fired}")
        return 0
    for found in result.violations:
        print(f"{found.invariant} at {found.at:.3f} s: {found.text}")
    smallest = shrink(result.plan)
    if smallest != result.plan:
        again = play(smallest, trace=True)
        print("\nShrunk to:\n")
        print("\n".join(again.trace))
        print(f"\n{smallest}\n")
        for found in again.violations:
            print(f"{found.invariant} at {found.at:.3f} s: {found.text}")
    return 1


def _several(given: argparse.Namespace) -> int:
    began = told = time.monotonic()
    sha = record.commit() if given.record else ""
    tally = Tally()
    for tally in many(given.start, given.n, given.jobs):
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"  {tally.seeds} seeds, {len(tally.violations)} violations", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    each = seconds * 1e3 / max(1, tally.seeds)
    print(f"{tally.seeds} seeds from {given.start} in {seconds:.1f} s with {given.jobs} processes ({each:.1f} ms each)")
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(tally.fired.items())))
    print("sessions: " + ", ".join(f"{outcome} {count}" for outcome, count in sorted(tally.outcomes.items())))
    print(f"violations: {len(tally.violations)}")
    for seed, text in sorted(tally.violations)[:20]:
        print(f"  make simulate SEED={seed}   {text.splitlines()[0][:200]}")
    if given.record:
        if tally.seeds == given.n:
            record.write("seeds", sha, given.start, given.n, sorted(seed for seed, _ in tally.violations), seconds)
        print("recorded in all: {} seeds, {} violations".format(*record.total()))
    return 1 if tally.violations else 0


def _digests(start: int, count: int) -> int:
    prepare()
    for seed in range(start, start + count):
        print(seed, play(make(seed), trace=True).digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
