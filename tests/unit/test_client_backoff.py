"""Pauses between tries: jittered, bounded, reset by progress, never shorter than the server asked, never for ever."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.client.backoff import Backoff, BackoffPolicy
from sealane.client.errors import (
    ChunkCorrupt,
    DeadlineExceeded,
    DigestMismatch,
    GaveUp,
    InternalError,
    Overloaded,
    PeerUnavailable,
    QuotaExceeded,
    is_transient,
)

NOW = PeerUnavailable(retry_after=0.0)
_policies = st.builds(
    lambda base, factor, patience: BackoffPolicy(base, base * factor, patience),
    st.floats(0.001, 5),
    st.floats(1, 100),
    st.floats(0, 1000),
)


@given(_policies, st.integers(1, 500), st.floats(0, 100), st.integers())
def test_a_pause_is_what_the_server_asked_for_and_a_jitter_below_the_ceiling(
    policy: BackoffPolicy, failures: int, wish: float, seed: int
) -> None:
    pause = policy.pause(failures, Overloaded(retry_after=wish), random.Random(seed))
    assert wish <= pause <= wish + policy.ceiling(failures)
    assert policy.ceiling(failures) <= policy.cap_seconds


@given(_policies, st.integers(1, 100))
def test_ceilings_double_until_the_cap(policy: BackoffPolicy, failures: int) -> None:
    now, later = policy.ceiling(failures), policy.ceiling(failures + 1)
    assert later == pytest.approx(min(policy.cap_seconds, 2 * now))


def test_jitter_is_full_so_that_clients_which_failed_together_do_not_come_back_together() -> None:
    policy = BackoffPolicy(1.0, 1.0)
    pauses = [policy.pause(1, NOW, random.Random(seed)) for seed in range(400)]
    for tenth in range(10):
        assert sum(tenth / 10 <= pause < (tenth + 1) / 10 for pause in pauses) > 10


@settings(deadline=None)  # files and loops take their time
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_progress_makes_the_next_failure_a_first_one(seed: int, failures: int) -> None:
    async def run() -> None:
        backoff = Backoff(BackoffPolicy(0.1, 1000.0, patience_seconds=1e9), random.Random(seed))
        for _ in range(failures):
            backoff.next_pause(NOW)
        assert backoff.failures == failures
        backoff.progress()
        assert backoff.next_pause(NOW) <= 0.1

    asyncio.run(run())


@settings(deadline=None)  # files and loops take their time
@given(st.integers(0, 2**32), st.floats(0, 100))
def test_all_pauses_together_never_outlast_the_patience(seed: int, patience: float) -> None:
    """I14, the client's side."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time()
        loop.time = lambda: clock  # type: ignore[method-assign]  # nobody else uses this loop
        backoff = Backoff(BackoffPolicy(0.1, 10.0, patience), random.Random(seed))
        began = clock
        with pytest.raises(GaveUp) as gave_up:  # noqa: PT012 - until it gives up
            while True:
                clock += backoff.next_pause(NOW)
                assert clock - began <= patience + 1e-6
        assert gave_up.value.last is NOW
        assert gave_up.value.__cause__ is NOW
        assert not is_transient(gave_up.value)

    asyncio.run(run())


def test_patience_begins_anew_with_each_progress() -> None:
    """An upload of a day may fail every hour, as long as something goes through in between."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time()
        loop.time = lambda: clock  # type: ignore[method-assign]  # nobody else uses this loop
        backoff = Backoff(BackoffPolicy(0.1, 10.0, patience_seconds=60.0), random.Random(1))
        for _ in range(24):
            for _ in range(3):
                clock += backoff.next_pause(NOW)
            backoff.progress()
            clock += 3600.0

    asyncio.run(run())


def test_what_is_worth_another_try() -> None:
    assert is_transient(NOW)
    assert is_transient(Overloaded())
    assert is_transient(DeadlineExceeded())
    assert not is_transient(QuotaExceeded())
    assert not is_transient(InternalError())
    assert not is_transient(DigestMismatch())
    assert not is_transient(ChunkCorrupt("again"))  # of the chunk, not of the request


@pytest.mark.parametrize("values", [(0, 1, 1), (2, 1, 1), (1, 2, -1)])
def test_a_policy_that_makes_no_sense_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        BackoffPolicy(*values)
