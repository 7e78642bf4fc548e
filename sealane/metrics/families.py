"""How a metric is declared, once: name, kind, help, labels. The code, the documentation and the tests read the same.

Names end with their unit (``_seconds``, ``_bytes``) or, of what only grows, with ``_total``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
Reading = Iterable[tuple[Labels, float]]
"""Values by their label values, in the order of the family's labels."""

FAST: tuple[float, ...] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: of a small call, and of waits."""
SLOW: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)
"""Seconds: where bytes are moved, or a client is waited for."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``name`` is what a query says; for a histogram without its ``_bucket``, ``_sum``, ``_count``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = FAST

    def counter(self, registry: CollectorRegistry) -> Counter:
        """An instrument that is counted up where something happens."""
        self._must_be("counter")
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        self._must_be("gauge")
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        self._must_be("histogram")
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    def read(self, registry: CollectorRegistry, reading: Callable[[], Reading]) -> None:
        """Ask ``reading`` at each scrape, in the scraper's thread: it must be quick, and look only."""
        self._must_be("counter", "gauge")
        registry.register(_Read(self, reading))

    def _must_be(self, *kinds: str) -> None:
        if self.kind not in kinds:
            raise TypeError(f"{self.name} is a {self.kind}")


class _Read(Collector):
    """A family whose values are somebody else's numbers."""

    def __init__(self, family: Family, reading: Callable[[], Reading]) -> None:
        self._family = family
        self._reading = reading

    def describe(self) -> Iterator[Metric]:
        yield self._metric()

    def collect(self) -> Iterator[Metric]:
        metric = self._metric()
        for labels, value in self._reading():
            metric.add_metric(labels, value)
        yield metric

    def _metric(self) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if self._family.kind == "counter" else GaugeMetricFamily
        return kind(self._family.name, self._family.help, labels=self._family.labels)


def one(value: Callable[[], float]) -> Callable[[], Reading]:
    """The reading of a family without labels."""
    return lambda: (((), value()),)


def by_word(values: Callable[[], Mapping[str, float]]) -> Callable[[], Reading]:
    """The reading of a family with one label. The mapping is copied first: its owner's thread goes on."""
    return lambda: [((word,), value) for word, value in dict(values()).items()]


def new_registry() -> CollectorRegistry:
    """An empty one of this process's own, with what Prometheus' client tells of every process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # they double every series, for no query of ours
    registry = CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.PlatformCollector(registry=registry)
    prometheus_client.GCCollector(registry=registry)
    return registry
