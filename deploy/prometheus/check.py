"""What `make promcheck` runs: promtool on alert rules, on their unit tests, on the dashboard's queries, on the metrics.

Debian's promtool knows no Kubernetes, so prometheus.yaml is not among them: tests/unit/test_alerts.py looks at it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import generate_latest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from assembly_service.metrics import statistics_for as assembly_statistics  # noqa: E402 - may not be installed
from ingest_service.metrics import statistics_for as ingest_statistics  # noqa: E402
from sealane.metrics.families import new_registry  # noqa: E402
from sealane.metrics.shared import SharedMetrics  # noqa: E402

PROMTOOL = Path(sys.executable).parent / "promtool"


def promtool(*words: object, stdin: bytes | None = None) -> str:
    """What it complains of; "" if of nothing."""
    done = subprocess.run(
        [str(PROMTOOL), *(str(word) for word in words)], input=stdin, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    # `check metrics` tells what it finds with code 3, `check rules` duplicates with code 0.
    return said if done.returncode or (words[:2] == ("check", "metrics") and said.strip()) else ""


def queries() -> Iterator[str]:
    """Every query of the dashboard, with something in the place of Grafana's variables."""
    board = json.loads((ROOT / "deploy" / "grafana" / "sealane.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")


def _queries_as_rules() -> dict[str, Any]:
    rules = [{"record": f"dashboard:query:{i}", "expr": query} for i, query in enumerate(queries())]
    return {"groups": [{"name": "dashboard", "rules": rules}]}


def _metrics(service: str) -> bytes:
    """A scrape of a service that has just begun."""
    metrics = SharedMetrics(new_registry(), service)
    if service == "ingest":
        ingest_statistics(metrics)
    else:
        assembly_statistics(metrics, started=datetime(2026, 1, 1, tzinfo=UTC))
    metrics.rpc_ended("GetSession", "OK", 0.1)
    metrics.store_call_ended("get", "ok", 0.1)
    return generate_latest(metrics.registry)


def main() -> int:
    if not PROMTOOL.exists():
        print(f"{PROMTOOL} is not there: make promtool", file=sys.stderr)
        return 1
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(_queries_as_rules(), file)
        file.flush()
        complaints = {
            "alerts.yaml": promtool("check", "rules", HERE / "alerts.yaml"),
            **{tests.name: promtool("test", "rules", tests) for tests in sorted(HERE.glob("*.test.yaml"))},
            "the dashboard's queries": promtool("check", "rules", "--lint=none", file.name),
            **{f"metrics of {s}": promtool("check", "metrics", stdin=_metrics(s)) for s in ("ingest", "assembly")},
        }
    for what, complaint in complaints.items():
        print(f"{what}: {complaint.strip() or 'ok'}", file=sys.stderr if complaint else sys.stdout)
    return 1 if any(complaints.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
