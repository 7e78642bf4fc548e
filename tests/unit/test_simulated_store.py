"""The simulated store beyond the contract suite: faults, journal, clocks, dialects, and runs that repeat by seed."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from sealane.store.port import (
    ChecksumMismatch,
    InvalidPart,
    NoSuchKey,
    NoSuchUpload,
    ObjectStore,
    OutcomeUnknown,
    Part,
    PreconditionFailed,
    Rejected,
    WriteConflict,
)
from sealane.store.simulated import EPOCH, Call, SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket, md5_etag
from sealane.store.simulated_traits import AWS, SEAWEEDFS

R = TypeVar("R")
T = 5.0


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


class LostAnswer:
    """It happens, and nobody hears of it."""

    async def around(self, op: str, key: str, effect: Callable[[], R]) -> R:
        effect()
        raise OutcomeUnknown("cut after the effect")


class NeverArrived:
    async def around(self, op: str, key: str, effect: Callable[[], R]) -> R:
        raise OutcomeUnknown("cut before the effect")


class LandsLate:
    """The call ends as unknown; its effect waits for :meth:`land`."""

    def __init__(self) -> None:
        self.pending: list[Callable[[], object]] = []

    async def around(self, op: str, key: str, effect: Callable[[], R]) -> R:
        self.pending.append(effect)
        raise OutcomeUnknown("still under way")

    def land(self) -> None:
        for effect in self.pending:
            effect()


class Silence:
    async def around(self, op: str, key: str, effect: Callable[[], R]) -> R:
        never: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        return await never


def test_it_is_an_object_store() -> None:
    """Checked by mypy, too."""
    store: ObjectStore = SimulatedStore()
    assert store.bucket == "simulated"


# --- faults ---


async def test_a_lost_answer_leaves_the_effect() -> None:
    """Protocol.md section 6: one's own success comes back as 412."""
    store = SimulatedStore(faults=LostAnswer())
    with pytest.raises(OutcomeUnknown):
        await store.put("k", b"mine", timeout=T, if_absent=True)
    store.faults = None
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"mine", timeout=T, if_absent=True)
    assert (await store.get("k", timeout=T)).body == b"mine"


async def test_a_request_that_never_arrived_has_no_effect() -> None:
    store = SimulatedStore(faults=NeverArrived())
    with pytest.raises(OutcomeUnknown):
        await store.put("k", b"mine", timeout=T, if_absent=True)
    store.faults = None
    with pytest.raises(NoSuchKey):
        await store.get("k", timeout=T)


async def test_a_write_may_land_after_a_404_was_read() -> None:
    """Protocol.md section 12: delayed landing of a PUT after a 404 was read."""
    late = LandsLate()
    store = SimulatedStore(faults=late)
    with pytest.raises(OutcomeUnknown):
        await store.put("k", b"late", timeout=T, if_absent=True)
    store.faults = None
    with pytest.raises(NoSuchKey):
        await store.get("k", timeout=T)
    late.land()
    assert (await store.get("k", timeout=T)).body == b"late"


async def test_a_part_that_lands_late_carries_what_was_there_when_the_call_ended() -> None:
    late = LandsLate()
    store = SimulatedStore()
    upload_id = await store.create_multipart("k", timeout=T, metadata={})
    store.faults = late
    body = bytearray(b"the chunk")
    with pytest.raises(OutcomeUnknown):
        await store.upload_part("k", upload_id, 1, body, sha256=sha256(b"the chunk"), timeout=T)
    body[:] = b"re-used!!"
    late.land()
    store.faults = None
    page = await store.list_parts("k", upload_id, timeout=T)
    assert [row.etag for row in page.parts] == [md5_etag(b"the chunk")]


async def test_a_caller_that_changes_a_part_while_it_is_sent_is_found_out() -> None:
    """Port: the caller keeps ``body`` unchanged until the call ends."""
    store = SimulatedStore()
    upload_id = await store.create_multipart("k", timeout=T, metadata={})
    body = bytearray(b"the chunk")
    call = asyncio.ensure_future(store.upload_part("k", upload_id, 1, body, sha256=sha256(b"the chunk"), timeout=T))
    await asyncio.sleep(0)
    body[:] = b"re-used!!"
    with pytest.raises(ChecksumMismatch):
        await call


