"""The audit of objects at keys that callers chose: is each one what the key's claims say? Reads only."""

from __future__ import annotations

from assembly_service.audit_findings import AuditKind, Finding
from assembly_service.claims import Claims, is_of
from assembly_service.events import Events
from sealane.domain.claims import Standing
from sealane.domain.errors import BadRecord
from sealane.domain.ids import Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject, ObjectHead

LOOKS = 3
"""A generation may reach the key between two reads: the object is looked at again before it is called a ghost."""


class ObjectAudit:
    """Looks at single objects."""

    def __init__(self, *, claims: Claims, events: Events) -> None:
        self._claims = claims
        self._events = events

    async def look(self, tenant: Tenant, listed: ListedObject, deadline: Deadline) -> list[Finding]:
        """What does not fit, however young. Raises the port's errors; what can't be read is a finding."""
        chosen = keys.parse_chosen_key(listed.key, tenant)
        if chosen is None:
            text = "An object at a key that no caller can have chosen: sealane never removes it."
            return [Finding.of(AuditKind.OBJECT_WITHOUT_RECORDS, text, [listed])]
        try:
            for _ in range(LOOKS):
                head = await self._claims.object(tenant, chosen[1], deadline)
                if head is None or await self._accounted(tenant, chosen[1], head, deadline):
                    return []
        except BadRecord as error:
            self._events.note("a record can't be read", tenant=tenant, key=listed.key, detail=error.private)
            text = "A claim of this key, or the session that it names, can't be read (see the log)."
            return [Finding.of(AuditKind.BAD_RECORD, text, [listed])]
        text = "An object at a chosen key that no generation of the key accounts for: sealane never removes it."
        return [Finding.of(AuditKind.OBJECT_WITHOUT_RECORDS, text, [listed])]

    async def _accounted(self, tenant: Tenant, object_key: str, head: ObjectHead, deadline: Deadline) -> bool:
        """True if it is the newest finished generation's, or of one that is being finished."""
        log = await self._claims.log(tenant, object_key, deadline)
        for claim in reversed(log.claims):
            found = await self._claims.claim(tenant, object_key, claim.number, deadline)
            if not found.tombstone and is_of(head, found):
                return True
            if found.standing is Standing.DONE:
                return False
        return False
