"""``make fuzz``: SEED=, and MESSAGES= or SECONDS=. Ends with 1 if anything was found."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
from pathlib import Path

import structlog

from .fuzz import fuzz, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--messages", type=int, default=None, help="end when the servers have read so many")
    parser.add_argument("--seconds", type=float, default=None)
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
    for text in books.wrong[:50]:
        print(f"WRONG: {text}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(books.document(), indent=2) + "\n", encoding="utf-8")
    return 0 if books.ok else 1


if __name__ == "__main__":
    sys.exit(main())
