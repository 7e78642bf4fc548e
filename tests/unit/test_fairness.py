"""Between tenants: nobody with one stream is behind the sixty of another, whatever is short (memory, slots, hands)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from ingest_service.admission import MemoryBudget
from ingest_service.hands import Hands
from sealane.domain.errors import Draining, Overloaded
from sealane.slots import REMEMBERED_SECONDS, Slots
from sealane.store.deadline import Deadline

STEP = 1.0
"""Seconds for which a chunk is held."""


async def _streams(
    budget: MemoryBudget, tenant: str, count: int, length: int, got: Counter[str], waits: dict[str, float]
) -> None:
    """``count`` streams that hold a chunk for a while and ask for the next, for ever."""
    loop = asyncio.get_running_loop()

    async def stream() -> None:
        while True:
            asked = loop.time()
            lease = await budget.lease(length, Deadline.after(10_000), tenant)
            waits[tenant] = max(waits.get(tenant, 0.0), loop.time() - asked)
            got[tenant] += length
            await asyncio.sleep(STEP)
            lease.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(stream())


@contextlib.asynccontextmanager
async def _background(*works: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]  # coroutines
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@given(st.integers(1, 60), st.sampled_from([10, 25, 50]), st.sampled_from([10, 25, 50]))
def test_a_tenant_with_one_stream_waits_for_no_more_than_one_chunk_of_another_with_many(
    many: int, theirs: int, mine: int
) -> None:
    async def play() -> None:
        budget = MemoryBudget(100, max_wait=10_000)
        got: Counter[str] = Counter()
        waits: dict[str, float] = {}
        async with _background(_streams(budget, "many", many, theirs, got, waits)):
            await asyncio.sleep(5 * STEP)
            async with _background(_streams(budget, "one", 1, mine, got, waits)):
                await asyncio.sleep(40 * STEP)
        # Each time at most until what is held now comes back, once.
        assert waits["one"] <= STEP
        assert got["one"] >= mine * 40 / 2 - mine

    run(play())


@given(st.integers(8, 60), st.integers(8, 60), st.sampled_from([10, 20]), st.sampled_from([10, 20]))
def test_two_tenants_that_want_all_they_can_get_get_the_same_bytes(a: int, b: int, x: int, y: int) -> None:
    async def play() -> Counter[str]:
        budget = MemoryBudget(80, max_wait=10_000)
        got: Counter[str] = Counter()
        waits: dict[str, float] = {}
        async with _background(_streams(budget, "a", a, x, got, waits), _streams(budget, "b", b, y, got, waits)):
            await asyncio.sleep(200 * STEP)
        return got

    got = run(play())
    assert abs(got["a"] - got["b"]) <= 0.05 * got.total()


async def test_memory_is_kept_for_a_tenant_that_holds_none_though_another_never_lets_go() -> None:
    budget = MemoryBudget(100, max_wait=0.01, max_leases=100, reserved=0.25)
    held = [await budget.lease(25, Deadline.after(10), "dribbles") for _ in range(3)]
    with pytest.raises(Overloaded):
        await budget.lease(25, Deadline.after(10), "dribbles")
    for _ in range(3):
        (await budget.lease(25, Deadline.after(10), "quick")).release()
    for lease in held:
        lease.release()
    (await budget.lease(100, Deadline.after(10), "alone")).release()


async def test_leases_are_kept_for_a_tenant_that_holds_none_too() -> None:
    budget = MemoryBudget(1000, max_wait=0.01, max_leases=4, reserved=0.25)
    for _ in range(3):
        await budget.lease(1, Deadline.after(10), "dribbles")
    with pytest.raises(Overloaded):
        await budget.lease(1, Deadline.after(10), "dribbles")
    await budget.lease(1, Deadline.after(10), "quick")


async def test_a_tenant_at_its_own_bound_holds_nobody_up_and_has_one_chunk_all_the_same() -> None:
    budget = MemoryBudget(100, max_wait=10, most={"capped": 30}.get)
    first = await budget.lease(50, Deadline.after(10), "capped")  # more than it may hold, but it holds nothing else
    second = asyncio.ensure_future(budget.lease(10, Deadline.after(10), "capped"))
    await asyncio.sleep(0)
    (await budget.lease(50, Deadline.after(10), "other")).release()
    assert not second.done()
    first.release()
    (await second).release()
    assert budget.in_use == 0


async def test_the_last_slots_are_for_tenants_that_hold_none() -> None:
    slots = Slots(8, "things", reserved=0.25)
    with contextlib.ExitStack() as held:
        for _ in range(6):
            held.enter_context(slots.hold(lambda: None, "many"))
        with pytest.raises(Overloaded), slots.hold(lambda: None, "many"):
            pass
        for tenant in ("a", "b"):
            held.enter_context(slots.hold(lambda: None, tenant))
        with pytest.raises(Overloaded), slots.hold(lambda: None, "c"):
            pass
    assert slots.held == 0


def test_what_comes_free_goes_to_whoever_was_refused_and_has_less_for_as_long_as_it_may_come_back() -> None:
    async def play() -> None:
        slots = Slots(4, "things")
        held = [contextlib.ExitStack() for _ in range(4)]
        for each in held:
            each.enter_context(slots.hold(lambda: None, "many"))
        with pytest.raises(Overloaded), slots.hold(lambda: None, "one"):
            pass
        held[0].close()
        with pytest.raises(Overloaded), slots.hold(lambda: None, "many"):  # free, but not for this one
            pass
        with slots.hold(lambda: None, "one"):
            pass
        with slots.hold(lambda: None, "many"):  # it has had its turn
            pass
        held[0].enter_context(slots.hold(lambda: None, "many"))
        with pytest.raises(Overloaded), slots.hold(lambda: None, "left"):
            pass
        held[0].close()
        await asyncio.sleep(REMEMBERED_SECONDS + 1)
        with slots.hold(lambda: None, "many"):  # whoever does not come back is forgotten
            pass
        for each in held:
            each.close()

    run(play())


async def test_slots_refuse_beyond_the_limit_and_while_draining() -> None:
    slots = Slots(1, "things")
    told: list[str] = []
    with slots.hold(lambda: told.append("drain")):
        with pytest.raises(Overloaded), slots.hold(lambda: None):
            pass
        slots.drain()
    assert told == ["drain"]
    assert slots.held == 0
    with pytest.raises(Draining), slots.hold(lambda: None):
        pass


def test_hands_take_turns_between_tenants_and_a_waiter_that_leaves_takes_none_along() -> None:
    async def play() -> None:
        hands = Hands(2)
        order: list[str] = []

        async def part(tenant: str) -> None:
            async with hands.one(tenant, 8):
                order.append(tenant)
                await asyncio.sleep(STEP)

        many = [asyncio.ensure_future(part("many")) for _ in range(10)]
        await asyncio.sleep(STEP / 2)
        one = asyncio.ensure_future(part("one"))
        await asyncio.sleep(0)
        for task in many[5:]:
            task.cancel()
        await one
        assert order.index("one") <= 2 + 1
        await asyncio.gather(*many, return_exceptions=True)
        assert order.count("many") == 5
        assert (hands._free, hands._turns.waiting, len(hands._turns._shares)) == (2, 0, 0)

    run(play())


def test_a_hand_granted_and_cancelled_at_the_same_moment_is_not_lost() -> None:
    async def play() -> None:
        hands = Hands(1)
        async with hands.one("a", 1):
            waiting = asyncio.ensure_future(hands.one("b", 1).__aenter__())
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert hands._free == 1

    run(play())
