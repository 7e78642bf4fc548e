"""``python -m assembly_service``: settings from the environment, then serve until a signal."""

from __future__ import annotations

import asyncio
import sys

from sealane.extras import needed

with needed("server"):
    from assembly_service.app import run
    from assembly_service.settings import AssemblySettings
    from sealane import logs
    from sealane.config.command import settings_of


def main() -> None:
    settings = settings_of("sealane-assembly", AssemblySettings)
    logs.configure(settings.log_level, settings.log_format, "assembly")
    sys.exit(asyncio.run(run(settings)))


if __name__ == "__main__":
    main()
