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


@pytest.mark.parametrize(
    ("size", "chunk_size", "field", "says"),
    [
        (-1, 0, "size", "size is -1; it must be from 0 to 671088640000."),
        (1, 3 * MiB, "chunk_size", "chunk_size must be a power of two from 8388608 to 67108864."),
        (
            100_000 * MiB,
            8 * MiB,
            "chunk_size",
            (
                "104857600000 bytes in chunks of 8388608 make 12500 chunks; at most 10000. "
                "Leave chunk_size out and the server picks one that fits."
            ),
        ),
    ],
)
def test_a_refused_plan_names_its_field_and_what_would_do(size: int, chunk_size: int, field: str, says: str) -> None:
    with pytest.raises(InvalidSize) as caught:
        LIMITS.plan(size, chunk_size)
    assert (caught.value.field, str(caught.value)) == (field, says)


def test_a_refused_ttl_names_its_field_and_its_bounds_and_the_bounds_themselves_will_do() -> None:
    with pytest.raises(InvalidRequest) as caught:
        LIMITS.ttl(59)
    assert (caught.value.field, str(caught.value)) == ("ttl", "ttl must be from 60 to 2592000 seconds.")
    assert (LIMITS.ttl(60), LIMITS.ttl(60.9), LIMITS.ttl(30 * 86_400)) == (60, 60, 30 * 86_400)


def test_what_is_outside_of_the_plan_is_said_with_index_field_value_and_bounds() -> None:
    plan = LIMITS.plan(20 * MiB)
    with pytest.raises(ChunkOutOfRange) as caught:
        plan.check_index(3)
    refused = caught.value
    assert (refused.index, refused.field, refused.value, refused.minimum, refused.maximum) == (
        3,
        "chunk_index",
        3,
        0,
        2,
    )
    with pytest.raises(ChunkOutOfRange) as caught:
        plan.check_length(1, 5)
    refused = caught.value
    assert (refused.index, refused.field, refused.value) == (1, "length", 5)
    assert refused.minimum == refused.maximum == 8 * MiB


def test_the_largest_length_of_a_chunk_will_do_while_the_size_is_unknown_too() -> None:
    assert LIMITS.plan(None).check_length(0, 64 * MiB) == 64 * MiB
    with pytest.raises(ChunkOutOfRange):
        LIMITS.plan(None).check_length(0, 64 * MiB + 1)


NAMES = ("min_chunk_bytes", "default_chunk_bytes", "unknown_size_chunk_bytes", "max_chunk_bytes")


@pytest.mark.parametrize("name", NAMES)
def test_every_chunk_size_of_the_limits_is_a_subtree_of_blake3(name: str) -> None:
    for bad in (-1024, 0, 1, 512, 1023, 1025, 3072):
        with pytest.raises(ValueError, match=f"{name} must be a power of two of at least 1024: {bad}$"):
            Limits(**{name: bad})
    assert Limits(**dict.fromkeys(NAMES, 1024)).plan(5).chunk_size == 1024


@pytest.mark.parametrize("count", [-1, 0, 10_001])
def test_the_number_of_chunks_is_one_to_10000(count: int) -> None:
    with pytest.raises(ValueError, match=f"max_chunks must be from 1 to 10000: {count}$"):
        Limits(max_chunks=count)
    assert (Limits(max_chunks=1).max_chunks, Limits(max_chunks=10_000).max_chunks) == (1, 10_000)


def test_a_plan_is_no_larger_than_its_own_limits_allow() -> None:
    few = Limits(min_chunk_bytes=1024, default_chunk_bytes=1024, max_chunk_bytes=4096, max_chunks=4)
    assert (few.plan(4096), few.plan(4097)) == (ChunkPlan(1024, 4096, 4), ChunkPlan(2048, 4097, 4))
    with pytest.raises(ChunkOutOfRange):
        few.plan(None, 1024).check_index(4)