async def test_a_fault_plan_may_answer_any_error_of_the_port() -> None:
    class Conflict:
        async def around(self, op: str, key: str, effect: Callable[[], R]) -> R:
            raise WriteConflict("409")

    with pytest.raises(WriteConflict):
        await SimulatedStore(faults=Conflict()).put("k", b"", timeout=T, if_absent=True)


async def test_no_answer_in_time_is_an_unknown_outcome() -> None:
    """I14."""
    store = SimulatedStore(faults=Silence())
    with pytest.raises(OutcomeUnknown):
        await store.get("k", timeout=0.001)
    store = SimulatedStore(latency=lambda op, key: 60.0)
    with pytest.raises(OutcomeUnknown):
        await store.put("k", b"", timeout=0.001)
    assert store.state.keys() == []


async def test_a_cancelled_call_is_cancelled_not_an_error() -> None:
    store = SimulatedStore(faults=Silence())
    call = asyncio.ensure_future(store.get("k", timeout=T))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_closed_store_says_so() -> None:
    store = SimulatedStore()
    await store.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await store.get("k", timeout=T)


# --- what it tells tests ---


async def test_every_call_is_journalled_and_read_bytes_are_counted() -> None:
    """What "not one byte of data read" is asserted on."""
    store = SimulatedStore()
    await store.put("a/k", b"12345", timeout=T)
    await store.head("a/k", timeout=T)
    await store.list_objects("a/", timeout=T)
    assert store.bytes_read == 0
    await store.get("a/k", timeout=T)
    assert [block async for block in store.read("a/k", timeout=T, block_bytes=2)] == [b"12", b"34", b"5"]
    assert store.bytes_read == 10
    assert store.calls == [
        Call("put", "a/k"),
        Call("head", "a/k"),
        Call("list_objects", "a/"),
        Call("get", "a/k"),
        Call("read", "a/k"),
    ]


async def test_the_state_can_be_looked_at_and_robbed_of_an_upload() -> None:
    store = SimulatedStore()
    upload_id = await store.create_multipart("o/x", timeout=T, metadata={})
    assert store.state.open_uploads("o/") == ["o/x"]
    store.state.lose_upload(upload_id)
    assert store.state.open_uploads() == []
    with pytest.raises(NoSuchUpload):
        await store.list_parts("o/x", upload_id, timeout=T)


async def test_bytes_of_parts_need_not_be_kept() -> None:
    store = SimulatedStore(SimulatedBucket(keep_bytes=False))
    upload_id = await store.create_multipart("k", timeout=T, metadata={})
    etag = await store.upload_part("k", upload_id, 1, b"gone", sha256=sha256(b"gone"), timeout=T)
    await store.complete_multipart("k", upload_id, [Part(1, etag, sha256(b"gone"))], timeout=T)
    assert (await store.head("k", timeout=T)).size == 4
    with pytest.raises(Rejected):
        await store.get("k", timeout=T)
    await store.put("record", b"kept", timeout=T)
    assert (await store.get("record", timeout=T)).body == b"kept"


# --- clocks ---


async def test_a_wrong_local_clock_is_put_right_by_the_first_answer() -> None:
    """I15: a day off, until a Date header has been seen; a lost answer teaches nothing."""
    store = SimulatedStore(clock=lambda: EPOCH, skew=timedelta(days=1))
    assert store.now() == EPOCH + timedelta(days=1)
    store.faults = LostAnswer()
    with pytest.raises(OutcomeUnknown):
        await store.put("k", b"", timeout=T)
    assert store.now() == EPOCH + timedelta(days=1)
    store.faults = None
    with pytest.raises(NoSuchKey):
        await store.head("other", timeout=T)
    assert store.now() == EPOCH


async def test_stamps_are_the_stores_in_whole_seconds_whoever_writes() -> None:
    now = EPOCH + timedelta(seconds=7.9)
    store = SimulatedStore(clock=lambda: now, skew=timedelta(days=-1))
    await store.put("k", b"", timeout=T)
    assert (await store.head("k", timeout=T)).last_modified == EPOCH + timedelta(seconds=7)


