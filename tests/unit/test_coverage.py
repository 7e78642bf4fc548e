"""Coverage: what the receipts say, in whatever order they came."""

from __future__ import annotations

import hashlib
import itertools
import random

import blake3
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.coverage import coverage, missing_ranges
from sealane.domain.limits import ChunkPlan

SIZE = 1024


def receipt(index: int, data: bytes, *, etag: str = "e") -> Receipt:
    return Receipt(
        index,
        len(data),
        blake3.blake3(data).digest(),
        reference_chunk_cv(data, index, SIZE),
        hashlib.sha256(data).digest(),
        etag,
    )


def cut(data: bytes) -> list[Receipt]:
    return [receipt(i, data[i * SIZE : (i + 1) * SIZE]) for i in range(-(-len(data) // SIZE))]


@given(st.sets(st.integers(0, 60)), st.integers(0, 64))
def test_missing_ranges_and_present_indexes_partition_the_object(present: set[int], count: int) -> None:
    ranges = list(missing_ranges(sorted(present), count))
    missing = {i for r in ranges for i in range(r.first, r.last + 1)}
    assert missing == set(range(count)) - present
    assert ranges == sorted(ranges)
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(ranges))


@given(st.integers(1, 12 * SIZE), st.randoms(use_true_random=False), st.data())
def test_the_prefix_digest_is_blake3_of_exactly_the_bytes_before_the_first_hole(
    size: int, rng: random.Random, data: st.DataObject
) -> None:
    content = rng.randbytes(size)
    receipts = cut(content)
    arrived = data.draw(st.lists(st.sampled_from(receipts), unique_by=lambda r: r.index))
    found = coverage(arrived, ChunkPlan(SIZE, size))
    assert found.prefix.blake3 == blake3.blake3(content[: found.prefix.size]).digest()
    indexes = {r.index for r in arrived}
    assert found.prefix.chunks == next(i for i in range(len(receipts) + 1) if i not in indexes)
    assert found.complete == (len(indexes) == len(receipts))
    assert found.stored_bytes == sum(r.length for r in arrived)


def test_a_missing_chunk_0_or_1_is_named() -> None:
    """The first classic failure: chunk 0 went missing and the upload was "loading for ever"."""
    receipts = cut(bytes(4 * SIZE))
    plan = ChunkPlan(SIZE, 4 * SIZE)
    assert coverage(receipts[1:], plan).missing == (ChunkRange(0, 0),)
    assert coverage([receipts[0], *receipts[2:]], plan).missing == (ChunkRange(1, 1),)
    assert coverage([], plan).missing == (ChunkRange(0, 3),)


def test_the_same_chunk_stored_twice_is_one_chunk() -> None:
    data = bytes(SIZE)
    found = coverage([receipt(0, data, etag="a"), receipt(0, data, etag="b")], ChunkPlan(SIZE, SIZE))
    assert (found.stored_chunks, found.stored_bytes, found.conflicting, found.complete) == (1, SIZE, (), True)


def test_two_receipts_of_an_index_with_other_bytes_are_a_conflict_and_never_complete() -> None:
    found = coverage([receipt(0, bytes(SIZE)), receipt(0, b"x" * SIZE)], ChunkPlan(SIZE, SIZE))
    assert found.conflicting == (0,)
    assert not found.complete
    assert found.prefix.chunks == 0


def test_while_the_size_is_unknown_only_the_holes_below_the_highest_chunk_are_missing() -> None:
    receipts = cut(bytes(5 * SIZE))
    found = coverage([receipts[0], receipts[3]], ChunkPlan(SIZE))
    assert found.missing == (ChunkRange(1, 2),)
    assert not found.complete


def test_no_prefix_reaches_beyond_a_short_chunk() -> None:
    found = coverage([receipt(0, bytes(10)), receipt(1, bytes(SIZE))], ChunkPlan(SIZE))
    assert (found.prefix.chunks, found.prefix.size) == (1, 10)
    assert found.prefix.blake3 == blake3.blake3(bytes(10)).digest()


def test_an_empty_object_is_complete_at_once() -> None:
    found = coverage([], ChunkPlan(SIZE, 0))
    assert found.complete
    assert found.prefix.blake3 == blake3.blake3(b"").digest()
