"""How an object is cut into chunks, and what lies outside the plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain.errors import ChunkOutOfRange, InvalidRequest, InvalidSize
from sealane.domain.limits import ChunkPlan, Limits, MiB

LIMITS = Limits()
sizes = st.one_of(st.integers(0, 200 * MiB), st.integers(0, LIMITS.max_object_bytes))


@given(sizes)
def test_the_servers_plan_covers_every_byte_once_in_at_most_10000_chunks(size: int) -> None:
    plan = LIMITS.plan(size)
    assert plan.count is not None
    assert plan.count <= 10_000
    assert plan.chunk_size & (plan.chunk_size - 1) == 0
    assert LIMITS.min_chunk_bytes <= plan.chunk_size <= LIMITS.max_chunk_bytes
    assert (plan.count - 1) * plan.chunk_size < size or plan.count == size == 0
    assert plan.count * plan.chunk_size >= size
    if plan.count:
        last = plan.count - 1
        assert last * plan.chunk_size + plan.max_length(last) == size


@given(sizes)
def test_the_servers_plan_is_the_smallest_chunk_size_that_fits(size: int) -> None:
    plan = LIMITS.plan(size)
    half = plan.chunk_size // 2
    assert half < LIMITS.default_chunk_bytes or -(-size // half) > LIMITS.max_chunks


def test_an_object_of_unknown_size_gets_chunks_of_64_mib() -> None:
    assert LIMITS.plan(None) == ChunkPlan(64 * MiB, None, 10_000)


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [(-1, 0), (LIMITS.max_object_bytes + 1, 0), (2**63 - 1, 0), (1, 3 * MiB), (1, 4 * MiB), (1, 128 * MiB), (1, -8),
     (100_000 * MiB, 8 * MiB), (1, 8 * MiB + 1)],
)  # fmt: skip
def test_sizes_that_overflow_or_do_not_fit_are_refused(size: int, chunk_size: int) -> None:
    with pytest.raises(InvalidSize):
        LIMITS.plan(size, chunk_size)


@pytest.mark.parametrize("index", [-1, -(2**63), 3, 9_999, 10_000, 2**63 - 1])
def test_an_index_outside_the_plan_is_out_of_range_with_its_bounds(index: int) -> None:
    plan = LIMITS.plan(20 * MiB)
    with pytest.raises(ChunkOutOfRange) as caught:
        plan.check_index(index)
    assert (caught.value.minimum, caught.value.maximum, caught.value.value) == (0, 2, index)


@pytest.mark.parametrize("index", [-1, 10_000, 2**63 - 1])
def test_an_unknown_size_still_has_at_most_10000_chunks(index: int) -> None:
    with pytest.raises(ChunkOutOfRange):
        LIMITS.plan(None).check_index(index)


@pytest.mark.parametrize(
    ("index", "length"), [(0, 8 * MiB - 1), (0, 8 * MiB + 1), (2, 4 * MiB - 1), (2, 8 * MiB), (1, 0)]
)
def test_a_length_that_the_plan_does_not_say_is_out_of_range(index: int, length: int) -> None:
    with pytest.raises(ChunkOutOfRange):
        LIMITS.plan(20 * MiB).check_length(index, length)


def test_a_chunk_is_never_empty_even_while_the_size_is_unknown() -> None:
    with pytest.raises(ChunkOutOfRange):
        LIMITS.plan(None).check_length(0, 0)
    assert LIMITS.plan(None).check_length(5, 1) == 1


@pytest.mark.parametrize("bad", [0, 1000, 512, 3 * MiB])
def test_limits_with_a_chunk_size_that_is_no_subtree_of_blake3_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Limits(min_chunk_bytes=bad)


@pytest.mark.parametrize("seconds", [59.9, 0, -1, 30 * 86_400 + 1])
def test_a_ttl_outside_the_limits_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidRequest):
        LIMITS.ttl(seconds)


def test_no_ttl_is_24_hours() -> None:
    assert LIMITS.ttl(None) == 86_400
