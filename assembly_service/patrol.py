"""The sweeper: when, and over what. One in every replica, no leader, each at its own jittered pace (section 7).

A frequent pass takes what is not done; a rare full pass takes everything, and what belongs to nobody (W6). One bad
record never stops a pass: it raises an alarm, and the pass goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from assembly_service.confirmed import delete_confirmed
from assembly_service.events import Events
from assembly_service.listing import ListedRequest, ListedScratch, ListedSession, list_records
from assembly_service.orphans import Orphans
from assembly_service.retention import Retention
from assembly_service.statistics import Listed, Statistics
from assembly_service.sweep import Sweep
from sealane.domain.errors import ChunkNeeded, RetryLater, SealaneError, SessionLost, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import OutcomeUnknown, StoreError, WriteConflict
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords

T = TypeVar("T")

_KICKS = 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how hard. Times in seconds."""

    interval: float = 60.0
    """Between two passes; each time another 0.5–1.5 of it, so that replicas drift apart."""
    full_interval: float = 6 * 3600.0
    """Between two full passes, likewise."""
    at_once: int = 4
    """Sessions worked on side by side."""
    page_seconds: float = 60.0
    """Until a page of a LIST must be there."""
    session_seconds: float = 300.0
    """Until one session must be done with; the next pass goes on."""


_Seen = tuple[frozenset[str], bool]


