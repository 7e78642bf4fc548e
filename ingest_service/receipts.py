"""The receipts of a session, by LIST: what is stored, and nothing else, is covered (protocol.md section 3).

A key among them that is no receipt stops everything that depends on it: BadRecord, fail closed (section 11).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager

from ingest_service.hands import Hands
from sealane.domain.chunks import Receipt
from sealane.domain.coverage import Coverage, coverage
from sealane.domain.errors import BadRecord, DeadlineExceeded
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import ChunkPlan
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject
from sealane.store.retry import RetryingStore

MANY = 1000
"""More receipts than this are merged off the event loop: 10,000 take some 50 ms."""


class Receipts:
    """Reads and writes receipts. Store errors are the port's."""

    def __init__(self, store: RetryingStore, executor: Executor | None, *, at_once: int = 16) -> None:
        """``at_once``: sessions whose receipts are all in hand, 5 MiB of 10,000; tenants take turns. Were everybody
        served at once, each page by page, all lists would grow together, and none would end."""
        self._store = store
        self._executor = executor
        self._hands = Hands(at_once)

    async def pages(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> AsyncIterator[list[Receipt]]:
        """All receipts in ascending order of index, a page of the store's at a time."""
        prefix = keys.receipts_prefix(tenant, session)
        cursor: str | None = None
        while True:
            page = await self._store.list_objects(prefix, deadline, cursor=cursor)
            yield [_parse(prefix, listed) for listed in page.objects]
            cursor = page.cursor
            if cursor is None:
                return

    async def all(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        async with self._a_turn(tenant, deadline):
            return await self._all(tenant, session, deadline)

    async def of_chunk(self, tenant: Tenant, session: SessionId, index: int, deadline: Deadline) -> list[Receipt]:
        """Every receipt of one chunk: more than one if it was stored more than once."""
        directory = keys.receipts_prefix(tenant, session)
        prefix = keys.receipts_prefix(tenant, session, index)
        return [_parse(directory, listed) async for listed in self._store.list_all(prefix, deadline)]

    async def put(self, tenant: Tenant, session: SessionId, receipt: Receipt, deadline: Deadline) -> None:
        """Step 6. Only once this has ended is the chunk stored."""
        await self._store.put(keys.receipt(tenant, session, receipt), b"", deadline)

    async def coverage(self, tenant: Tenant, session: SessionId, plan: ChunkPlan, deadline: Deadline) -> Coverage:
        """What has arrived."""
        async with self._a_turn(tenant, deadline):
            return await self.merged(await self._all(tenant, session, deadline), plan)

    async def _all(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        return [receipt async for page in self.pages(tenant, session, deadline) for receipt in page]

    @asynccontextmanager
    async def _a_turn(self, tenant: Tenant, deadline: Deadline) -> AsyncIterator[None]:
        """Wait for one of the hands; DeadlineExceeded."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline.at):
                    await stack.enter_async_context(self._hands.one(tenant, 1))
            except TimeoutError as error:
                raise DeadlineExceeded() from error
            yield

    async def merged(self, receipts: list[Receipt], plan: ChunkPlan) -> Coverage:
        """What these receipts, all of a session's, cover."""
        if len(receipts) <= MANY:
            return coverage(receipts, plan)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, coverage, receipts, plan)


def _parse(prefix: str, listed: ListedObject) -> Receipt:
    key = listed.key
    if not key.startswith(prefix) or "/" in key[len(prefix) :]:
        raise BadRecord(private=f"among the receipts there is {key!r}")
    return keys.parse_receipt(key, listed.last_modified)
