"""The log of claims of a chosen key in the store: listed, read, and written once (protocol.md section 8).

What a claim is worth is no matter of this module: see :mod:`sealane.domain.claims`. Only assembly writes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sealane.domain.claims import ClaimRecord, NameRecord, Nature, next_number
from sealane.domain.errors import BadRecord
from sealane.domain.ids import Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey
from sealane.store.retry import RetryingStore
from sealane.store.session_records import LARGE_BYTES, Stored, settle


@dataclass(frozen=True, slots=True)
class ListedClaim:
    """A claim as LIST shows it."""

    number: int
    written: datetime


@dataclass(frozen=True, slots=True)
class ClaimLog:
    """All claims of a key that were there at one moment, in ascending order."""

    claims: Sequence[ListedClaim] = ()

    @property
    def next_number(self) -> int:
        return next_number(claim.number for claim in self.claims)

    @property
    def highest(self) -> int:
        """0 if there is none."""
        return self.next_number - 1

    def is_torn(self, matters: Callable[[ListedClaim], bool]) -> bool:
        """True if the claim before one that ``matters`` is missing. Numbers are taken in order, each after a LIST that
        showed all before it: so this LIST has passed a claim's place before it landed, and shown a later one."""
        before = 0
        for claim in self.claims:
            if claim.number != before + 1 and matters(claim):
                return True
            before = claim.number
        return False


class KeyClaims:
    """Store errors are the port's; what can't be read is BadRecord."""

    def __init__(self, store: RetryingStore) -> None:
        self._store = store

    async def log(self, tenant: Tenant, object_key: str, deadline: Deadline, *, behind: int = -1) -> ClaimLog:
        """LIST: the claims of a key with higher numbers than ``behind``; 1,000 cost one call."""
        prefix = keys.claims_prefix(tenant, object_key)
        found: list[ListedClaim] = []
        cursor: str | None = None
        start = keys.claim(tenant, object_key, behind) if behind >= 0 else None
        while True:
            page = await self._store.list_objects(prefix, deadline, cursor=cursor, start_after=start)
            for listed in page.objects:
                parsed = keys.parse_claim_key(listed.key)
                if parsed is None:
                    raise BadRecord(private=f"among the claims there is {listed.key!r}")
                if parsed.number:  # number 0 is the name record
                    found.append(ListedClaim(parsed.number, listed.last_modified))
            cursor, start = page.cursor, None
            if cursor is None:
                return ClaimLog(tuple(sorted(found, key=lambda claim: claim.number)))

    async def claim(
        self, tenant: Tenant, object_key: str, number: int, deadline: Deadline
    ) -> Stored[ClaimRecord] | None:
        """Claim ``number``, as it was written."""
        key = keys.claim(tenant, object_key, number)
        try:
            found = await self._store.get(key, deadline)
        except NoSuchKey:
            return None
        if len(found.body) > LARGE_BYTES:
            record = await asyncio.get_running_loop().run_in_executor(None, ClaimRecord.parse, found.body)
        else:
            record = ClaimRecord.parse(found.body)
        if record.object_key != object_key or record.generation != number:
            raise BadRecord(private=f"{key}: claims generation {record.generation} of {record.object_key!r}")
        return Stored(record, found.last_modified)

    async def put_claim(self, tenant: Tenant, record: ClaimRecord, deadline: Deadline) -> None:
        """One try. After PreconditionFailed or OutcomeUnknown: list again, section 8 from the start ⚠."""
        key = keys.claim(tenant, record.object_key, record.generation)
        await self._store.put_if_absent(key, record.encode(), deadline)

    async def name(self, tenant: Tenant, name: str, deadline: Deadline) -> Nature | None:
        """Whether a name is a key or a folder of keys; None while nobody has decided."""
        stored = await self._name(tenant, name, deadline)
        return None if stored is None else stored.record.nature

    async def settle_name(self, tenant: Tenant, name: str, nature: Nature, deadline: Deadline) -> Nature:
        """What a name is from now on, for ever: ``nature``, or what somebody decided before."""
        standing = await settle(
            self._store,
            keys.claim(tenant, name, 0),
            NameRecord(name, nature).encode(),
            lambda: self._name(tenant, name, deadline),
            deadline,
        )
        return standing.record.nature

    async def _name(self, tenant: Tenant, name: str, deadline: Deadline) -> Stored[NameRecord] | None:
        try:
            found = await self._store.get(keys.claim(tenant, name, 0), deadline)
        except NoSuchKey:
            return None
        record = NameRecord.parse(found.body)
        if record.name != name:
            raise BadRecord(private=f"the name record of {name!r} names {record.name!r}")
        return Stored(record, found.last_modified)
