"""Lists of receipts are long: so many in hand at once, and whoever wants one of another tenant is not behind them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from ingest_service.receipts import Receipts
from sealane.domain.chunks import Receipt
from sealane.domain.errors import DeadlineExceeded
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket

ACME, OTHER = Tenant("acme"), Tenant("other")
SESSIONS = [SessionId(f"{number:032x}") for number in range(12)]
PLAN = Limits().plan(8 << 20, 8 << 20)


class Lists:
    """A fault plan that holds every LIST until it is let go, and knows whose are under way."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def around(self, op: str, key: str, effect: Any) -> Any:
        if op == "list_objects":
            self.under_way.append(key)
            self.begun.set()
            await self.go.wait()
        return effect()


async def _store() -> tuple[Lists, RetryingStore]:
    lists, bucket = Lists(), SimulatedBucket()
    receipt = Receipt(0, 8 << 20, b"b" * 32, b"c" * 32, b"s" * 32, "e" * 32)
    for tenant in (ACME, OTHER):
        for session in SESSIONS:
            await SimulatedStore(bucket).put(keys.receipt(tenant, session, receipt), b"", timeout=5)
    return lists, RetryingStore(SimulatedStore(bucket, faults=lists), rng=random.Random(1))


async def test_lists_of_receipts_take_turns_and_another_tenant_is_next() -> None:
    lists, store = await _store()
    receipts = Receipts(store, None, at_once=2)

    def read(tenant: Tenant, session: SessionId) -> asyncio.Task[Any]:
        deadline = Deadline.after(60)
        if int(session, 16) % 2:
            return asyncio.create_task(receipts.coverage(tenant, session, PLAN, deadline))
        return asyncio.create_task(receipts.all(tenant, session, deadline))

    many = [read(ACME, session) for session in SESSIONS]
    await lists.begun.wait()
    other = read(OTHER, SESSIONS[0])
    many.pop().cancel()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(lists.under_way) == 2
    lists.go.set()
    await other
    await asyncio.gather(*many)
    assert OTHER in lists.under_way[2]
    assert len(lists.under_way) == len(SESSIONS)  # 11 of one tenant, 1 of the other


async def test_a_turn_that_does_not_come_ends_with_the_deadline() -> None:
    lists, store = await _store()
    receipts = Receipts(store, None, at_once=1)
    first = asyncio.create_task(receipts.all(ACME, SESSIONS[0], Deadline.after(60)))
    await lists.begun.wait()
    with pytest.raises(DeadlineExceeded):
        await receipts.all(ACME, SESSIONS[1], Deadline.after(0))
    lists.go.set()
    assert len(await first) == 1
    assert len(await receipts.all(ACME, SESSIONS[1], Deadline.after(60))) == 1
