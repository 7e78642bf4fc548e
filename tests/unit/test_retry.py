"""The retry layer on a loop with virtual time: what is repeated, when, and that it ends (I14)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from sealane.store.backoff import RetryBudget, RetryPolicy, retrying
from sealane.store.deadline import Deadline
from sealane.store.port import (
    AccessDenied,
    ChecksumMismatch,
    ClockSkewed,
    InvalidPart,
    ListedObject,
    NoSuchKey,
    NoSuchUpload,
    ObjectPage,
    ObjectStore,
    OutcomeUnknown,
    Part,
    PreconditionFailed,
    Rejected,
    StoreError,
    Throttled,
    WriteConflict,
)
from sealane.store.retry import RetryingStore

T = TypeVar("T")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def now() -> float:
    return asyncio.get_running_loop().time()


class Script:
    """A call that answers what it is told to, and notes when it was asked and with which timeout."""

    def __init__(self, *outcomes: object, forever: object = None, seconds: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.forever = forever
        self.seconds = seconds
        self.asked: list[tuple[float, float]] = []

    async def __call__(self, timeout: float) -> object:
        self.asked.append((now(), timeout))
        await asyncio.sleep(min(self.seconds, timeout))
        outcome = self.outcomes.pop(0) if self.outcomes else self.forever
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def attempt(script: Script, *, seconds: float = 60.0, seed: int = 1, **options: Any) -> object:
    options.setdefault("policy", RetryPolicy())
    return await retrying(script, deadline=Deadline.after(seconds), rng=random.Random(seed), **options)


# --- the deadline ---


def test_a_deadline_counts_down_to_zero_and_stays_there() -> None:
    async def main() -> None:
        deadline = Deadline.after(10)
        assert deadline.remaining() == 10
        assert deadline.cap(3) == 3
        await asyncio.sleep(8)
        assert deadline.cap(3) == pytest.approx(2)
        assert not deadline.expired
        await asyncio.sleep(5)
        assert deadline.remaining() == 0
        assert deadline.cap(3) == 0
        assert deadline.expired

    run(main())


def test_a_step_never_has_longer_than_the_whole() -> None:
    async def main() -> None:
        deadline = Deadline.after(10)
        assert deadline.child(4).remaining() == 4
        assert deadline.child(40) == deadline

    run(main())


# --- pauses ---


@given(failures=st.integers(1, 5000), seed=st.integers())
def test_pauses_are_full_jitter_below_a_ceiling_that_doubles_up_to_the_cap(failures: int, seed: int) -> None:
    policy = RetryPolicy(base_seconds=0.1, cap_seconds=5.0)
    pause = policy.pause(failures, OutcomeUnknown(), random.Random(seed))
    assert 0 <= pause <= min(5.0, 0.1 * 2 ** min(failures - 1, 40))


@given(failures=st.integers(1, 5000), seed=st.integers())
def test_a_throttled_pause_is_never_a_short_one(failures: int, seed: int) -> None:
    policy = RetryPolicy(throttled_base_seconds=1.0, throttled_cap_seconds=20.0)
    ceiling = min(20.0, 1.0 * 2 ** min(failures - 1, 40))
    assert ceiling / 2 <= policy.pause(failures, Throttled(), random.Random(seed)) <= ceiling


def test_the_same_seed_gives_the_same_run() -> None:
    async def main() -> list[tuple[float, float]]:
        script = Script(*[OutcomeUnknown()] * 8, "done")
        await attempt(script, seed=7)
        return script.asked

    assert run(main()) == run(main())


# --- the loop ---


def test_an_unknown_outcome_is_tried_again_until_it_is_known() -> None:
    async def main() -> None:
        script = Script(OutcomeUnknown(), Throttled(), WriteConflict(), "etag")
        assert await attempt(script) == "etag"
        assert len(script.asked) == 4

    run(main())


@pytest.mark.parametrize(
    "error", [NoSuchKey, NoSuchUpload, PreconditionFailed, InvalidPart, ChecksumMismatch, AccessDenied, Rejected]
)
def test_a_definite_answer_is_not_asked_for_twice(error: type[StoreError]) -> None:
    async def main() -> None:
        script = Script(error("no"), "never")
        with pytest.raises(error):
            await attempt(script)
        assert len(script.asked) == 1

    run(main())


@given(st.integers(0, 200), st.floats(0.0, 40.0), st.floats(0.1, 100.0))
def test_i14_retries_end_by_the_deadline_with_the_last_error(seed: int, slowness: float, seconds: float) -> None:
    """Whatever the store does, the call is over by the deadline and no timeout reaches behind it."""

    async def main() -> None:
        last = OutcomeUnknown("last")
        script = Script(forever=last, seconds=slowness)
        begin = now()
        with pytest.raises(OutcomeUnknown) as raised:
            await attempt(script, seconds=seconds, seed=seed)
        assert raised.value is last
        assert now() <= begin + seconds + 1e-6
        assert all(at + timeout <= begin + seconds + 1e-6 for at, timeout in script.asked)

    run(main())


def test_one_try_gets_the_policys_time_and_the_last_what_is_left() -> None:
    async def main() -> None:
        script = Script(forever=OutcomeUnknown(), seconds=1e9)
        with pytest.raises(OutcomeUnknown):
            await attempt(script, seconds=70, policy=RetryPolicy(attempt_seconds=30.0, base_seconds=1e-9))
        assert [round(timeout) for _, timeout in script.asked] == [30, 30, 10]

    run(main())


def test_nothing_is_sent_behind_the_deadline() -> None:
    async def main() -> None:
        script = Script("never")
        with pytest.raises(OutcomeUnknown):
            await attempt(script, seconds=0)
        assert script.asked == []

    run(main())


def test_tries_are_counted() -> None:
    async def main() -> None:
        script = Script(forever=OutcomeUnknown())
        with pytest.raises(OutcomeUnknown):
            await attempt(script, seconds=1e6, policy=RetryPolicy(max_attempts=5))
        assert len(script.asked) == 5

    run(main())


def test_a_skewed_clock_is_repeated_once_and_at_once() -> None:
    """Section 6: RequestTimeTooSkewed - learn the store's time from Date, repeat once - for every call."""

    async def main() -> None:
        script = Script(ClockSkewed(), "done")
        begin = now()
        assert await attempt(script, retry_on=()) == "done"
        assert [at for at, _ in script.asked] == [begin, begin]
        again = Script(ClockSkewed(), OutcomeUnknown(), ClockSkewed("still"), "never")
        with pytest.raises(ClockSkewed, match="still"):
            await attempt(again)
        assert len(again.asked) == 3

    run(main())


