"""Crash points and interleavings as a test: one point in eleven, and one preemption at every third call.

``make crash-points`` runs all of them. In a process of its own, as every simulation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def points(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.points", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_a_crash_at_any_store_call_is_recovered_from() -> None:
    """I1–I16 after a crash before a call, a crash after it, and an answer that is lost, of every operation."""
    told = points("--every", "11", "--preemptions", "0")
    found = re.search(r"^crash points: (\d+), violations: 0$", told, re.M)
    assert found is not None
    assert int(found[1]) > 200


@pytest.mark.timeout(600)
def test_two_actors_interleaved_break_no_invariant() -> None:
    """commit ‖ commit, abort, expire, late chunk; replace ‖ replace; delete ‖ commit retry; the multipart.json race."""
    told = points("--no-points", "--preemptions", "1", "--every", "3")
    found = re.search(r"^schedules of up to 1 preemptions: (\d+), violations: 0$", told, re.M)
    assert found is not None
    assert int(found[1]) > 100
