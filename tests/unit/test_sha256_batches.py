"""Which chunks are hashed together: none waits while the store has little to do, none for ever, none gets another's."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_service import sha256_batches
from ingest_service.sha256_batches import BUSY, Sha256Batches

LANES = 8


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Hashing:
    """hashlib, with a note of every batch; it stops at a closed gate."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.failure: Exception | None = None

    def together(self, buffers: Sequence[memoryview]) -> list[bytes]:
        self.batches.append([bytes(buffer) for buffer in buffers])
        self.begun.set()
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return [hashlib.sha256(buffer).digest() for buffer in buffers]


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    """No chunk's patience ends in the course of a test, but where a test says so."""
    monkeypatch.setattr(sha256_batches, "LONGEST_WAIT", 3_600.0)
    return Hashing()


@pytest.fixture
async def batches(hashing: Hashing) -> AsyncIterator[Sha256Batches]:
    with ThreadPoolExecutor(2) as pool:
        yield Sha256Batches(hashing.together, pool, lanes=LANES, fewest=1)


def asked(batches: Sha256Batches, data: bytes) -> asyncio.Task[bytes]:
    return asyncio.get_running_loop().create_task(batches.digest(memoryview(data)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_chunk_is_hashed_at_once_while_few_others_are_on_their_way(
    hashing: Hashing, batches: Sha256Batches
) -> None:
    with ExitStack() as on_their_way:
        for _ in range(BUSY - 1):
            on_their_way.enter_context(batches.on_its_way())
        assert await batches.digest(memoryview(b"alone")) == sha256(b"alone")
    assert hashing.batches == [[b"alone"]]


async def test_chunks_wait_until_they_are_as_many_as_those_on_their_way(
    hashing: Hashing, batches: Sha256Batches
) -> None:
    with ExitStack() as on_their_way:
        for _ in range(BUSY):
            on_their_way.enter_context(batches.on_its_way())
        first = [asked(batches, b"chunk %d" % number) for number in range(BUSY - 1)]
        await settle()
        assert hashing.batches == []
        last = asked(batches, b"chunk %d" % (BUSY - 1))
        digests = await asyncio.gather(*first, last)
    assert digests == [sha256(b"chunk %d" % number) for number in range(BUSY)]
    assert len(hashing.batches) == 1


async def test_a_full_batch_goes_whatever_is_on_its_way(hashing: Hashing, batches: Sha256Batches) -> None:
    with ExitStack() as on_their_way:
        for _ in range(3 * LANES):
            on_their_way.enter_context(batches.on_its_way())
        waiting = [asked(batches, b"chunk %d" % number) for number in range(LANES)]
        await asyncio.gather(*waiting)
    assert [len(batch) for batch in hashing.batches] == [LANES]


async def test_a_chunk_goes_when_the_store_has_little_left_to_do(hashing: Hashing, batches: Sha256Batches) -> None:
    on_their_way = [ExitStack() for _ in range(BUSY)]
    for each in on_their_way:
        each.enter_context(batches.on_its_way())
    waiting = asked(batches, b"waits")
    await settle()
    assert hashing.batches == []
    on_their_way.pop().close()
    assert await waiting == sha256(b"waits")
    for each in on_their_way:
        each.close()


async def test_no_chunk_waits_longer_than_its_patience(
    hashing: Hashing, batches: Sha256Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I14: the others may hang at the store for minutes."""
    monkeypatch.setattr(sha256_batches, "LONGEST_WAIT", 0.01)
    with ExitStack() as on_their_way:
        for _ in range(100):
            on_their_way.enter_context(batches.on_its_way())
        assert await batches.digest(memoryview(b"impatient")) == sha256(b"impatient")


async def test_a_chunk_in_a_hurry_goes_at_once_and_takes_along_who_waits(
    hashing: Hashing, batches: Sha256Batches
) -> None:
    with ExitStack() as on_their_way:
        for _ in range(3 * LANES):
            on_their_way.enter_context(batches.on_its_way())
        waiting, other = asked(batches, b"like it"), asked(batches, b"of another length")
        await settle()
        assert await batches.digest(memoryview(b"hurried"), hurry=True) == sha256(b"hurried")
        assert await waiting == sha256(b"like it")
        await settle()
        assert not other.done()
    assert await other == sha256(b"of another length")
    assert [sorted(batch) for batch in hashing.batches] == [[b"hurried", b"like it"], [b"of another length"]]


async def test_what_arrives_while_a_batch_is_hashed_is_the_next_one(hashing: Hashing, batches: Sha256Batches) -> None:
    hashing.gate.clear()
    first = asked(batches, b"first")
    await asyncio.to_thread(hashing.begun.wait, 20)
    others = [asked(batches, b"other %d" % number) for number in range(3)]
    await settle()
    hashing.gate.set()
    assert await first == sha256(b"first")
    assert await asyncio.gather(*others) == [sha256(b"other %d" % number) for number in range(3)]
    assert [len(batch) for batch in hashing.batches] == [1, 3]
    assert batches.batches == 2


async def test_only_chunks_of_one_length_go_together(hashing: Hashing, batches: Sha256Batches) -> None:
    hashing.gate.clear()
    first = asked(batches, b"first")
    await asyncio.to_thread(hashing.begun.wait, 20)
    others = [b"long one", b"end", b"long two"]
    tasks = [asked(batches, data) for data in others]
    await settle()
    hashing.gate.set()
    await first
    assert await asyncio.gather(*tasks) == [sha256(data) for data in others]
    assert hashing.batches[1:] == [[b"long one", b"long two"], [b"end"]]


async def test_too_few_for_the_kernel_go_to_hashlib(hashing: Hashing) -> None:
    with ThreadPoolExecutor(1) as pool:
        batches = Sha256Batches(hashing.together, pool, lanes=LANES, fewest=2)
        assert await batches.digest(memoryview(b"one")) == sha256(b"one")
    assert hashing.batches == []


async def test_a_chunk_that_is_given_up_while_it_waits_is_not_hashed(hashing: Hashing, batches: Sha256Batches) -> None:
    with ExitStack() as on_their_way:
        for _ in range(BUSY + 1):
            on_their_way.enter_context(batches.on_its_way())
        given_up = asked(batches, b"given up")
        waiting = asked(batches, b"waits")
        await settle()
        given_up.cancel()
        await asyncio.wait([given_up])
        assert given_up.cancelled()
    assert await waiting == sha256(b"waits")
    assert hashing.batches == [[b"waits"]]


async def test_a_chunk_that_is_given_up_while_it_is_hashed_ends_after_that_i13(
    hashing: Hashing, batches: Sha256Batches
) -> None:
    """Its buffer is someone else's once it has ended."""
    hashing.gate.clear()
    given_up = asked(batches, b"given up")
    await asyncio.to_thread(hashing.begun.wait, 20)
    given_up.cancel()
    await settle()
    assert not given_up.done()
    hashing.gate.set()
    await asyncio.wait([given_up])
    assert given_up.cancelled()
    assert await batches.digest(memoryview(b"next")) == sha256(b"next")


async def test_a_failure_reaches_every_chunk_of_its_batch_and_no_other(
    hashing: Hashing, batches: Sha256Batches
) -> None:
    hashing.gate.clear()
    hashing.failure = RuntimeError("broken")
    failing = asked(batches, b"first")
    await asyncio.to_thread(hashing.begun.wait, 20)
    hashing.gate.set()
    with pytest.raises(RuntimeError, match="broken"):
        await failing
    hashing.failure = None
    assert await batches.digest(memoryview(b"next")) == sha256(b"next")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_every_chunk_gets_its_own_digest_whoever_comes_and_goes(seed: int, count: int) -> None:
    """Random arrivals, lengths, cancellations and ways to the store: all end, and none with another's digest."""
    rng = random.Random(seed)

    async def run() -> None:
        hashing = Hashing()
        with ThreadPoolExecutor(2) as pool:
            batches = Sha256Batches(hashing.together, pool, lanes=LANES, fewest=1)

            async def chunk(number: int) -> None:
                for _ in range(rng.randrange(10)):
                    await asyncio.sleep(0)
                data = b"%d" % number * rng.choice([1, 20])
                assert await batches.digest(memoryview(data)) == sha256(data)
                with batches.on_its_way():
                    for _ in range(rng.randrange(30)):
                        await asyncio.sleep(0)

            tasks = [asyncio.create_task(chunk(number)) for number in range(count)]
            for task in rng.sample(tasks, count // 4):
                for _ in range(rng.randrange(10)):
                    await asyncio.sleep(0)
                task.cancel()
            async with asyncio.timeout(20):
                results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
            assert not batches._waiting
            assert batches._on_their_way == 0

    asyncio.run(run())


async def test_an_executor_that_takes_nothing_more_fails_each_chunk_at_once(hashing: Hashing) -> None:
    pool = ThreadPoolExecutor(1)
    batches = Sha256Batches(hashing.together, pool, lanes=LANES, fewest=1)
    pool.shutdown()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(batches.digest(memoryview(b"x")), 20)
