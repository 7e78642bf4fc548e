"""The benchmarks run and say what they measured. What the figures are is not judged: no timed assertions."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import BENCHMARKS
from bench.table import Report, Row, at_least, at_most

ROOT = Path(__file__).parents[2]
TARGETS = {
    "throughput": {"≥ 0.90"},
    "cpu": {"≤ 3", "≤ 400"},
    "commit": {"≤ 150", "≤ 1"},
    "hashing": set(),
    "receipts": {"≤ 3"},
    "small-files": set(),
    "kill": {"≤ 5", "≤ 1"},
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `python -m bench all --quick --json FILE` writes."""
    directory = tmp_path_factory.mktemp("bench")
    path = directory / "results" / "quick.json"
    command = [sys.executable, "-m", "bench", "all", "--quick", "--json", str(path), "--dir", str(directory)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=270)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert "targets met" in run.stdout
    assert [child.name for child in directory.iterdir()] == ["results"], "the temporary folder stayed"
    parsed: dict[str, Any] = json.loads(path.read_text())
    return parsed


@pytest.mark.e2e
@pytest.mark.real_store
@pytest.mark.timeout(300)
def test_every_benchmark_reports_finite_figures_with_their_spread(document: dict[str, Any]) -> None:
    """All benchmarks run in their quick form on real processes, and none fails."""
    assert document["failed"] == []
    assert [report["name"] for report in document["benchmarks"]] == list(BENCHMARKS)
    for report in document["benchmarks"]:
        assert report["rows"], report["name"]
        for row in report["rows"]:
            assert all(math.isfinite(row[name]) for name in ("value", "min", "max")), row
            assert row["min"] <= row["value"] <= row["max"], row
            assert row["samples"] >= 1, row
            assert (row["met"] is None) == (row["target"] is None), row


@pytest.mark.e2e
@pytest.mark.real_store
@pytest.mark.timeout(300)
def test_every_target_stands_beside_its_figure(document: dict[str, Any]) -> None:
    """The targets that were set for this release are in the report, whether they are met or not."""
    found = {
        report["name"]: {row["target"] for row in report["rows"] if row["target"]} for report in document["benchmarks"]
    }
    assert found == TARGETS


@pytest.mark.e2e
@pytest.mark.real_store
@pytest.mark.timeout(300)
def test_a_commit_moves_no_data(document: dict[str, Any]) -> None:
    """ "Not one byte of data read or copied": assembly and the store say less than a chunk to one another."""
    (commit,) = [report for report in document["benchmarks"] if report["name"] == "commit"]
    (wire,) = [row for row in commit["rows"] if row["what"] == "assembly ↔ store"]
    assert 0 < wire["max"] < 1


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row.of("ratio", [0.5, 0.9, 2.0], "×", at_least(0.9)), True),
        (Row.of("ratio", [0.5, 0.8, 2.0], "×", at_least(0.9)), False),
        (Row.worst("sent again", [1.0, 6.0, 1.0], "chunks", at_most(5)), False),
        (Row.worst("rate", [1.0, 6.0, 1.0], "MiB/s", at_least(2)), False),
        (Row.of("a figure without a target", 1.0, "s"), None),
    ],
)
def test_a_figure_is_judged_by_its_median_or_its_worst(row: Row, met: bool | None) -> None:
    """A miss is a miss on either side of the bound, and a report names it."""
    assert row.met is met
    assert bool(Report("name", "title", [row]).missed) is (met is False)
    assert ("MISS" in str(Report("name", "title", [row]))) is (met is False)
