"""``make chaos``: SEED=, and MINUTES= or KILLS=. Ends with 1 if anything was seen that must not be."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .run import Options, Report, chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the same hand and the same clients")
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--kills", type=int, default=None, help="end after so many SIGKILLs")
    parser.add_argument("--pace", type=float, default=3.0, help="seconds between two moves, on average")
    parser.add_argument("--lanes", type=int, default=6, help="clients at once")
    parser.add_argument("--json", type=Path, default=None, help="write the report here, too")
    parser.add_argument("--directory", type=Path, default=None, help="where to work; it is kept if anything is wrong")
    arguments = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    seed = secrets.randbelow(1 << 32) if arguments.seed is None else arguments.seed
    minutes = 3.0 if arguments.minutes is None and arguments.kills is None else arguments.minutes
    options = Options(
        seed=seed,
        seconds=None if minutes is None else 60.0 * minutes,
        kills=arguments.kills,
        pace=arguments.pace,
        lanes=arguments.lanes,
    )
    directory = Path(tempfile.mkdtemp(prefix="sealane-chaos-", dir=arguments.directory))
    print(f"seed {seed}, in {directory}", file=sys.stderr, flush=True)
    report = asyncio.run(_until_signalled(options, directory))
    width = max(len(name) for name, _ in report.rows())
    for name, value in report.rows():
        print(f"{name:<{width}}  {value}")
    for text in report.ledger.violations:
        print(f"VIOLATION: {text}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report.document(), indent=2) + "\n", encoding="utf-8")
    if report.ok:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"kept for looking: {directory}; again: make chaos SEED={seed}")
    return 0 if report.ok else 1


async def _until_signalled(options: Options, directory: Path) -> Report:
    """The first Ctrl-C or SIGTERM ends the blows; the reckoning follows all the same."""
    enough = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    return await chaos(options, directory, kernel=directory / "kernel", enough=enough)


if __name__ == "__main__":
    sys.exit(main())
