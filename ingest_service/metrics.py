"""What ingest alone tells Prometheus, beside :mod:`sealane.metrics.shared`: chunks, bytes, memory, streams."""

from __future__ import annotations

from ingest_service.admission import MemoryBudget
from ingest_service.statistics import Statistics
from sealane.metrics.families import SLOW, Family, Reading, one
from sealane.metrics.shared import SharedMetrics
from sealane.slots import Slots

CREATED = Family("sealane_sessions_created_total", "counter", "Sessions created.")
CHUNKS = Family(
    "sealane_chunks_total",
    "counter",
    "Chunks that arrived whole, by what became of them: stored, duplicate, mended, corrupt, conflict, failed.",
    ("result",),
)
RECEIVED = Family(
    "sealane_received_bytes_total", "counter", "Bytes of chunks that arrived whole, whatever became of them."
)
STORED = Family("sealane_stored_bytes_total", "counter", "Bytes of chunks that were stored for the first time.")
CHUNK_SECONDS = Family(
    "sealane_chunk_duration_seconds",
    "histogram",
    "From a chunk's last byte to its receipt: hashing, waiting, UploadPart, receipt. Of chunks that were stored.",
    (),
    SLOW,
)
BUDGET = Family("sealane_memory_budget_bytes", "gauge", "SEALANE_MEMORY_BUDGET: what chunks may hold at once.")
IN_USE = Family("sealane_memory_in_use_bytes", "gauge", "What chunks hold now, arriving or on their way to the store.")
WAITERS = Family("sealane_memory_waiters", "gauge", "Streams that wait for memory now.")
STREAMS = Family("sealane_upload_streams", "gauge", "Upload streams open now.")
MAX_STREAMS = Family("sealane_upload_streams_limit", "gauge", "SEALANE_MAX_STREAMS: further streams get OVERLOADED.")
WATCHERS = Family("sealane_watchers", "gauge", "WatchSession calls open now.")
MAX_WATCHERS = Family("sealane_watchers_limit", "gauge", "SEALANE_MAX_WATCHERS: further ones get OVERLOADED.")

INGEST = (
    *(CREATED, CHUNKS, RECEIVED, STORED, CHUNK_SECONDS, BUDGET, IN_USE, WAITERS, STREAMS, MAX_STREAMS),
    *(WATCHERS, MAX_WATCHERS),
)


def statistics_for(metrics: SharedMetrics) -> Statistics:
    """Counts that ``metrics`` read, and whose durations go into its histograms."""
    counted = Statistics(
        memory_wait=metrics.waited("memory"),
        part_wait=metrics.waited("part"),
        chunk_took=CHUNK_SECONDS.histogram(metrics.registry).observe,
    )
    registry = metrics.registry
    metrics.errors(counted.errors_by_reason)

    def chunks() -> Reading:
        results = ("stored", "duplicate", "mended", "corrupt", "conflict", "failed")
        return [((result,), getattr(counted, f"chunks_{result}")) for result in results]

    CHUNKS.read(registry, chunks)
    CREATED.read(registry, one(lambda: counted.sessions_created))
    RECEIVED.read(registry, one(lambda: counted.bytes_received))
    STORED.read(registry, one(lambda: counted.bytes_stored))
    return counted


def expose(metrics: SharedMetrics, memory: MemoryBudget, streams: Slots, watchers: Slots) -> None:
    """What the replica holds, at every scrape."""
    registry = metrics.registry
    BUDGET.read(registry, one(lambda: memory.size))
    IN_USE.read(registry, one(lambda: memory.in_use))
    WAITERS.read(registry, one(lambda: memory.waiting))
    STREAMS.read(registry, one(lambda: streams.held))
    MAX_STREAMS.read(registry, one(lambda: streams.limit))
    WATCHERS.read(registry, one(lambda: watchers.held))
    MAX_WATCHERS.read(registry, one(lambda: watchers.limit))
