"""``make crash-points``: every crash point, and every interleaving of two actors, counted and printed."""

from __future__ import annotations

import argparse
import gc
import sys
import time

from tests.simulation import crash_points, interleavings
from tests.simulation.pairs import PAIRS
from tests.simulation.run import prepare


def _points(every: int, only: str) -> int:
    wrong = points = 0
    for operation in crash_points.OPERATIONS:
        if only not in operation.name:
            continue
        began = time.monotonic()
        cases = list(crash_points.cases(operation))
        found = []
        for number, case in enumerate(cases):
            if number % every:
                continue
            points += 1
            violations, _ = crash_points.strike(case)
            if violations:
                found.append((case, violations[0]))
            if points % 50 == 0:
                gc.collect()
        calls = len(cases) // (2 * len(crash_points.KINDS))
        taken = len(range(0, len(cases), every))
        print(
            f"  {operation.name:32} {calls:4} store calls, {taken:5} points, {len(found)} violations"
            f"  ({time.monotonic() - began:.1f} s)",
            flush=True,
        )
        for case, violation in found[:5]:
            print(f"      {case}\n        {violation.invariant}: {violation.text.splitlines()[0][:300]}")
        if found and only:
            _, scene = crash_points.strike(found[0][0], trace=True)
            print("\n".join(scene.trace.lines if scene.trace else []))
            print(found[0][1].text)
        wrong += len(found)
    print(f"crash points: {points}, violations: {wrong}")
    return wrong


def _schedules(preemptions: int, only: str, every: int) -> int:
    wrong = runs = 0
    for pair in PAIRS:
        if only not in pair.name:
            continue
        began = time.monotonic()
        found = []
        count = 0
        for first, segments, violations in interleavings.schedules(pair, preemptions, every):
            count += 1
            if violations:
                found.append((first, segments, violations[0]))
            if count % 50 == 0:
                gc.collect()
        print(
            f"  {pair.name:32} {count:6} schedules, {len(found)} violations  ({time.monotonic() - began:.1f} s)",
            flush=True,
        )
        for first, segments, violation in found[:5]:
            print(f"      {first} first, {segments}: {violation.invariant}: {violation.text.splitlines()[0][:400]}")
        if found and only:
            duel, _ = interleavings.run(pair, found[0][0], found[0][1], trace=True)
            print("\n".join(duel.trace.lines if duel.trace else []))
            print(found[0][2].text)
        runs += count
        wrong += len(found)
    print(f"schedules of up to {preemptions} preemptions: {runs}, violations: {wrong}")
    return wrong


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation.points", description=__doc__)
    arguments.add_argument("--every", type=int, default=1, help="take one point in so many")
    arguments.add_argument("--only", default="", help="operations with this in their names; traces a failure")
    arguments.add_argument("--preemptions", type=int, default=2, help="of two actors, at most; 0: no schedules")
    arguments.add_argument("--no-points", action="store_true", help="schedules alone")
    given = arguments.parse_args()
    prepare()
    wrong = 0 if given.no_points else _points(given.every, given.only)
    if given.preemptions:
        wrong += _schedules(given.preemptions, given.only, given.every)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
