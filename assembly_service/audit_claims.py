"""The audit of the logs of claims: can what each name begins its next commit with be read? Reads only.

Claims and names have a life of their own, and no session's audit reads them. One that can't be read stops its key (fail
closed, protocol.md section 11): nobody commits, deletes or asks for it, and no sweeper comes by to notice.
"""

from __future__ import annotations

import asyncio

from assembly_service.audit_findings import AuditKind, Finding
from assembly_service.events import Events
from sealane.domain.claims import ClaimRecord, NameRecord
from sealane.domain.errors import BadRecord
from sealane.domain.ids import Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject, NoSuchKey
from sealane.store.retry import RetryingStore
from sealane.store.session_records import LARGE_BYTES


class NewestOfEach:
    """Of a listing of claims in ascending order, the last of each log: one call a name, however many generations."""

    def __init__(self) -> None:
        self._log = ""
        self.newest: ListedObject | None = None
        """Of the log that the listing is in; once it is over, the last log's."""

    def next(self, listed: ListedObject) -> ListedObject | None:
        """The newest of the log that ``listed`` is the first behind, if it is."""
        claim = keys.parse_claim_key(listed.key)
        log = claim.log if claim else ""
        ended = self.newest if log != self._log else None
        self._log, self.newest = log, listed if claim else None
        return ended


class ClaimAudit:
    """Looks at single claims, and at single names."""

    def __init__(self, store: RetryingStore, *, events: Events) -> None:
        self._store = store
        self._events = events

    async def look(self, tenant: Tenant, listed: ListedObject, deadline: Deadline) -> list[Finding]:
        """What does not fit, however young. Raises the port's errors; what can't be read is a finding."""
        try:
            found = await self._store.get(listed.key, deadline)
        except NoSuchKey:
            return []
        try:
            if len(found.body) > LARGE_BYTES:
                await asyncio.get_running_loop().run_in_executor(None, _check, tenant, listed.key, found.body)
            else:
                _check(tenant, listed.key, found.body)
        except BadRecord as error:
            self._events.note("a record can't be read", tenant=tenant, key=listed.key, detail=error.private)
            text = (
                "A claim of a key, or what its name is, can't be read: the key takes no commit or delete (see the log)."
            )
            return [Finding.of(AuditKind.BAD_RECORD, text, [listed])]
        return []


def _check(tenant: Tenant, key: str, body: bytes) -> None:
    """BadRecord, unless the record is one of the log and the number that its key says."""
    place = keys.parse_claim_key(key)
    number = place.number if place else 0
    if number:
        claim = ClaimRecord.parse(body)
        name, said = claim.object_key, claim.generation
    else:
        name, said = NameRecord.parse(body).name, 0
    if keys.claim(tenant, name, said) != key:
        raise BadRecord(private=f"{key} is number {said} of {name!r}")
