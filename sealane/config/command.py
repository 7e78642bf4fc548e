"""The command line of a service: its settings are the environment's, so it has nothing but questions about itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypeVar

from sealane import __version__
from sealane.config.load import load
from sealane.config.shared import CommonSettings

S = TypeVar("S", bound=CommonSettings)


def settings_of(program: str, cls: type[S], arguments: Sequence[str] | None = None) -> S:
    """The settings of the environment, for a service that is to serve.

    SystemExit: 0 after ``--help``, ``--version`` or a ``--check`` that found nothing, 2 for other arguments (None: the
    process's own), 78 for faults of the settings.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Serves until SIGTERM. Its settings are the environment's SEALANE_…: docs/operations.md, Settings.",
        epilog="Exit codes: 0 drained, 1 failed, 3 the store was refused, 78 the settings are wrong.",
    )
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    parser.add_argument("--check", action="store_true", help="say every fault of the settings, and serve nothing")
    check = parser.parse_args(arguments).check
    settings = load(cls)
    if check:
        print(f"{program}: the settings are good")
        raise SystemExit(0)
    return settings
