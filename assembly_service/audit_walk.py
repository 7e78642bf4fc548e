"""The audit's walk: a tenant's records and objects side by side, session by session, one page of each in memory.

Both listings are in ascending order of the session ids, whatever a store sorts by: an id is one segment of 32 hex
digits, and in every key that counts here a "/" follows it. So whole keys compared byte by byte (S3) and segment by
segment (SeaweedFS) meet the ids in one order, and two listings can be merged without holding either. Keys that are no
session's stand outside of the merge. A store that lists otherwise is noticed (:class:`OutOfOrder`), and not trusted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from sealane.domain.errors import BadRecord, InternalError
from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject
from sealane.store.retry import RetryingStore

PAGE_SECONDS = 60.0
MAX_OBJECTS = 1000
"""Kept of what lies under one session's own prefix; more is no session's."""
_BEHIND = "~"
"""Sorts behind everything that sealane puts into the folder."""


class OutOfOrder(InternalError):
    """The store lists session ids in no ascending order: the two listings can't be merged."""


@dataclass(slots=True)
class Heap:
    """Things that are counted, and not kept: there may be any number."""

    count: int = 0
    size: int = 0
    newest: datetime | None = None
    first: str = ""

    def add(self, listed: ListedObject) -> None:
        self.count += 1
        self.size += listed.size
        self.first = self.first or listed.key
        self.newest = listed.last_modified if self.newest is None else max(self.newest, listed.last_modified)


@dataclass(slots=True)
class SessionInStore:
    """All that LIST shows of one session."""

    session: SessionId
    records: dict[str, ListedObject] = field(default_factory=dict)
    receipts: Heap = field(default_factory=Heap)
    bad_receipts: Heap = field(default_factory=Heap)
    objects: list[ListedObject] = field(default_factory=list)
    """Under its own object prefix, where at most one belongs."""
    keys: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """A key in a folder of sealane's that the layout does not know."""

    listed: ListedObject


async def walk(
    store: RetryingStore, prefix: str, deadline: Deadline, *, but: str = ""
) -> AsyncGenerator[ListedObject, None]:
    """Every object under ``prefix``, one page in memory; those under ``but`` are jumped over, unseen."""
    cursor: str | None = None
    behind: str | None = None
    jumped = False
    while True:
        page = await store.list_objects(prefix, deadline.child(PAGE_SECONDS), cursor=cursor, start_after=behind)
        cursor, behind = page.cursor, None
        for listed in page.objects:
            if not but or not listed.key.startswith(but):
                yield listed
            elif not jumped:  # once: a forged name may sort behind the jump's end, and must not make a circle of it
                jumped = True
                cursor, behind = None, but + _BEHIND
                break
        if cursor is None and behind is None:
            return


async def sessions(
    store: RetryingStore, tenant: Tenant, deadline: Deadline
) -> AsyncGenerator[SessionInStore | Stray, None]:
    """Every session that has a record, a receipt, or an object at its own key, in ascending order of the ids."""
    async with (
        aclosing(_recorded(store, tenant, deadline)) as left,
        aclosing(_objects(store, tenant, deadline)) as right,
    ):
        records = _Ascending(left)
        objects = _Ascending(right)
        while True:
            for side in (records, objects):
                async for stray in side.strays():
                    yield stray
            one, other = records.head, objects.head
            if one is None and other is None:
                return
            if other is None or (one is not None and one.session <= other.session):
                assert one is not None
                if other is not None and one.session == other.session:
                    one.objects = other.objects
                    one.keys += other.keys
                    objects.head = None
                records.head = None
                yield one
            else:
                objects.head = None
                yield other


class _Ascending:
    """One side of the merge: ``head`` is the next session, None once :meth:`strays` has come to the end."""

    def __init__(self, items: AsyncIterator[SessionInStore | Stray]) -> None:
        self.head: SessionInStore | None = None
        self._items = items
        self._last = ""

    async def strays(self) -> AsyncIterator[Stray]:
        """Fill ``head``, if it is empty; what comes before the next session is answered."""
        while self.head is None:
            item = await anext(self._items, None)
            if item is None:
                return
            if isinstance(item, Stray):
                yield item
                continue
            if item.session <= self._last:
                raise OutOfOrder(private=f"LIST shows session {item.session} behind {self._last}")
            self._last = item.session
            self.head = item


def _recorded(store: RetryingStore, tenant: Tenant, deadline: Deadline) -> AsyncGenerator[SessionInStore | Stray, None]:
    return _grouped(walk(store, keys.sessions_prefix(tenant), deadline), keys.parse_session_key, _take_record)


def _objects(store: RetryingStore, tenant: Tenant, deadline: Deadline) -> AsyncGenerator[SessionInStore | Stray, None]:
    return _grouped(walk(store, keys.by_session_prefix(tenant), deadline), keys.parse_object_key, _take_object)


async def _grouped(
    listing: AsyncGenerator[ListedObject, None],
    parse: Callable[[str], keys.SessionKey | None],
    take: Callable[[SessionInStore, keys.SessionKey, ListedObject], bool],
) -> AsyncGenerator[SessionInStore | Stray, None]:
    """Session by session, as LIST shows them; ``take`` is False for a key of the session that the layout does not
    know."""
    current: SessionInStore | None = None
    async with aclosing(listing):
        async for listed in listing:
            found = parse(listed.key)
            if found is None:
                yield Stray(listed)
                continue
            if current is None or current.session != found.session:
                if current is not None:
                    yield current
                current = SessionInStore(found.session)
            current.keys += 1
            if not take(current, found, listed):
                yield Stray(listed)
    if current is not None:
        yield current


def _take_record(session: SessionInStore, found: keys.SessionKey, listed: ListedObject) -> bool:
    if found.rest in keys.RECORDS:
        session.records[found.rest] = listed
    elif found.rest.startswith(keys.RECEIPTS):
        (session.receipts if _is_receipt(found.rest, listed.key) else session.bad_receipts).add(listed)
    else:
        return False
    return True


def _is_receipt(rest: str, key: str) -> bool:
    try:
        keys.parse_receipt(key)
    except BadRecord:
        return False
    return rest.count("/") == 1


def _take_object(session: SessionInStore, found: keys.SessionKey, listed: ListedObject) -> bool:
    if len(session.objects) == MAX_OBJECTS:
        return False
    session.objects.append(listed)
    return True
