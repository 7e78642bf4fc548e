"""Writes deploy/grafana/sealane.json: `make docs`. A panel a line here, and one place for how all of them look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "sealane.json"
WIDTH, HEIGHT = 24, 8
RATE = "$__rate_interval"
REPLICA = '{job=~"$job",instance=~"$instance"}'


def _of(more: str = "") -> str:
    """A selector of the replicas that are chosen."""
    return REPLICA if not more else '{job=~"$job",instance=~"$instance",' + more + "}"


def _quantile(name: str, by: str, more: str = "", share: float = 0.99) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({name}_bucket{_of(more)}[{RATE}])))"


def _alarms(window: str) -> str:
    """How many there were, series by series: one that began within the window has no increase for its first alarm."""
    alarms = f"sealane_alarms_total{_of()}"
    return (
        f"(increase({alarms}[{window}]) and {alarms} offset {window})"
        f" or (max_over_time({alarms}[{window}]) unless {alarms} offset {window})"
    )


def _rate(name: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({name}{_of(more)}[{RATE}]))"


# row → panels of (title, kind, unit, what it says, [(query, legend)])
ROWS: dict[str, list[tuple[str, str, str, str, list[tuple[str, str]]]]] = {
    "At a glance": [
        ("Replicas that take calls", "stat", "none", "Of each service.", [(f"sum by (job) (sealane_ready{_of()})", "{{job}}")]),
        ("Store reached", "stat", "none", "Replicas that reach the store.", [(f"sum by (job) (sealane_store_reachable{_of()})", "{{job}}")]),
        (
            "Alarms in the last hour",
            "stat",
            "none",
            "Log lines with alarm=true. More than none: docs/operations.md, Alerts.",
            [(f"sum({_alarms('1h')}) or vector(0)", "alarms")],
        ),
        ("Bytes in", "stat", "Bps", "Of chunks that arrived whole.", [(f"sum(rate(sealane_received_bytes_total{_of()}[{RATE}]))", "received")]),
        ("Commits", "stat", "ops", "Sessions committed.", [(_rate("sealane_sessions_ended_total", "outcome", 'outcome="committed"'), "{{outcome}}")]),
        ("Guarantees of the store", "stat", "none", "1 given, 0 missing: docs/protocol.md, section 2.", [(f"min by (guarantee) (sealane_store_guarantee{_of()})", "{{guarantee}}")]),
    ],
    "Calls": [
        ("Calls by method", "graph", "ops", "", [(_rate("sealane_rpcs_total", "method"), "{{method}}")]),
        ("Calls that failed, by code", "graph", "ops", "", [(_rate("sealane_rpcs_total", "code", 'code!="OK"'), "{{code}}")]),
        ("Reasons", "graph", "ops", "What ErrorInfo said.", [(_rate("sealane_rpc_errors_total", "reason"), "{{reason}}")]),
        ("p99 by method", "graph", "s", "UploadChunks takes its client's time.", [(_quantile("sealane_rpc_duration_seconds", "method"), "{{method}}")]),
        ("In progress", "graph", "none", "", [(f"sum by (method) (sealane_rpcs_in_progress{_of()})", "{{method}}")]),
    ],
    "Uploads": [
        ("Bytes", "graph", "Bps", "Stored less than received: duplicates, or failures.", [
            (f"sum(rate(sealane_received_bytes_total{_of()}[{RATE}]))", "received"),
            (f"sum(rate(sealane_stored_bytes_total{_of()}[{RATE}]))", "stored"),
        ]),
        ("Chunks by result", "graph", "ops", "", [(_rate("sealane_chunks_total", "result"), "{{result}}")]),
        ("A chunk, from its last byte to its receipt", "graph", "s", "", [
            (f"histogram_quantile({share}, sum by (le) (rate(sealane_chunk_duration_seconds_bucket{_of()}[{RATE}])))", f"p{share * 100:g}")
            for share in (0.5, 0.99)
        ]),
        ("Streams", "graph", "none", "At the limit, further ones get OVERLOADED.", [
            (f"sum by (instance) (sealane_upload_streams{_of()})", "{{instance}}"),
            (f"max(sealane_upload_streams_limit{_of()})", "limit of one"),
        ]),
        ("Watchers", "graph", "none", "", [
            (f"sum by (instance) (sealane_watchers{_of()})", "{{instance}}"),
            (f"max(sealane_watchers_limit{_of()})", "limit of one"),
        ]),
    ],
    "Sessions and commits": [
        ("Sessions created and ended", "graph", "ops", "", [
            (f"sum(rate(sealane_sessions_created_total{_of()}[{RATE}]))", "created"),
            (_rate("sealane_sessions_ended_total", "outcome"), "{{outcome}}"),
        ]),
        ("Sessions in the bucket", "graph", "none", "As the sweeper's last pass listed them.", [(f"max by (records) (sealane_sessions{_of()})", "{{records}}")]),
        ("Commit phases, p99", "graph", "s", "docs/protocol.md, section 5.", [(_quantile("sealane_commit_phase_duration_seconds", "phase"), "{{phase}}")]),
    ],
    "Store": [
        ("Calls by operation", "graph", "ops", "", [(_rate("sealane_store_calls_total", "operation"), "{{operation}}")]),
        ("Calls without a good end", "graph", "ops", "unknown: no answer; denied: 403; refused: another 4xx.", [
            (_rate("sealane_store_calls_total", "operation, outcome", 'outcome=~"unknown|no_listener|throttled|denied|refused|conflict|bug"'), "{{operation}} {{outcome}}"),
        ]),
        ("p50 by operation", "graph", "s", "", [(_quantile("sealane_store_call_duration_seconds", "operation", share=0.5), "{{operation}}")]),
        ("p99 by operation", "graph", "s", "", [(_quantile("sealane_store_call_duration_seconds", "operation"), "{{operation}}")]),
    ],
    "Memory and waits": [
        ("Memory of chunks", "graph", "bytes", "SEALANE_MEMORY_BUDGET and what is in use.", [
            (f"sum by (instance) (sealane_memory_in_use_bytes{_of()})", "{{instance}}"),
            (f"max(sealane_memory_budget_bytes{_of()})", "budget of one"),
        ]),
        ("Streams that wait for memory", "graph", "none", "", [(f"sum by (instance) (sealane_memory_waiters{_of()})", "{{instance}}")]),
        ("Waits, p99", "graph", "s", "For memory, for a part's turn, for a connection to the store.", [(_quantile("sealane_queue_wait_seconds", "queue"), "{{queue}}")]),
        ("Resident memory", "graph", "bytes", "", [(f"process_resident_memory_bytes{_of()}", "{{instance}}")]),
        ("CPU", "graph", "percentunit", "Of one processor.", [(f"rate(process_cpu_seconds_total{_of()}[{RATE}])", "{{instance}}")]),
        ("Event loop lag, p99", "graph", "s", "Above a tenth of a second: something blocks it, or the CPU is short.", [(_quantile("sealane_event_loop_lag_seconds", "instance"), "{{instance}}")]),
    ],
    "Sweeper": [
        ("Since the last pass", "graph", "s", "Of the replica that was round last.", [(f"time() - max by (kind) (sealane_sweeper_last_pass_timestamp_seconds{_of()})", "{{kind}}")]),
        ("Passes", "graph", "ops", "", [(_rate("sealane_sweeper_passes_total", "kind, result"), "{{kind}} {{result}}")]),
        ("What it did", "graph", "ops", "", [(_rate("sealane_sweeper_sessions_total", "deed"), "{{deed}}")]),
        ("Orphans", "graph", "none", "", [
            (f"sum by (kind) (increase(sealane_orphans_found_total{_of()}[6h]))", "{{kind}} found in 6 h"),
            (f"sum by (kind) (increase(sealane_orphans_removed_total{_of()}[6h]))", "{{kind}} removed in 6 h"),
        ]),
        ("Bytes of orphans", "graph", "bytes", "", [
            (f"max(sealane_orphan_bytes{_of()})", "there"),
            (f"sum(increase(sealane_orphan_removed_bytes_total{_of()}[6h]))", "removed in 6 h"),
        ]),
    ],
    "Replicas": [
        ("Alarms", "graph", "none", "", [(f"sum by (alarm) ({_alarms(RATE)})", "{{alarm}}")]),
        ("Lines of the log", "graph", "ops", "", [(_rate("sealane_log_lines_total", "level"), "{{level}}")]),
        ("Not ready for", "graph", "none", "", [(f"sum by (instance, condition) (sealane_not_ready_condition{_of()})", "{{instance}} {{condition}}")]),
        ("Draining", "graph", "s", "How long calls in hand still have.", [(f"sealane_drain_remaining_seconds{_of()}", "{{instance}}")]),
        ("Certificates end in", "stat", "s", "", [(f"sealane_certificate_not_after_timestamp_seconds{_of()} - time()", "{{instance}}")]),
        ("Versions", "stat", "none", "Replicas of each.", [(f"count by (service, version) (sealane_build_info{_of()})", "{{service}} {{version}}")]),
    ],
}  # fmt: skip


def _panel(
    number: int, x: int, y: int, width: int, panel: tuple[str, str, str, str, list[tuple[str, str]]]
) -> dict[str, Any]:
    title, kind, unit, text, queries = panel
    source = {"type": "prometheus", "uid": "${datasource}"}
    made: dict[str, Any] = {
        "id": number,
        "title": title,
        "description": text,
        "type": "stat" if kind == "stat" else "timeseries",
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": width, "h": HEIGHT if kind == "graph" else HEIGHT // 2},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(queries)
        ],
    }
    if kind == "graph":
        made["fieldConfig"]["defaults"]["custom"] = {"fillOpacity": 10, "showPoints": "never"}
        made["options"] = {
            "tooltip": {"mode": "multi", "sort": "desc"},
            "legend": {"displayMode": "list", "placement": "bottom"},
        }
    return made


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    """As Grafana provisions and imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row, members in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        y, x = y + 1, 0
        tallest = 0
        for panel in members:
            width = 4 if row == "At a glance" else 8
            if x + width > WIDTH:
                x, y = 0, y + tallest
            made = _panel(len(panels) + 1, x, y, width, panel)
            panels.append(made)
            tallest = made["gridPos"]["h"]
            x += width
        y += tallest
    return {
        "uid": "sealane",
        "title": "sealane",
        "tags": ["sealane"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "graphTooltip": 1,
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                },
                _variable("job", "Service", "label_values(sealane_build_info, job)"),
                _variable("instance", "Replica", 'label_values(sealane_build_info{job=~"$job"}, instance)'),
            ]
        },
        "annotations": {"list": []},
        "panels": panels,
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
