"""Deleting at a key that a caller chose: not by this version."""

from __future__ import annotations

from assembly_service.removal import Removed
from sealane.domain.errors import DeleteUnsupported
from sealane.domain.ids import Tenant
from sealane.store.deadline import Deadline
from sealane.store.session_records import Snapshot


class NoRelease:
    """Refuses: a DELETE has no fence, and a stalled one could hit a later generation's object ⚠."""

    async def release(self, tenant: Tenant, target: Snapshot, removed: Removed, deadline: Deadline) -> None:
        raise DeleteUnsupported
