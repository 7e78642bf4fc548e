"""``sealane-ingest``: the ingest service, configured by its environment (docs/operations.md)."""

from __future__ import annotations

import asyncio
import sys

from ingest_service.allocator import tame_malloc
from sealane.extras import needed

with needed("server"):
    from ingest_service.app import run
    from ingest_service.settings import IngestSettings
    from sealane.config.command import settings_of

try:  # not for every platform; takes 0.95 of the CPU that asyncio's own loop does (docs/capacity.md)
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]  # a loop is a loop


def main() -> None:
    tame_malloc()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(run(settings_of("sealane-ingest", IngestSettings))))


if __name__ == "__main__":
    main()
