"""A rollout under load, behind Envoy with the configuration that operators are given (the long one: make rolling)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sealane.dev.cluster import Cluster
from tests.rolling.envoy import EXAMPLE, program
from tests.rolling.roll import roll

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_the_example_is_what_envoy_reads() -> None:
    """As it stands: other programs read YAML in other ways."""
    read = subprocess.run(
        [program(), "--mode", "validate", "--config-path", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr


async def test_replicas_restarted_one_by_one_under_load_fail_no_upload(cluster: Cluster, tmp_path: Path) -> None:
    """Each drains to exit code 0 within the grace, and no stream sends more than one chunk twice."""
    report = await roll(cluster, tmp_path, rounds=1, lanes=2, streams=2, size=32 << 20)
    assert len(report.restarts) == 4
    assert report.violations == [], json.dumps(report.document(), indent=2)
    for service in cluster.services:
        lines = [json.loads(line) for line in service.log_path.read_text().splitlines() if line.startswith("{")]
        ends = [line["event"] for line in lines if line["event"] in {"drained", "drain_cut_off"}]
        assert ends[-1] == "drained"