def test_a_cancellation_is_passed_on_from_the_call_and_from_the_pause() -> None:
    async def main() -> None:
        for script in (Script(forever="x", seconds=50), Script(forever=Throttled())):
            task = asyncio.create_task(attempt(script, seconds=1000))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(script.asked) == 1

    run(main())


# --- the budget ---


def test_i14_all_calls_together_stay_within_the_retry_budget() -> None:
    """A thousand calls against a dead store: no more retries than burst + rate x time, however short their pauses."""

    async def main() -> None:
        budget = RetryBudget(per_second=20, burst=10)
        scripts = [Script(forever=OutcomeUnknown()) for _ in range(1000)]
        policy = RetryPolicy(base_seconds=1e-6, cap_seconds=1e-6)
        begin = now()
        await asyncio.gather(
            *(attempt(script, seconds=5, policy=policy, budget=budget, seed=i) for i, script in enumerate(scripts)),
            return_exceptions=True,
        )
        retries = sorted(at - begin for script in scripts for at, _ in script.asked[1:])
        assert len(retries) >= 10 + 20 * 4  # the budget is there to be used
        for n, at in enumerate(retries, 1):
            assert n <= 10 + 20 * at + 1.001

    run(main())


def test_a_budget_that_could_never_give_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        RetryBudget(per_second=0)


# --- which call may be repeated ---


class ScriptedStore:
    """Every call of the port from one script."""

    bucket = "bucket"

    def __init__(self, *outcomes: object) -> None:
        self.script = Script(*outcomes)
        self.calls: list[tuple[str, dict[str, object]]] = []

    def now(self) -> datetime:
        return LONG_AGO

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*_: object, timeout: float, **named: object) -> object:
            self.calls.append((name, named))
            return await self.script(timeout)

        return call

    async def read(self, key: str, *, timeout: float, block_bytes: int) -> AsyncIterator[bytes]:
        self.calls.append(("read", {}))
        while (block := await self.script(timeout)) is not None:
            yield cast(bytes, block)


