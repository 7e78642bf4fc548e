"""The times and sizes of the chaos: as in production, but of seconds, so that minutes see everything end."""

from __future__ import annotations

from sealane.domain.limits import Limits, MiB

LIMITS = Limits(min_ttl=1, unknown_size_chunk_bytes=8 * MiB)
"""As in production, but for the ttl. The store refuses parts below 5 MiB, and so chunks below 8 MiB."""
FRAME_BYTES = LIMITS.max_frame_bytes

SHORT_TTL = 6.0
"""Of sessions that are left, and of those that race their own end."""
LONG_TTL = 1800.0
GRACE = 2.0
OUTCOME_RETENTION = 4.0
RECEIPT_RETENTION = 4.0
LONG_STOP = SHORT_TTL + GRACE + OUTCOME_RETENTION + 6.0
"""A process that is stopped for so long wakes up in a world where what it was doing is purged."""
PROBE_RETENTION_SECONDS = 180.0
"""Longer than a probe may take, stops included."""

SETTINGS: dict[str, str] = {
    "SEALANE_LOG_FORMAT": "json",
    "SEALANE_S3_ATTEMPT_SECONDS": "4",
    "SEALANE_S3_PART_SECONDS": "8",
    "SEALANE_DRAIN_SECONDS": "4",
    # Proven in full by the contract's tests; with 1,000 a start is some 2,000 requests more (docs/reliability.md).
    "SEALANE_PROBE_PAGE_KEYS": "20",
    "SEALANE_ASSEMBLY_GRACE": str(GRACE),
    "SEALANE_ASSEMBLY_OUTCOME_RETENTION": str(OUTCOME_RETENTION),
    "SEALANE_ASSEMBLY_RECEIPT_RETENTION": str(RECEIPT_RETENTION),
    "SEALANE_ASSEMBLY_SWEEP_INTERVAL": "2.5",
    "SEALANE_ASSEMBLY_FULL_SWEEP_INTERVAL": "20",
    "SEALANE_ASSEMBLY_RECEIPTS_TIMEOUT": "8",
    "SEALANE_INGEST_STREAM_IDLE_SECONDS": "8",
    "SEALANE_INGEST_CHUNK_STORE_SECONDS": "30",
    "SEALANE_INGEST_MEMORY_WAIT_SECONDS": "4",
}
