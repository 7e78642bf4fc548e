"""One LIST of everything that is recorded, told session by session: what a pass of the sweeper walks along."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime

from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject
from sealane.store.retry import RetryingStore

_BEHIND = "~"
"""Sorts behind every receipt, request record and probe, whose names begin with a hex digit."""


@dataclass(slots=True)
class ListedSession:
    """What LIST shows of a session. A hint of what may be due, never a proof: what is done is decided by reading."""

    tenant: Tenant
    session: SessionId
    records: dict[str, datetime] = field(default_factory=dict)
    """Names of :data:`keys.RECORDS` that are there, and their Last-Modified."""
    receipts: bool = False


@dataclass(frozen=True, slots=True)
class ListedRequest:
    """A requests/ record."""

    key: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class ListedScratch:
    """What a probe wrote, under :data:`keys.PROBE`."""

    key: str
    last_modified: datetime


async def list_records(
    store: RetryingStore, *, page_seconds: float, full: bool
) -> AsyncGenerator[ListedSession | ListedRequest | ListedScratch, None]:
    """Every session with a record or a receipt; with ``full`` every requests/ record, and what probes wrote, too.

    One page is in memory at a time. Receipts are told by their presence: a page that ends among them is followed by
    one that begins behind them, so that a session of 10,000 chunks costs two pages and not ten.
    """
    current: ListedSession | None = None
    cursor: str | None = None
    behind: str | None = None
    while True:
        page = await store.list_objects(keys.ROOT, Deadline.after(page_seconds), cursor=cursor, start_after=behind)
        for listed in page.objects:
            found = keys.parse_session_key(listed.key)
            if found is None:
                if full and keys.parse_request_key(listed.key) is not None:
                    yield ListedRequest(listed.key, listed.last_modified)
                elif full and listed.key.startswith(keys.PROBE):
                    yield ListedScratch(listed.key, listed.last_modified)
                continue
            if current is None or (current.tenant, current.session) != (found.tenant, found.session):
                if current is not None:
                    yield current
                current = ListedSession(found.tenant, found.session)
            if found.rest in keys.RECORDS:
                current.records[found.rest] = listed.last_modified
            else:
                current.receipts |= found.rest.startswith(keys.RECEIPTS)
        if page.cursor is None:
            break
        behind = _jump(page.objects[-1], full=full) if page.objects else None
        if behind is not None and page.objects[-1].key > behind:
            behind = None  # a forged name behind all of ours: a jump back to it would be a circle
        cursor = None if behind is not None else page.cursor
    if current is not None:
        yield current


def _jump(last: ListedObject, *, full: bool) -> str | None:
    """Where to go on instead of the next page, if what follows need not be seen one by one."""
    found = keys.parse_session_key(last.key)
    if found is not None and found.rest.startswith(keys.RECEIPTS):
        return keys.receipts_prefix(found.tenant, found.session) + _BEHIND
    tenant = keys.parse_request_key(last.key)
    if tenant is not None and not full:
        return keys.requests_prefix(tenant) + _BEHIND
    claim = keys.parse_claim_key(last.key)
    if claim is not None:
        return keys.all_claims_prefix(claim.tenant) + _BEHIND
    if last.key.startswith(keys.PROBE) and not full:
        return keys.PROBE + _BEHIND
    return None
