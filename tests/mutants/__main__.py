"""``make mutants``: take every guard of the protocol away in turn, and demand that a test fails. Exit 0 if all do."""

from __future__ import annotations

import argparse
import json
import queue
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.catalogue import ROOT, Mutant, Stale, load
from tests.mutants.workshop import Workshop


class Verdict(StrEnum):
    """What became of a row."""

    NOTICED = "noticed"
    REDUNDANT = "redundant"
    """Nothing failed, and the row says why nothing can."""
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """Something went wrong that is no test's failure: nobody can say that the guard was missed."""
    STALE = "STALE"
    UNPROVEN = "UNPROVEN"
    """Its tests fail with the guard in place."""


GOOD = frozenset({Verdict.NOTICED, Verdict.REDUNDANT})
_CRASHES = ("NameError", "UnboundLocalError", "AttributeError: 'NoneType'")
"""What a mutant shows that does not lack a guard but is no program: it proves nothing about the tests."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    id: str
    rule: str
    file: str
    verdict: Verdict
    by: str
    """The test that noticed."""
    why: str
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="this row alone; a prefix ends in *")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="copies of the tree at work at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in load() if _wanted(mutant.id, arguments.only)]
    if not mutants:
        parser.error("no such row")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sealane-mutants-") as directory:
        rows = run(mutants, Path(directory), jobs=arguments.jobs)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return report(rows, time.monotonic() - began)


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in only)


def run(mutants: Sequence[Mutant], directory: Path, *, jobs: int) -> list[Row]:
    """The rows of ``mutants``, in their order. Prints each as it is known."""
    found = {row.id: row for mutant in mutants if (row := stale(mutant)) is not None}
    tests = sorted({test for mutant in mutants if mutant.id not in found for test in mutant.tests})
    idle: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
    copies = ExitStack()
    for number in range(jobs):
        (directory / str(number)).mkdir()
        idle.put(copies.enter_context(closing(Workshop(directory / str(number), tests))))

    @contextmanager
    def workshop() -> Iterator[Workshop]:
        taken = idle.get()
        try:
            yield taken
        finally:
            idle.put(taken)

    def prove(tests: Sequence[str]) -> dict[str, str]:
        with workshop() as copy:
            return unproven(copy, tests)

    def judge(mutant: Mutant) -> Row:
        with workshop() as copy:
            row = judged(copy, mutant)
        print(line(row), flush=True)
        return row

    print(f"{len(tests)} tests first, with every guard in place.", flush=True)
    with copies, ThreadPoolExecutor(jobs) as pool:
        failing = {test: why for each in pool.map(prove, shares(tests, jobs)) for test, why in each.items()}
        for mutant in mutants:
            why = next((failing[test] for test in mutant.tests if test in failing), None)
            if why is not None and mutant.id not in found:
                found[mutant.id] = row_of(mutant, Verdict.UNPROVEN, why=why)
        for row in found.values():
            print(line(row), flush=True)
        left = [mutant for mutant in mutants if mutant.id not in found]
        print(f"{len(left)} guards to take away, {jobs} at a time.", flush=True)
        found |= {row.id: row for row in pool.map(judge, left)}
    return [found[mutant.id] for mutant in mutants]


def shares(tests: Sequence[str], count: int) -> list[list[str]]:
    """``tests`` in ``count`` parts, each file's in one of them."""
    files = sorted({test.partition("::")[0] for test in tests})
    return [[test for test in tests if files.index(test.partition("::")[0]) % count == part] for part in range(count)]


def unproven(workshop: Workshop, tests: Sequence[str]) -> dict[str, str]:
    """Those of ``tests`` that do not pass although every guard is in place, and why."""
    if not tests:
        return {}
    seen = workshop.run(tests, to_the_end=True)
    failing: dict[str, str] = {}
    for test in tests:
        why = next((why for node, why in (*seen.failed, *seen.errors) if _is_of(node, test)), None)
        if why is None and not any(_is_of(node, test) for node in seen.passed):
            why = seen.errors[0][1] if seen.errors else "it was skipped"
        if why is not None:
            failing[test] = f"{test} with the guard in place: {why}"
    return failing


def _is_of(node: str, test: str) -> bool:
    """Whether a run's ``node`` is ``test``, one of its parameters, or in it."""
    return node == test or node.startswith((f"{test}[", f"{test}::"))


def stale(mutant: Mutant) -> Row | None:
    try:
        mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8"))
        mutant.require_tests()
    except (Stale, OSError) as error:
        return row_of(mutant, Verdict.STALE, why=str(error))
    return None


def judged(workshop: Workshop, mutant: Mutant) -> Row:
    """Take the guard away and run its tests."""
    began = time.monotonic()
    with workshop.without(mutant):
        seen = workshop.run(mutant.tests)
    seconds = time.monotonic() - began
    if seen.errors:
        where, why = seen.errors[0]
        return row_of(mutant, Verdict.BROKEN, by=where, why=why, seconds=seconds)
    if seen.failed:
        by, why = seen.failed[0]
        crashed = any(crash in why for crash in _CRASHES)
        verdict = Verdict.BROKEN if crashed else Verdict.STALE if mutant.redundant else Verdict.NOTICED
        return row_of(mutant, verdict, by=by, why=why, seconds=seconds)
    verdict = Verdict.REDUNDANT if mutant.redundant else Verdict.SURVIVED
    return row_of(mutant, verdict, why=mutant.redundant, seconds=seconds)


def row_of(mutant: Mutant, verdict: Verdict, *, by: str = "", why: str = "", seconds: float = 0.0) -> Row:
    return Row(mutant.id, mutant.rule, mutant.file, verdict, by, why, round(seconds, 1))


def line(row: Row) -> str:
    by = row.by.rpartition("/")[2]
    text = f"{row.verdict:10} {row.id:44} {row.seconds:6.1f} s  {by}"
    return text if row.verdict is Verdict.NOTICED else f"{text}\n           {row.why}"


def report(rows: Sequence[Row], seconds: float) -> int:
    """Print the table and what it comes to; the exit code."""
    print()
    print(f"{'guard':44} {'rule':74} {'':10} {'s':>6}  noticed by")
    for row in rows:
        print(f"{row.id:44} {row.rule[:74]:74} {row.verdict:10} {row.seconds:6.1f}  {row.by.rpartition('::')[2]}")
    count = Counter(row.verdict for row in rows)
    told = ", ".join(f"{number} {verdict.lower()}" for verdict, number in count.most_common())
    good = sum(count[verdict] for verdict in GOOD)
    print(f"\n{len(rows)} guards: {told}; {good / len(rows):.1%} accounted for, in {seconds:.0f} s.")
    for row in rows:
        if row.verdict not in GOOD:
            print(line(row))
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
