"""`max_bytes_per_second`: never more than that, over all streams together, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run

from sealane.client import StreamOptions
from sealane.client.rate_limit import BURST_SECONDS, RateLimit
from sealane.client.streams import MIN_RATE, SLOWEST_BYTES_PER_SECOND

MiB = 1 << 20

_streams = st.lists(
    st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 3)), min_size=1, max_size=20), min_size=1, max_size=6
)
"""For each stream: the bytes of its frames, and how long it is busy with something else before each."""


async def _passed(rate: float, streams: list[list[tuple[int, float]]]) -> list[tuple[float, int]]:
    limit, passed = RateLimit(rate), list[tuple[float, int]]()
    loop = asyncio.get_running_loop()

    async def send(frames: list[tuple[int, float]]) -> None:
        for count, busy in frames:
            await asyncio.sleep(busy)
            await limit.take(count)
            passed.append((loop.time(), count))

    await asyncio.gather(*(send(frames) for frames in streams))
    return passed


@settings(deadline=None)
@given(st.floats(100, 10_000), _streams)
def test_no_window_of_time_sees_more_than_the_rate_a_burst_and_one_frame(
    rate: float, streams: list[list[tuple[int, float]]]
) -> None:
    passed = run(_passed(rate, streams))
    assert sum(count for _, count in passed) == sum(count for frames in streams for count, _ in frames)
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, count in passed[first:]:
            assert total <= rate * (end - begin + BURST_SECONDS) * 1.000001, "before this frame, which may be any size"
            total += count


def test_busy_streams_share_the_rate_evenly_and_use_all_of_it() -> None:
    async def main() -> None:
        loop, sent = asyncio.get_running_loop(), [0, 0, 0, 0]
        limit, begin = RateLimit(1000.0), asyncio.get_running_loop().time()

        async def stream(which: int) -> None:
            while loop.time() < begin + 100:
                await limit.take(50)
                sent[which] += 50

        await asyncio.gather(*map(stream, range(4)))
        assert sum(sent) == pytest.approx(100_000, rel=0.01)
        assert max(sent) - min(sent) <= 50

    run(main())


def test_an_idle_hour_gives_no_flood() -> None:
    async def main() -> None:
        loop, limit = asyncio.get_running_loop(), RateLimit(1000.0)
        await limit.take(1)
        await asyncio.sleep(3600)
        begin = loop.time()
        for _ in range(100):
            await limit.take(100)
        assert loop.time() - begin >= 9.9 - BURST_SECONDS

    run(main())


def test_who_is_cancelled_while_it_waits_delays_the_others_by_its_own_turn_at_most() -> None:
    async def main() -> None:
        loop, limit = asyncio.get_running_loop(), RateLimit(1000.0)
        begin = loop.time()
        await limit.take(1000)
        given_up = asyncio.create_task(limit.take(1000))
        waiting = asyncio.create_task(limit.take(1000))
        await asyncio.sleep(0.5)
        given_up.cancel()
        await waiting
        assert loop.time() - begin == pytest.approx(2.0)

    run(main())


@given(
    st.floats(MIN_RATE, 1 << 31),
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from([8 * MiB, 64 * MiB, 512 * MiB]),
)
def test_every_stream_stays_above_the_rate_at_which_a_server_gives_it_up(
    rate: float, parallel: int, chunks_per_stream: int, chunk_size: int
) -> None:
    """And says something every second, and gets what it takes upon it over in its time."""
    fitted = StreamOptions(parallel, chunks_per_stream, max_bytes_per_second=rate).fitted(chunk_size)
    each = rate / fitted.parallel
    assert 1 <= fitted.parallel <= parallel
    assert 1 <= fitted.chunks_per_stream <= chunks_per_stream
    assert each >= MIN_RATE > SLOWEST_BYTES_PER_SECOND
    assert 0 < fitted.frame_bytes <= min(MiB, each)
    assert fitted.chunks_per_stream * chunk_size / each <= fitted.seconds(chunk_size)


def test_without_a_limit_the_options_stay_as_they_are_and_one_too_low_is_refused() -> None:
    assert StreamOptions().fitted(8 * MiB) == StreamOptions()
    with pytest.raises(ValueError, match="at least 32768"):
        StreamOptions(max_bytes_per_second=MIN_RATE - 1)
    with pytest.raises(ValueError, match="more than 0"):
        RateLimit(0)
