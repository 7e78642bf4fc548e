"""What assembly alone tells Prometheus, beside :mod:`sealane.metrics.shared`: commits, outcomes, the sweeper."""

from __future__ import annotations

from datetime import datetime

from assembly_service.statistics import Ending, Phase, Statistics
from sealane.metrics.families import SLOW, Family, by_word, one
from sealane.metrics.shared import SharedMetrics

ENDED = Family(
    "sealane_sessions_ended_total",
    "counter",
    "Sessions by what this replica made of them: committed, duplicate, aborted, expired, lost, deleted. Replicas that "
    "end one session side by side may each count it.",
    ("outcome",),
)
PHASES = Family(
    "sealane_commit_phase_duration_seconds",
    "histogram",
    "How long each part of a commit took: read, check, claim, decide, finish (docs/protocol.md, section 5).",
    ("phase",),
    SLOW,
)
SESSIONS = Family(
    "sealane_sessions",
    "gauge",
    "Sessions in the whole bucket by what a LIST of their records shows, at this replica's last complete pass: open, "
    "decided, done, deleting, ownerless. Every replica tells the same: take the max, not the sum.",
    ("records",),
)
PASSES = Family(
    "sealane_sweeper_passes_total",
    "counter",
    "Passes of this replica's sweeper: frequent or full, complete or cut_short.",
    ("kind", "result"),
)
SWEPT = Family(
    "sealane_sweeper_sessions_total",
    "counter",
    "What the sweeper did to sessions: expired, rolled_forward, purged; failed is tried again by the next pass.",
    ("deed",),
)
LAST_PASS = Family(
    "sealane_sweeper_last_pass_timestamp_seconds",
    "gauge",
    "When the last complete pass ended, by the store's clock; before the first one: when the replica started.",
    ("kind",),
)
FOUND = Family(
    "sealane_orphans_found_total",
    "counter",
    "What belongs to no session: upload (multipart uploads), scratch (left by a killed probe).",
    ("kind",),
)
REMOVED = Family("sealane_orphans_removed_total", "counter", "Of those, what was removed.", ("kind",))
ORPHAN_BYTES = Family(
    "sealane_orphan_bytes",
    "gauge",
    "Bytes of orphaned uploads that the last full pass found, and that could not be removed.",
)
ORPHAN_BYTES_REMOVED = Family("sealane_orphan_removed_bytes_total", "counter", "Bytes of orphaned uploads removed.")

ASSEMBLY = (*(ENDED, PHASES, SESSIONS, PASSES, SWEPT, LAST_PASS, FOUND, REMOVED, ORPHAN_BYTES, ORPHAN_BYTES_REMOVED),)


def statistics_for(metrics: SharedMetrics, *, started: datetime) -> Statistics:
    """Counts that ``metrics`` read, and whose durations go into its histograms."""
    registry = metrics.registry
    phases = PHASES.histogram(registry)
    of_phase = {phase.value: phases.labels(phase.value).observe for phase in Phase}
    counted = Statistics(phase_took=lambda phase, seconds: of_phase[phase](seconds))
    for ending in Ending:
        counted.ended[ending.value] = 0  # a series that begins with its first event has no rate
    for kind in ("frequent", "full"):
        counted.last_pass[kind] = started
    for kind in ("upload", "scratch"):
        counted.orphans_found[kind] = counted.orphans_removed[kind] = 0
    for deed in ("expired", "rolled_forward", "purged", "failed"):
        counted.swept[deed] = 0
    metrics.errors(counted.errors_by_reason)
    ENDED.read(registry, by_word(lambda: counted.ended))
    SESSIONS.read(registry, by_word(lambda: counted.listed))
    PASSES.read(registry, lambda: list(dict(counted.passes).items()))
    SWEPT.read(registry, by_word(lambda: counted.swept))
    LAST_PASS.read(registry, lambda: [((kind,), at.timestamp()) for kind, at in dict(counted.last_pass).items()])
    FOUND.read(registry, by_word(lambda: counted.orphans_found))
    REMOVED.read(registry, by_word(lambda: counted.orphans_removed))
    ORPHAN_BYTES.read(registry, one(lambda: counted.orphan_bytes))
    ORPHAN_BYTES_REMOVED.read(registry, one(lambda: counted.orphan_bytes_removed))
    return counted
