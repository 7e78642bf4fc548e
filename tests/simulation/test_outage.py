"""Ten minutes without a store, in virtual time: clients wait, and everything goes on by itself. (In real processes:
tests/e2e/test_store_away.py.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_uploads_outlast_a_store_that_is_away_for_ten_minutes() -> None:
    """Whenever it begins, every session is committed in the end, and no invariant breaks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.outage"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"outages: (\d+), calls that failed: (\d+), wrong: 0", done.stdout)
    assert told is not None
    assert int(told[1]) == 30
    assert int(told[2]) > 100, "it was no outage"
