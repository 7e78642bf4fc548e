"""``make walk``: from install to audit with real processes. Ends with 1 where something is not as the docs say."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from sealane.dev.signals import Stopped, stop_on_signal
from tests.walk import steps
from tests.walk.desk import Desk, Stumbled
from tests.walk.site import TOKEN, Site


def walk(desk: Desk) -> None:
    """Every step. Stumbled."""
    with Site(desk) as site:
        steps.install(desk, site)
        site.watch()
        steps.wrong_doors(desk, site)
        session = steps.upload(desk, site)
        steps.rotate(desk, site)
        steps.roll(desk, site)
        steps.kill(desk, site)
        steps.overload(desk, site)
        steps.dashboards(desk, site)
        steps.audit(desk, site, session)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make walk", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave logs and files where they are")
    keep = parser.parse_args().keep
    directory = Path(tempfile.mkdtemp(prefix="sealane-walk-"))
    begun = time.monotonic()
    try:
        walk(Desk(directory, secret=TOKEN))
    except Stumbled as error:
        print(f"\nStumbled: {error}\nkept for looking: {directory}", file=sys.stderr)
        return 1
    print(f"\nAll as the docs say, in {time.monotonic() - begun:.0f} s.")
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    try:
        with stop_on_signal():
            sys.exit(main())
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
