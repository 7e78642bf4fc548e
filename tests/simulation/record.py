"""The record of what was run: one line a run, in ``seeds.jsonl`` beside this module. Only with ``--record``."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

FILE = Path(__file__).with_name("seeds.jsonl")
_CODE = ("sealane", "ingest_service", "assembly_service", "tests/simulation")


def commit() -> str:
    """The commit that is checked out, with ``+`` behind it if the code that runs differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=FILE.parents[2])
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", *_CODE, f":!{FILE.relative_to(FILE.parents[2])}")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def write(kind: str, sha: str, first: int, count: int, violations: list[int], seconds: float) -> None:
    """Add a line: seeds ``first`` … ``first + count - 1``, at commit ``sha``, and which of them broke something."""
    line = {
        "kind": kind,
        "first": first,
        "count": count,
        "commit": sha,
        "violations": violations,
        "seconds": round(seconds),
        "ended": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def total() -> tuple[int, int]:
    """(seeds, violations) of all recorded runs."""
    if not FILE.exists():
        return 0, 0
    lines = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return sum(line["count"] for line in lines), sum(len(line["violations"]) for line in lines)
