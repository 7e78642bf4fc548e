"""``make mutmut``: mutmut's random mutants of sealane/domain, and how many of them its unit tests notice.

It runs in a copy of the tree, which mutmut fills with mutants of its own. Its settings, and what it leaves out and why,
are in pyproject.toml.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import ROOT
from tests.mutants.workshop import NOT_COPIED

NOTICED = frozenset({1, 3, 24, 152, 255, -24, -9, -11, 36})
"""Exit codes of mutmut's workers that mean: the tests failed, or never ended."""
SURVIVED = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.domain_score", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many mutants, drawn at random; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--survivors", action="store_true", help="show what the survivors changed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealane-mutmut-") as directory:
        tree = Path(directory, "tree")
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
        chosen: list[str] = []
        if arguments.sample:
            mutmut(tree, ["run", "--max-children", "1", "nothing.of.this.name"])  # makes them, and runs none
            names = sorted(name for codes in found(tree).values() for name in codes)
            chosen = random.Random(arguments.seed).sample(names, min(arguments.sample, len(names)))
        mutmut(tree, ["run", "--max-children", str(arguments.jobs), *chosen])
        survivors = report(found(tree))
        if arguments.survivors:
            for name in survivors:
                print(mutmut(tree, ["show", name]))
    return 0


def mutmut(tree: Path, arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=tree, capture_output=True, text=True, check=False
    )
    return done.stdout


def found(tree: Path) -> dict[str, dict[str, int | None]]:
    """By module: each mutant's exit code, None if it was not run."""
    codes: dict[str, dict[str, int | None]] = {}
    for path in sorted((tree / "mutants" / "sealane" / "domain").glob("*.meta")):
        codes[path.name.removesuffix(".py.meta")] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return codes


def report(codes: dict[str, dict[str, int | None]]) -> list[str]:
    """Print the score by module; answer the survivors."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    survivors: list[str] = []
    for module, by_name in codes.items():
        for name, code in by_name.items():
            if code is None:
                continue
            kind = "noticed" if code in NOTICED else "survived" if code == SURVIVED else "untested"
            rows[module][kind] += 1
            if kind == "survived":
                survivors.append(name)
    print(f"{'module':20} {'run':>6} {'noticed':>8} {'survived':>9} {'no test':>8} {'score':>7}")
    total = sum(rows.values(), Counter[str]())
    for module, row in [*sorted(rows.items()), ("together", total)]:
        run = row.total()
        if run:
            score = row["noticed"] / run
            print(f"{module:20} {run:6} {row['noticed']:8} {row['survived']:9} {row['untested']:8} {score:7.1%}")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
