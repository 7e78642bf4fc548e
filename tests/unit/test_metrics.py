"""The port that metrics are scraped from, and how they are declared."""

from __future__ import annotations

import queue
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException

import pytest
from prometheus_client import CollectorRegistry

from assembly_service import metrics as assembly_metrics
from assembly_service.metrics import ASSEMBLY
from ingest_service import metrics as ingest_metrics
from ingest_service.metrics import INGEST
from sealane.domain.errors import Reason
from sealane.metrics import exposition
from sealane.metrics.exposition import READERS, exposed
from sealane.metrics.families import Family, by_word, new_registry
from sealane.metrics.shared import SHARED, SharedMetrics

FAMILIES = (*SHARED, *INGEST, *ASSEMBLY)


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry()


@pytest.fixture
def address(registry: CollectorRegistry) -> Iterator[str]:
    Family("tried_total", "counter", "Tried.", ("how",)).counter(registry).labels("once").inc(3)
    with exposed("127.0.0.1:0", registry) as address:
        yield address


def fetch(address: str, path: str = "/metrics", **headers: str) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_a_scrape_has_what_was_counted_and_what_the_process_is(address: str) -> None:
    content_type, text = fetch(address)
    assert content_type.startswith("text/plain")
    assert 'tried_total{how="once"} 3.0\n' in text
    assert "\nprocess_resident_memory_bytes " in text
    assert "_created" not in text


def test_openmetrics_is_answered_to_who_asks_for_it(address: str) -> None:
    content_type, text = fetch(address, Accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/debug", "/metricsx"])
def test_nothing_else_is_there(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(address, path)
    assert refused.value.code == 404
    assert refused.value.headers["Server"] == "sealane"  # neither Python's version nor the library's


def test_readers_who_are_silent_hold_no_more_than_their_places(address: str) -> None:
    host, _, port = address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(READERS - 1)]
    try:
        assert "tried_total" in fetch(address)[1]
    finally:
        for each in silent:
            each.close()


def test_the_end_does_not_wait_for_a_reader_who_dribbles(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition._Handler, "timeout", 3600.0)  # so that only the end itself ends it
    with exposed("127.0.0.1:0", registry) as address:
        host, _, port = address.rpartition(":")
        reader = socket.create_connection((host, int(port)))
        reader.sendall(b"GET /met")
        fetch(address)  # the reader was accepted before this
    reader.settimeout(30)
    assert reader.recv(1) == b""  # cut off
    reader.close()


def test_a_reading_that_fails_is_an_alarm_and_the_next_scrape_is_answered(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Log:
        def __init__(self) -> None:
            self.told: queue.Queue[tuple[str, dict[str, object]]] = queue.Queue()

        def error(self, event: str, **facts: object) -> None:
            self.told.put((event, facts))

    log, broken = Log(), [True]
    monkeypatch.setattr(exposition, "_log", log)
    Family("sealane_some", "gauge", "Some.").read(registry, lambda: [((), 1 / (not broken[0]))])
    with exposed("127.0.0.1:0", registry) as address:
        with pytest.raises((OSError, HTTPException)):
            fetch(address)
        event, facts = log.told.get(timeout=30)
        assert (event, facts["alarm"]) == ("scrape_failed", True)
        assert isinstance(facts["exc_info"], ZeroDivisionError)
        broken[0] = False
        assert "sealane_some 1.0" in fetch(address)[1]


def test_an_address_that_is_taken_is_named(address: str, registry: CollectorRegistry) -> None:
    with pytest.raises(OSError, match=re.escape(f"can't listen on {address}")), exposed(address, registry):
        pass


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_and_units_are_prometheus_conventions(family: Family) -> None:
    assert re.fullmatch(r"sealane_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    if family.kind == "histogram":
        assert family.name.endswith("_seconds")
    for label in family.labels:
        assert not {"tenant", "session", "session_id", "key", "peer", "request_id", "subject"} & {label}


def test_every_metric_is_declared_once() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    declared = [
        value
        for module in (ingest_metrics, assembly_metrics)
        for value in vars(module).values()
        if isinstance(value, Family)
    ]
    assert {family.name for family in declared} <= set(names)


def test_a_kind_is_kept_to() -> None:
    with pytest.raises(TypeError, match="gauge"):
        Family("some", "gauge", "Some.").counter(CollectorRegistry())


def test_reading_while_the_owner_goes_on_counting_is_safe() -> None:
    counts = {reason.value: 1 for reason in Reason}
    family, registry = Family("some_total", "counter", "Some.", ("reason",)), CollectorRegistry()
    family.read(registry, by_word(lambda: counts))
    for metric in registry.collect():
        for sample in metric.samples:
            counts[f"new {sample.labels['reason']}"] = 1  # would end an iteration over the counts themselves
    assert len(counts) == 2 * len(Reason)


def test_alarms_are_counted_by_their_event_and_those_of_calls_by_reason(registry: CollectorRegistry) -> None:
    from sealane import logs

    before = dict(logs.told.alarms)
    logs._count(None, "error", {"event": "rpc", "reason": "INTERNAL", "level": "error", "alarm": True})
    logs._count(None, "error", {"event": "store_refused", "level": "error", "alarm": True})
    logs._count(None, "info", {"event": "rpc", "code": "OK", "level": "info"})
    SharedMetrics(registry, "ingest")
    for alarm in ("INTERNAL", "store_refused"):
        assert registry.get_sample_value("sealane_alarms_total", {"alarm": alarm}) == before.get(alarm, 0) + 1
    assert registry.get_sample_value("sealane_alarms_total", {"alarm": "rpc"}) is None