class Patrol:
    """Runs passes, and between them looks at sessions that it was told of."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        sweep: Sweep,
        orphans: Orphans,
        rng: random.Random,
        events: Events,
        retention: Retention,
        pace: Pace | None = None,
        may_run: Callable[[], bool] = lambda: True,
        statistics: Statistics,
    ) -> None:
        """``may_run`` is asked before each pass: nothing is swept in a store that is not proven yet."""
        self._statistics = statistics
        self._store = store
        self._records = records
        self._sweep = sweep
        self._orphans = orphans
        self._rng = rng
        self._events = events
        self._retention = retention
        self._pace = pace or Pace()
        self._may_run = may_run
        self._kicked: asyncio.Queue[tuple[Tenant, SessionId]] = asyncio.Queue(_KICKS)
        self._rest: dict[SessionId, tuple[_Seen, datetime]] = {}
        self._judged_to: str | None = None
        """Where the uploads at chosen keys go on in the next full pass; None: from the first one."""

    def kick(self, tenant: Tenant, session: SessionId) -> None:
        """Look at this session soon. Best effort: if too many wait, the next pass finds it."""
        with contextlib.suppress(asyncio.QueueFull):
            self._kicked.put_nowait((tenant, session))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._passes(), name="sweeper passes")
            tasks.create_task(self._kicks(), name="sweeper kicks")

    async def _passes(self) -> None:
        loop = asyncio.get_running_loop()
        full_at = loop.time() + self._rng.uniform(0.0, self._pace.full_interval)
        while True:
            await asyncio.sleep(self._pace.interval * self._rng.uniform(0.5, 1.5))
            if not self._may_run():
                continue
            full = loop.time() >= full_at
            kind = "full" if full else "frequent"
            try:
                await self.sweep(full=full)
            except StoreError as error:
                self._statistics.passes[kind, "cut_short"] += 1
                self._report("a pass of the sweeper was cut short", error)
                continue
            self._statistics.passes[kind, "complete"] += 1
            self._statistics.last_pass[kind] = self._store.now()
            if full:
                full_at = loop.time() + self._pace.full_interval * self._rng.uniform(0.5, 1.5)

    async def _kicks(self) -> None:
        while True:
            tenant, session = await self._kicked.get()
            await self._guarded(partial(self._sweep.session, tenant, session), tenant, session)

    async def sweep(self, *, full: bool) -> None:
        """One pass. Raises the port's errors if it can't even list; all others concern one session and are reported."""
        limiter = asyncio.Semaphore(self._pace.at_once)
        chosen = self._orphans.at_chosen_keys()
        listed_as: Counter[Listed] = Counter()
        if full:  # ⚠ the uploads first, then every session that could finish one
            after, self._judged_to = self._judged_to, None  # from the first one, if the store won't go on from there
            self._judged_to = await chosen.list("", page_seconds=self._pace.page_seconds, after=after)
        resting: dict[SessionId, tuple[_Seen, datetime]] = {}

        async def look(listed: ListedSession | ListedScratch) -> None:
            try:
                if isinstance(listed, ListedScratch):
                    await self._guarded(partial(self._orphans.scratch, listed.key, listed.last_modified))
                else:
                    if chosen and keys.SESSION in listed.records and keys.DONE not in listed.records:
                        await self._guarded(
                            partial(chosen.session, listed.tenant, listed.session), listed.tenant, listed.session
                        )
                    await self._look(listed, resting, full=full)
            finally:
                limiter.release()

        cut_short: StoreError | None = None
        listing = list_records(self._store, page_seconds=self._pace.page_seconds, full=full)
        async with asyncio.TaskGroup() as tasks, contextlib.aclosing(listing):
            try:
                async for listed in listing:
                    if isinstance(listed, ListedRequest):
                        await self._request(listed)
                        continue
                    if isinstance(listed, ListedSession):
                        listed_as[_as_listed(listed)] += 1
                    await limiter.acquire()
                    tasks.create_task(look(listed))
            except StoreError as error:
                cut_short = error  # what is in hand is finished first
        if cut_short is not None:
            raise cut_short
        self._rest = resting
        self._statistics.listing_ended(listed_as, full=full)
        if full:
            for tenant, upload in chosen.orphans():
                await self._guarded(partial(self._orphans.chosen, tenant, upload), tenant)
            await self._uploads()

    async def _look(
        self, listed: ListedSession, resting: dict[SessionId, tuple[_Seen, datetime]], *, full: bool
    ) -> None:
        names = frozenset(listed.records)
        decided = keys.DECISION in names
        seen: _Seen = (names, decided and listed.receipts)
        rest = self._rest.get(listed.session)
        if not full and keys.SESSION in names:
            if keys.DONE in names and keys.DELETED not in names:
                return  # done sessions wait for the full pass
            if rest is not None and rest[0] == seen and self._store.now() <= rest[1]:
                resting[listed.session] = rest
                return
        until = await self._guarded(partial(self._due, listed), listed.tenant, listed.session)
        if until is not None:
            resting[listed.session] = ((names, False), until)  # a receipt that shows later is a reason to look again

    async def _due(self, listed: ListedSession, deadline: Deadline) -> datetime | None:
        names = set(listed.records)
        if not listed.receipts and names >= {keys.SESSION, keys.DECISION, keys.DONE} and keys.DELETED not in names:
            done = await self._records.done(listed.tenant, listed.session, deadline)
            if done is not None and isinstance(done.record, DoneRecord) and not done.record.generation:
                return None  # W7 has nothing left to do: it stays as long as its object
        return await self._sweep.session(listed.tenant, listed.session, deadline)

    async def _request(self, listed: ListedRequest) -> None:
        """A request_id older than its retention is forgotten."""

        async def forget(deadline: Deadline) -> None:
            if self._store.now() > listed.last_modified + self._retention.requests:
                await delete_confirmed(self._store, listed.key, deadline)

        await self._guarded(forget)

    async def _uploads(self) -> None:
        """W6, of all multipart uploads in the bucket."""
        cursor: str | None = None
        while True:
            page = await self._store.list_uploads("", Deadline.after(self._pace.page_seconds), cursor=cursor)
            for upload in page.uploads:
                await self._guarded(partial(self._orphans.upload, upload))
            cursor = page.cursor
            if cursor is None:
                return

    async def _guarded(self, work: Callable[[Deadline], Awaitable[T]], *whose: str) -> T | None:
        """``work``'s answer; None if it failed, which is reported and stops nothing.

        Beside the wire, the other boundary: nobody waits for the answer, and a pass that ends at one session would end
        there again in every replica, and nothing behind it would ever be swept.
        """
        try:
            return await work(Deadline.after(self._pace.session_seconds))
        except SessionNotFound:
            return None
        except (SealaneError, StoreError) as error:
            self._statistics.swept["failed"] += 1
            self._report("a session could not be swept", error, *whose)
            return None
        except Exception as error:  # noqa: BLE001 - a boundary: a bug that one session shows stops no other's sweep
            facts = {"kind": type(error).__name__, "exc_info": error, **_named(whose)}
            self._statistics.swept["failed"] += 1
            self._events.alarm("a session could not be swept: a bug", **facts)
            return None

    def _report(self, event: str, error: SealaneError | StoreError, *whose: str) -> None:
        detail = (error.private or error.message) if isinstance(error, SealaneError) else error.detail
        # These pass by themselves, or were alarmed where they were found.
        expected = isinstance(error, OutcomeUnknown | WriteConflict | RetryLater | ChunkNeeded | SessionLost)
        tell = self._events.note if expected else self._events.alarm
        tell(event, kind=type(error).__name__, detail=detail, **_named(whose))


def _as_listed(listed: ListedSession) -> Listed:
    names = listed.records
    if keys.SESSION not in names:
        return Listed.OWNERLESS
    if keys.DELETED in names:
        return Listed.DELETING
    if keys.DONE in names:
        return Listed.DONE
    return Listed.DECIDED if keys.DECISION in names else Listed.OPEN


def _named(whose: tuple[str, ...]) -> dict[str, object]:
    return dict(zip(("tenant", "session_id"), whose, strict=False))
