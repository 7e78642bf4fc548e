"""Alerts and dashboard ask for what the code tells, each alert has its test and its runbook, no metric is forgotten."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from assembly_service.metrics import ASSEMBLY
from assembly_service.statistics import Ending, Listed, Phase
from ingest_service.metrics import INGEST
from sealane.domain.errors import Reason
from sealane.metrics.families import Family
from sealane.metrics.shared import SHARED
from sealane.store.observed import OPERATIONS, OUTCOMES
from sealane.store.probe import GUARANTEES
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
FAMILIES: dict[str, Family] = {family.name: family for family in (*SHARED, *INGEST, *ASSEMBLY)}
OF_ALL = {"job", "instance", "le"}
FOREIGN = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
SERVICES = (ingest_service_pb2.DESCRIPTOR, assembly_service_pb2.DESCRIPTOR)
WORDS: dict[tuple[str, str], set[str]] = {
    ("*", "code"): {code.name for code in grpc.StatusCode},
    ("*", "reason"): {reason.value for reason in Reason},
    ("*", "method"): {m.name for d in SERVICES for s in d.services_by_name.values() for m in s.methods},
    ("*", "operation"): set(OPERATIONS),
    ("*", "phase"): {phase.value for phase in Phase},
    ("*", "guarantee"): set(GUARANTEES),
    ("*", "records"): {listed.value for listed in Listed},
    ("sealane_store_calls_total", "outcome"): set(OUTCOMES),
    ("sealane_sessions_ended_total", "outcome"): {ending.value for ending in Ending},
    ("sealane_sweeper_last_pass_timestamp_seconds", "kind"): {"frequent", "full"},
    ("sealane_chunks_total", "result"): {"stored", "duplicate", "mended", "corrupt", "conflict", "failed"},
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((GRAFANA / "sealane.json").read_text("utf-8"))
    return board


def dashboard_queries() -> list[str]:
    targets = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return targets + [v["query"]["query"] for v in dashboard()["templating"]["list"] if v["type"] == "query"]


RULES, QUERIES = rules(), dashboard_queries()
ALL = [rule["expr"] for rule in RULES] + QUERIES


def selectors(query: str) -> Iterator[tuple[Family, str, str]]:
    """(family, name as it is written, labels as they are written) of each of our selectors."""
    for name, _, labels in re.findall(r"\b(sealane_\w+)(\{([^}]*)\})?", query):
        base = name if name in FAMILIES else re.sub(r"_(bucket|sum|count)$", "", name)
        assert base in FAMILIES, f"nobody tells {name}"
        yield FAMILIES[base], name, labels


@pytest.mark.parametrize("query", ALL)
def test_every_metric_and_label_that_a_query_names_exists(query: str) -> None:
    for family, name, labels in selectors(query):
        assert (name == family.name) != (family.kind == "histogram"), name
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', labels):
            assert label in {*family.labels, *OF_ALL}, f"{name} has no label {label}"
            known = WORDS.get((family.name, label)) or WORDS.get(("*", label))
            if known is not None:
                words = set(value.split("|")) if "~" in operator else {value}
                assert words <= known, f"{name}: {label} is never {words - known}"
    others = set(re.findall(r"\b(up|process_\w+)\b", query))
    assert others <= FOREIGN


@pytest.mark.parametrize("query", ALL)
def test_every_label_that_a_query_groups_by_exists(query: str) -> None:
    groups = {word.strip() for by in re.findall(r"\bby \(([^)]*)\)", query) for word in by.split(",")}
    labels = {label for family, _, _ in selectors(query) for label in family.labels}
    assert groups <= labels | OF_ALL


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    used = {family.name for query in ALL for family, _, _ in selectors(query)}
    assert set(FAMILIES) - used == set()


def test_the_dashboard_is_what_its_program_writes() -> None:
    made = runpy.run_path(str(GRAFANA / "make_dashboard.py"))
    assert made["text"]() == (GRAFANA / "sealane.json").read_text("utf-8"), "make docs"


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels:
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["datasource"]["uid"] == "${datasource}"  # whatever Grafana calls its Prometheus


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_runbook_a_severity_and_says_who(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
    headings = re.findall(r"^#### (\w+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    assert rule["alert"] in headings
    assert rule["annotations"]["summary"]


def test_each_runbook_is_an_alerts() -> None:
    headings = re.findall(r"^#### (Sealane\w+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)


def test_each_alert_is_tested_where_it_fires_and_where_it_is_silent() -> None:
    fires, silent = set(), set()
    for file in PROMETHEUS.glob("*.test.yaml"):
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for asked in test["alert_rule_test"]:
                (fires if asked.get("exp_alerts") else silent).add(asked["alertname"])
    assert fires == silent == {rule["alert"] for rule in RULES}


def test_integrity_alarms_are_those_that_the_code_raises() -> None:
    """The two alerts on alarms part them all: what one leaves out is the other's."""
    by_name = {rule["alert"]: rule["expr"] for rule in RULES}
    [pattern] = set(re.findall(r'alarm=~"([^"]*)"', by_name["SealaneIntegrityAlarm"]))
    assert set(re.findall(r'alarm!~"([^"]*)"', by_name["SealaneAlarm"])) == {pattern}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "assembly_service").glob("*.py"))
    raised = set(re.findall(r'(?:\.alarm|_alarm)\(\s*"([^"]+)"', code))
    integrity = {alarm for alarm in raised if re.fullmatch(pattern, alarm)}
    assert integrity == {
        "a committed object has other bytes",
        "a committed object is not there",
        "a committed session is lost",
        "done.json differs from the object",
        "the committed object is not what was decided",
        "the object of a deleted session is another's",
    }
    assert len(raised) > len(integrity)


def test_each_alarm_with_a_name_has_its_remedy_on_the_page() -> None:
    """An alarm that is an event's name, not a sentence, says by itself neither what happened nor what to do."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    remedies = page[page.index("## Alerts") : page.index("## At three in the morning")]
    folders = [ROOT / name for name in ("sealane", "ingest_service", "assembly_service")]
    code = "".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    named = set(re.findall(r'\.error\(\s*"(\w+)",\s*alarm=True', code))
    assert {"reload_failed", "refused_by_peer", "signing_keys_unavailable"} <= named
    assert {name for name in named if f"`{name}`" not in remedies} == set()


def test_the_operators_monitor_makes_the_same_jobs() -> None:
    monitor = yaml.safe_load((PROMETHEUS / "podmonitor.yaml").read_text("utf-8"))["spec"]
    base = ROOT / "deploy" / "kubernetes" / "base"
    for service in ("ingest", "assembly"):
        manifest = (base / f"{service}.yaml").read_text("utf-8")
        assert f"{monitor['jobLabel']}: sealane-{service}\n" in manifest
        assert f"- name: {monitor['podMetricsEndpoints'][0]['port']}\n" in manifest
    [(label, value)] = monitor["selector"]["matchLabels"].items()
    assert f"{label}: {value}\n" in (base / "kustomization.yaml").read_text("utf-8")


def test_prometheus_finds_the_replicas_by_what_the_manifests_say() -> None:
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["sealane-ingest", "sealane-assembly"]
    for job in jobs:
        kept = next(each for each in job["relabel_configs"] if each.get("action") == "keep")
        name, port = kept["regex"].split(";")
        assert name == job["job_name"]
        manifest = (ROOT / "deploy" / "kubernetes" / "base" / f"{name.removeprefix('sealane-')}.yaml").read_text(
            "utf-8"
        )
        assert f"app.kubernetes.io/name: {name}\n" in manifest
        assert f"- name: {port}\n" in manifest