async def collect(blocks: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for block in blocks:
        into.append(block)


def over(store: ScriptedStore) -> RetryingStore:
    return RetryingStore(cast(ObjectStore, store), rng=random.Random(1))


CALLS: dict[str, Callable[[RetryingStore, Deadline], Awaitable[object]]] = {
    "get": lambda s, d: s.get("k", d),
    "head": lambda s, d: s.head("k", d),
    "delete": lambda s, d: s.delete("k", d),
    "list_objects": lambda s, d: s.list_objects("p", d),
    "list_parts": lambda s, d: s.list_parts("k", "u", d),
    "list_uploads": lambda s, d: s.list_uploads("p", d),
    "put": lambda s, d: s.put("k", b"", d),
    "upload_part": lambda s, d: s.upload_part("k", "u", 1, b"", d, sha256=b""),
    "abort_multipart": lambda s, d: s.abort_multipart("k", "u", d),
    "put_if_absent": lambda s, d: s.put_if_absent("k", b"", d),
    "create_multipart": lambda s, d: s.create_multipart("k", d, metadata={}),
    "complete_multipart": lambda s, d: s.complete_multipart("k", "u", [Part(1, "e", b"")], d),
}
ONCE = {"put_if_absent", "create_multipart", "complete_multipart"}


@pytest.mark.parametrize("error", [OutcomeUnknown, Throttled])
@pytest.mark.parametrize("name", CALLS)
def test_only_what_is_harmless_twice_is_sent_again_after_an_unknown_outcome(name: str, error: type[StoreError]) -> None:
    """Section 6: a hidden repeat of a conditional write would turn one's own success into a 412."""

    async def main() -> None:
        store = ScriptedStore(error(), error(), "answer")
        call = CALLS[name](over(store), Deadline.after(60))
        if name in ONCE:
            with pytest.raises(error):
                await call
            assert len(store.calls) == 1
        else:
            assert await call in ("answer", None)
            assert len(store.calls) == 3

    run(main())


def test_a_conditional_put_waits_out_a_conflict_and_is_still_conditional() -> None:
    """Section 6, PUT decision: 409 - back off, same PUT again."""

    async def main() -> None:
        store = ScriptedStore(WriteConflict(), WriteConflict(), "etag")
        assert await over(store).put_if_absent("k", b"{}", Deadline.after(60)) == "etag"
        assert [named["if_absent"] for _, named in store.calls] == [True, True, True]

    run(main())


@pytest.mark.parametrize("name", CALLS)
def test_every_call_repeats_a_skewed_clock_once(name: str) -> None:
    async def main() -> None:
        store = ScriptedStore(ClockSkewed(), "answer")
        await CALLS[name](over(store), Deadline.after(60))
        assert len(store.calls) == 2
        store = ScriptedStore(ClockSkewed(), ClockSkewed(), "never")
        with pytest.raises(ClockSkewed):
            await CALLS[name](over(store), Deadline.after(60))

    run(main())


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_move_or_join_many_bytes_get_more_time_for_a_try(name: str) -> None:
    async def main() -> None:
        store = ScriptedStore("answer")
        await CALLS[name](over(store), Deadline.after(1000))
        assert store.script.asked[0][1] == (120 if name in {"upload_part", "complete_multipart"} else 30)

    run(main())


def test_a_listing_goes_on_from_page_to_page_through_faults() -> None:
    async def main() -> None:
        rows = [ListedObject(f"k{i}", 0, LONG_AGO) for i in range(3)]
        store = ScriptedStore(
            ObjectPage(rows[:2], "c1"), OutcomeUnknown(), ObjectPage([], "c2"), Throttled(), ObjectPage(rows[2:], None)
        )
        assert [row async for row in over(store).list_all("k", Deadline.after(60))] == rows
        assert [named["cursor"] for _, named in store.calls] == [None, "c1", "c1", "c2", "c2"]

    run(main())


def test_a_read_begins_again_but_never_in_the_middle() -> None:
    async def main() -> None:
        store = ScriptedStore(OutcomeUnknown(), b"one", b"two", None)
        assert [block async for block in over(store).read("k", Deadline.after(60))] == [b"one", b"two"]
        store = ScriptedStore(b"one", OutcomeUnknown("cut"), b"one")
        got: list[bytes] = []
        with pytest.raises(OutcomeUnknown, match="cut"):
            await collect(over(store).read("k", Deadline.after(60)), got)
        assert got == [b"one"]

    run(main())


def test_a_read_ends_by_its_deadline_however_steadily_the_blocks_come() -> None:
    """I14."""

    async def main() -> None:
        store = ScriptedStore()
        store.script = Script(forever=b"block", seconds=1.0)
        blocks: list[bytes] = []
        with pytest.raises(OutcomeUnknown, match="deadline"):
            await collect(over(store).read("k", Deadline.after(10)), blocks)
        assert len(blocks) == 10

    run(main())


def test_the_time_is_the_stores() -> None:
    """I15."""
    assert over(ScriptedStore()).now() == LONG_AGO