async def test_the_default_clock_is_the_loops() -> None:
    loop = asyncio.get_running_loop()
    store = SimulatedStore()
    before = loop.time()
    assert timedelta(seconds=before - 0.001) <= store.now() - EPOCH <= timedelta(seconds=loop.time() + 0.001)


# --- interleavings ---


async def test_calls_at_once_interleave_and_each_takes_effect_at_one_instant() -> None:
    """Both of two tasks are under way before either ends; only one of two conditional PUTs wins."""
    store = SimulatedStore()
    order: list[str] = []

    async def writer(name: str) -> bool:
        order.append(f"{name} begins")
        try:
            await store.put("k", name.encode(), timeout=T, if_absent=True)
        except PreconditionFailed:
            return False
        finally:
            order.append(f"{name} ends")
        return True

    assert sum(await asyncio.gather(writer("a"), writer("b"))) == 1
    assert {*order[:2]} == {"a begins", "b begins"}


def run_of(seed: int) -> list[bytes]:
    """Who won each of twenty races, under seeded delays."""

    async def main() -> list[bytes]:
        rng = random.Random(seed)
        state = SimulatedBucket()

        async def contend(race: int, who: int) -> None:
            store = SimulatedStore(state)
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            try:
                await store.put(f"race/{race}", b"%d" % who, timeout=T, if_absent=True)
            except PreconditionFailed:
                return

        await asyncio.gather(*(contend(race, who) for race in range(20) for who in range(4)))
        reader = SimulatedStore(state)
        return [(await reader.get(f"race/{race}", timeout=T)).body for race in range(20)]

    return asyncio.run(main())


def test_the_same_seed_gives_the_same_run_and_others_differ() -> None:
    assert run_of(1) == run_of(1)
    assert len({tuple(run_of(seed)) for seed in range(5)}) > 1


# --- dialects ---


async def test_stores_sort_folders_differently_and_both_are_simulated() -> None:
    for dialect, order in ((SEAWEEDFS, ["a/b", "a-b"]), (AWS, ["a-b", "a/b"])):
        store = SimulatedStore(SimulatedBucket(dialect=dialect))
        for key in ("a-b", "a/b"):
            await store.put(key, b"", timeout=T)
        assert [row.key for row in (await store.list_objects("", timeout=T)).objects] == order


async def test_as_aws_an_overwritten_part_is_gone_and_parts_are_listed_with_checksums() -> None:
    store = SimulatedStore(SimulatedBucket(dialect=AWS))
    upload_id = await store.create_multipart("k", timeout=T, metadata={})
    old, new = [
        Part(1, await store.upload_part("k", upload_id, 1, body, sha256=sha256(body), timeout=T), sha256(body))
        for body in (b"old", b"new")
    ]
    page = await store.list_parts("k", upload_id, timeout=T)
    assert [(row.etag, row.sha256) for row in page.parts] == [(new.etag, new.sha256)]
    with pytest.raises(InvalidPart):
        await store.complete_multipart("k", upload_id, [old], timeout=T)
    await store.complete_multipart("k", upload_id, [new], timeout=T)
    with pytest.raises(NoSuchUpload):
        await store.abort_multipart("k", upload_id, timeout=T)


async def test_an_object_of_ten_thousand_parts_completes_without_reading_any() -> None:
    """The largest object that S3 can hold, in the smallest parts."""
    store = SimulatedStore()
    upload_id = await store.create_multipart("k", timeout=T, metadata={})
    bodies = [b"%d" % number for number in range(1, 10_001)]
    parts = [
        Part(n, await store.upload_part("k", upload_id, n, body, sha256=sha256(body), timeout=T), sha256(body))
        for n, body in enumerate(bodies, 1)
    ]
    await store.complete_multipart("k", upload_id, parts, timeout=T)
    assert store.bytes_read == 0
    assert b"".join([block async for block in store.read("k", timeout=T)]) == b"".join(bodies)
