"""What both services tell: calls served, calls to the store, waits, readiness, the probe's verdict, alarms."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from sealane import __version__, logs
from sealane.metrics.families import FAST, SLOW, Family, Reading, by_word, one
from sealane.rpc.health import STORE, Readiness
from sealane.store.gate import Report

LAG_SECONDS = 0.5
"""How often the event loop's lateness is looked at."""

BUILD = Family("sealane_build_info", "gauge", "Always 1: what runs here.", ("service", "version", "python"))
RPCS = Family("sealane_rpcs_total", "counter", "Calls that ended, by gRPC status code.", ("method", "code"))
RPC_SECONDS = Family(
    "sealane_rpc_duration_seconds",
    "histogram",
    "How long calls took; of UploadChunks that is the client's pace, too.",
    ("method",),
    SLOW,
)
RPCS_NOW = Family("sealane_rpcs_in_progress", "gauge", "Calls being served.", ("method",))
RPC_ERRORS = Family(
    "sealane_rpc_errors_total", "counter", "Calls that ended in an error, by the reason in its ErrorInfo.", ("reason",)
)
STORE_CALLS = Family(
    "sealane_store_calls_total",
    "counter",
    "Tries of a call to the store. not_found and precondition_failed are answers; unknown is a time-out, 5xx or a cut "
    "line; no_listener is a connection that was refused.",
    ("operation", "outcome"),
)
STORE_SECONDS = Family(
    "sealane_store_call_duration_seconds",
    "histogram",
    "How long a try of a call to the store took, waiting for a connection included.",
    ("operation",),
    SLOW,
)
QUEUE_SECONDS = Family(
    "sealane_queue_wait_seconds",
    "histogram",
    "How long work waited for its turn: for the memory of a chunk, for one of the parts that may be under way, for a "
    "connection to the store.",
    ("queue",),
    FAST,
)
READY = Family("sealane_ready", "gauge", "1 while this replica wants calls.")
CONDITION = Family(
    "sealane_not_ready_condition",
    "gauge",
    "1 for each condition that keeps the replica from being ready.",
    ("condition",),
)
STORE_REACHABLE = Family(
    "sealane_store_reachable", "gauge", "1 while the store answers, and has been proven; 0 before that, too."
)
GUARANTEE = Family(
    "sealane_store_guarantee",
    "gauge",
    "The probe's verdict on each guarantee: 1 given, 0 missing. No series before there is a verdict.",
    ("guarantee",),
)
DRAINING = Family("sealane_draining", "gauge", "1 from SIGTERM to the end.")
DRAIN_LEFT = Family(
    "sealane_drain_remaining_seconds",
    "gauge",
    "While draining: how long calls in hand still have before they are cut off.",
)
CERTIFICATE = Family(
    "sealane_certificate_not_after_timestamp_seconds",
    "gauge",
    "When the certificate that this replica serves with ends. No series without TLS.",
)
ALARMS = Family(
    "sealane_alarms_total",
    "counter",
    "Log lines with alarm=true, by event (of a call: by reason). Each is worth a person's look.",
    ("alarm",),
)
LOG_LINES = Family("sealane_log_lines_total", "counter", "Lines logged, by level.", ("level",))
LAG = Family(
    "sealane_event_loop_lag_seconds",
    "histogram",
    "How late the event loop woke from a sleep: above a tenth of a second, something blocks it or the CPU is short.",
    (),
    FAST,
)

SHARED = (
    *(BUILD, RPCS, RPC_SECONDS, RPCS_NOW, RPC_ERRORS, STORE_CALLS, STORE_SECONDS, QUEUE_SECONDS, READY, CONDITION),
    *(STORE_REACHABLE, GUARANTEE, DRAINING, DRAIN_LEFT, CERTIFICATE, ALARMS, LOG_LINES, LAG),
)


class SharedMetrics:
    """The instruments, and what is read when somebody scrapes."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self.registry = registry
        self._rpcs = RPCS.counter(registry)
        self._rpc_seconds = RPC_SECONDS.histogram(registry)
        self._rpcs_now = RPCS_NOW.gauge(registry)
        self._store_calls = STORE_CALLS.counter(registry)
        self._store_seconds = STORE_SECONDS.histogram(registry)
        self._waits = QUEUE_SECONDS.histogram(registry)
        self._lag = LAG.histogram(registry)
        BUILD.gauge(registry).labels(service, __version__, platform.python_version()).set(1)
        ALARMS.read(registry, by_word(lambda: logs.told.alarms))
        LOG_LINES.read(registry, by_word(lambda: logs.told.lines))

    def errors(self, by_reason: Counter[str]) -> None:
        """The very counts that GetServerInfo shows."""
        RPC_ERRORS.read(self.registry, by_word(lambda: by_reason))

    def readiness(self, readiness: Readiness, report: Callable[[], Report | None]) -> None:
        """Whether the replica wants calls, why not, and what the store was found to be."""

        def verdicts() -> Reading:
            found = report()
            return [] if found is None else [((v.guarantee,), float(v.ok)) for v in found.verdicts]

        READY.read(self.registry, one(lambda: float(readiness.ready)))
        CONDITION.read(self.registry, lambda: [((name,), 1.0) for name in readiness.unmet])
        STORE_REACHABLE.read(self.registry, one(lambda: float(STORE not in readiness.unmet)))
        GUARANTEE.read(self.registry, verdicts)

    def certificate(self, not_after: Callable[[], float]) -> None:
        """When TLS is on: the end of what is served now, which a reload moves."""
        CERTIFICATE.read(self.registry, one(not_after))

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """A call of ``Method`` ended."""
        self._rpcs.labels(method, code).inc()
        self._rpc_seconds.labels(method).observe(seconds)

    @contextmanager
    def rpc_in_progress(self, method: str) -> Iterator[None]:
        """While the block runs, the call counts as being served."""
        now = self._rpcs_now.labels(method)
        now.inc()
        try:
            yield
        finally:
            now.dec()

    def store_call_ended(self, operation: str, outcome: str, seconds: float) -> None:
        """For :class:`sealane.store.observed.ObservedStore`."""
        self._store_calls.labels(operation, outcome).inc()
        self._store_seconds.labels(operation).observe(seconds)

    def waited(self, queue: str) -> Callable[[float], None]:
        """Where to say how many seconds something waited in ``queue``: memory, part or connection."""
        return self._waits.labels(queue).observe

    async def watch_loop(self) -> None:
        """How late the loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))

    async def watch_drain(self, drain: asyncio.Event, seconds: float) -> None:
        """From here on draining is told, and from its beginning on what is left of it."""
        loop = asyncio.get_running_loop()
        began: list[float] = []

        def left() -> Reading:
            return [((), max(0.0, began[0] + seconds - loop.time()))] if began else []

        DRAINING.read(self.registry, one(lambda: float(drain.is_set())))
        DRAIN_LEFT.read(self.registry, left)
        await drain.wait()
        began.append(loop.time())


def described(families: Mapping[str, tuple[Family, ...]]) -> Iterator[tuple[str, Family]]:
    """Every family with where it is told: for the documentation, and for tests of what dashboards and rules name."""
    for where, some in families.items():
        for family in some:
            yield where, family
