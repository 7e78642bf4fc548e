"""The memory budget keeps its size under any load (I13), serves in the order of asking, and never wedges."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_service.admission import Lease, MemoryBudget
from sealane.domain.errors import DeadlineExceeded, Overloaded
from sealane.store.deadline import Deadline


def _held(lease: Lease) -> int:
    """Bytes that its buffer really has."""
    return 0 if lease._buffer is None else len(lease._buffer)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from([64, 128, 256, 300]), st.integers(0, 300)), min_size=1, max_size=40),
)
def test_bytes_held_never_exceed_the_budget_under_any_load_i13(seed: int, wants: list[tuple[int, int]]) -> None:
    """Every buffer that exists, kept ones too, is counted by hand; cancelled waiters and short chunks included, and
    three tenants, one of which may hold 300 bytes."""
    rng = random.Random(seed)

    async def run() -> None:
        budget = MemoryBudget(600, max_wait=5, reserved=0.25, most={"capped": 300}.get)
        opened: dict[int, int] = {}

        def check() -> None:
            kept = sum(len(b) for buffers in budget._kept.values() for b in buffers)
            assert sum(opened.values()) + kept <= budget.size
            assert budget.in_use <= budget.size
            assert budget.in_use == sum(budget._turns.held(tenant) for tenant in budget._turns._shares)
            assert budget._turns.held("capped") <= 300

        async def stream(number: int, leased: int, used: int) -> None:
            tenant = ("capped", "large", "small")[number % 3]
            lease = await budget.lease(leased, Deadline.after(5), tenant)
            try:
                lease.open(min(leased, max(1, used)))
                opened[number] = _held(lease)
                check()
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                lease.shrink(_held(lease) // 3)
                opened[number] = _held(lease)
                check()
                await asyncio.sleep(0)
            finally:
                opened.pop(number, None)
                lease.release()
                check()

        tasks = [asyncio.ensure_future(stream(i, *want)) for i, want in enumerate(wants)]
        for task in tasks:
            await asyncio.sleep(0)
            if rng.random() < 0.2:
                task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled() or task.exception() is None
        assert budget.in_use == 0
        assert budget.waiting == 0
        assert not budget._turns._shares

    asyncio.run(run())


async def test_leases_are_granted_in_the_order_of_asking_so_that_a_large_one_is_not_starved() -> None:
    budget = MemoryBudget(100, max_wait=10)
    first = await budget.lease(60, Deadline.after(10))
    order: list[str] = []

    async def ask(name: str, length: int) -> Lease:
        lease = await budget.lease(length, Deadline.after(10))
        order.append(name)
        return lease

    large = asyncio.ensure_future(ask("large", 100))
    await _settle()
    small = asyncio.ensure_future(ask("small", 10))  # would fit beside the first one
    await _settle()
    assert order == []
    first.release()
    (await large).release()
    (await small).release()
    assert order == ["large", "small"]


async def test_a_waiter_that_is_cancelled_lets_the_next_one_in() -> None:
    budget = MemoryBudget(100, max_wait=10)
    held = await budget.lease(50, Deadline.after(10))
    large = asyncio.ensure_future(budget.lease(100, Deadline.after(10)))
    await _settle()
    small = asyncio.ensure_future(budget.lease(50, Deadline.after(10)))
    await _settle()
    large.cancel()
    (await small).release()
    held.release()
    assert budget.in_use == 0


async def test_a_lease_granted_and_cancelled_at_the_same_moment_is_not_lost() -> None:
    budget = MemoryBudget(100, max_wait=10)
    held = await budget.lease(100, Deadline.after(10))
    waiting = asyncio.ensure_future(budget.lease(100, Deadline.after(10)))
    await _settle()
    held.release()  # grants, and before the waiter runs …
    waiting.cancel()
    await asyncio.wait([waiting])
    if not waiting.cancelled():
        waiting.result().release()
    assert budget.in_use == 0


async def test_waiting_in_vain_is_overloaded_with_a_time_to_come_back() -> None:
    budget = MemoryBudget(100, max_wait=0.01)
    held = await budget.lease(100, Deadline.after(10))
    with pytest.raises(Overloaded) as error:
        await budget.lease(1, Deadline.after(10))
    assert error.value.retry_after > 0
    held.release()
    assert budget.waiting == 0


async def test_waiting_past_the_calls_own_deadline_is_deadline_exceeded() -> None:
    budget = MemoryBudget(100, max_wait=10)
    held = await budget.lease(100, Deadline.after(10))
    with pytest.raises(DeadlineExceeded):
        await budget.lease(1, Deadline.after(0.01))
    held.release()


async def test_more_than_the_whole_budget_is_refused_at_once() -> None:
    with pytest.raises(Overloaded):
        await MemoryBudget(100, max_wait=10).lease(101, Deadline.after(10))


async def test_a_buffer_is_used_again_and_releasing_twice_gives_back_once() -> None:
    budget = MemoryBudget(256, max_wait=10)
    lease = await budget.lease(128, Deadline.after(10))
    lease.open(128)
    buffer = lease._buffer
    lease.release()
    lease.release()
    again = await budget.lease(128, Deadline.after(10))
    again.open(128)
    assert again._buffer is buffer
    again.release()
    assert budget.in_use == 0


async def test_kept_buffers_make_room_for_others() -> None:
    budget = MemoryBudget(256, max_wait=10)
    leases = [await budget.lease(128, Deadline.after(10)) for _ in range(2)]
    for lease in leases:
        lease.open(128)
        lease.release()
    whole = await budget.lease(256, Deadline.after(10))
    whole.open(256)
    with whole.view() as view:
        assert len(view) == 256
    assert budget.peak <= 256
    whole.release()


async def test_a_short_chunk_gives_back_what_it_does_not_need() -> None:
    budget = MemoryBudget(1024, max_wait=10)
    lease = await budget.lease(1024, Deadline.after(10))
    lease.open(1024)
    with lease.view() as view:
        view[:3] = b"abc"
    lease.shrink(3)
    with lease.view() as view:
        assert bytes(view) == b"abc"
    assert budget.in_use == 3
    lease.release()
    assert budget.in_use == 0


async def test_a_buffer_that_somebody_still_looks_at_keeps_its_size_and_its_share_i13() -> None:
    budget = MemoryBudget(1024, max_wait=10)
    lease = await budget.lease(1024, Deadline.after(10))
    lease.open(1024)
    with lease.view():
        lease.shrink(3)
        assert budget.in_use == 1024
    lease.release()
    assert budget.in_use == 0


async def test_who_has_released_a_lease_gets_no_view_of_its_bytes_any_more() -> None:
    lease = await MemoryBudget(64, max_wait=10).lease(64, Deadline.after(10))
    lease.open(64)
    lease.release()
    with pytest.raises(RuntimeError):
        lease.view()


@pytest.mark.parametrize("end", [asyncio.CancelledError, Overloaded])
async def test_a_waiter_that_goes_in_the_step_in_which_memory_comes_free_loses_nothing_and_fails_as_itself(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(100, max_wait=3600)
    held = await budget.lease(100, Deadline.after(9000))
    waiting = asyncio.ensure_future(budget.lease(50, Deadline.after(9000)))
    await _settle()
    if end is asyncio.CancelledError:
        waiting.cancel()
        held.release()
    else:  # both timers are due in one step, the waiter's first
        loop = asyncio.get_running_loop()
        clock, now = loop.time, loop.time()
        loop.call_at(now + 3601, held.release)
        monkeypatch.setattr(loop, "time", lambda: clock() + 3700)
    with pytest.raises(end):
        await waiting
    assert (budget.in_use, budget.waiting, budget.leases) == (0, 0, 0)
    (await budget.lease(100, Deadline.after(10))).release()


async def test_leases_are_bounded_by_number_too_so_that_tiny_chunks_of_clients_that_left_pile_up_nowhere() -> None:
    budget = MemoryBudget(1000, max_wait=0.01, max_leases=2)
    first, second = [await budget.lease(1, Deadline.after(10)) for _ in range(2)]
    with pytest.raises(Overloaded):
        await budget.lease(1, Deadline.after(10))
    waiting = asyncio.ensure_future(budget.lease(1, Deadline.after(10)))
    first.open(1)
    first.release()
    third = await waiting
    assert budget.leases == 2
    second.release()
    third.release()
    assert (budget.leases, budget.in_use) == (0, 0)
