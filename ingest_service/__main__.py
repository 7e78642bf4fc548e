"""``sealane-ingest``: the ingest service, configured by its environment (docs/operations.md)."""

from __future__ import annotations

import asyncio
import sys

from ingest_service.allocator import tame_malloc
from ingest_service.app import run
from ingest_service.settings import IngestSettings
from sealane.config import load


def main() -> None:
    tame_malloc()
    sys.exit(asyncio.run(run(load(IngestSettings))))


if __name__ == "__main__":
    main()
