"""Numbers of the manifests that follow from settings: the memory limit and the grace of termination."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import ValidationError

from deploy.kubernetes.environment import settings_from, started_with
from deploy.kubernetes.workloads import Manifest, ours
from ingest_service.app import LAST_UPLOADS_SECONDS
from ingest_service.settings import IngestSettings

MiB = 1 << 20
UNITS = {"": 1, "Ki": 1 << 10, "Mi": MiB, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
ASSEMBLY_BYTES = 400 * MiB
"""100 MiB, and 25 commits of 10,000 chunks at once, 12 MiB each (docs/operations.md, Size)."""
LEAST_ROOM, MOST_ROOM = 1.1, 1.5
"""The limit over what the process may hold: the kernel's buffers of its sockets count, too; more is waste."""
ENDING_SECONDS = 5.0
"""After calls and uploads have ended: background work, connections to the store."""


def quantity(text: str) -> int:
    """Bytes of "768Mi" and the like."""
    match = re.fullmatch(r"([0-9]+)([A-Za-z]*)", str(text))
    if match is None or match[2] not in UNITS:
        raise ValueError(f"not a quantity of bytes that is understood here: {text}")
    return int(match[1]) * UNITS[match[2]]


def derived_faults(manifests: list[Manifest]) -> Iterator[str]:
    """Where a number of a Deployment is not what its settings ask for."""
    for service, deployment, container in ours(manifests):
        try:
            settings = settings_from(service, started_with(deployment, container, manifests))
            requested, limit = (quantity(container["resources"][what]["memory"]) for what in ("requests", "limits"))
        except (ValidationError, KeyError):
            continue  # other rules tell
        needed = settings.most_memory if isinstance(settings, IngestSettings) else ASSEMBLY_BYTES
        if not LEAST_ROOM * needed <= limit <= MOST_ROOM * needed:
            yield (
                f"{service}: memory limit {limit // MiB} MiB, for {needed // MiB} MiB that it may hold:"
                f" {LEAST_ROOM} to {MOST_ROOM} times that"
            )
        if requested != limit:
            yield f"{service}: its memory request is not its limit: it may be evicted for using what it was promised"
        grace = deployment["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        longest = settings.drain_seconds + LAST_UPLOADS_SECONDS + ENDING_SECONDS
        if not longest <= grace <= longest + 30:
            yield f"{service}: terminationGracePeriodSeconds {grace}, and the drain takes up to {longest:g} s"
