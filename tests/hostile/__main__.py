"""``make fuzz``: SEED=, and MESSAGES= or SECONDS=. Ends with 1 if anything was found."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from .fuzz import fuzz, table
from .parsers import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--messages", type=int, default=None, help="end when the servers have read so many")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--runs", type=int, default=20_000, help="of each parser under atheris")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    messages = 100_000 if arguments.messages is None and arguments.seconds is None else arguments.messages
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = secrets.randbelow(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    books = asyncio.run(fuzz(seed, messages=messages, seconds=arguments.seconds))
    width = max(len(name) for name, _ in table(books))
    for name, value in table(books):
        print(f"{name:<{width}}  {value}")
    parsers = _parsers(arguments.runs, seed)
    for target, found in parsers.items():
        print(f"{f'parser: {target}':<{width}}  {found}")
    for text in books.wrong[:50]:
        print(f"WRONG: {text}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({**books.document(), "parsers": parsers}, indent=2) + "\n", encoding="utf-8"
        )
    return 0 if books.ok and not any(found.startswith("FAILED") for found in parsers.values()) else 1


def _parsers(runs: int, seed: int) -> dict[str, str]:
    """Every parser under atheris, a process each; or what is missing."""
    if importlib.util.find_spec("atheris") is None:
        return {"all": "not fuzzed: atheris is not installed (it has no wheel for this Python)"}
    told: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sealane-fuzz-") as directory:
        for target in TARGETS:
            command = [sys.executable, "-m", "tests.hostile.atheris_run"]
            ended = subprocess.run(
                [*command, target, str(runs), str(seed % 2**31), str(Path(directory) / target)],
                capture_output=True,
                text=True,
                check=False,
            )
            told[target] = f"{runs:,} runs" if ended.returncode == 0 else f"FAILED\n{ended.stderr[-3000:]}"
    return told


if __name__ == "__main__":
    sys.exit(main())
