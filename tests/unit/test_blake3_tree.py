"""The tree of chaining values: any cut into chunks and any order of arrival give the digest that `b3sum` prints."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.domain import blake3_tree
from sealane.domain.blake3_tree import (
    EMPTY_DIGEST,
    ChunkHash,
    CvTree,
    Prefix,
    leaf_counter,
    merge_cvs,
    object_digest,
    reference_chunk_cv,
    root_digest,
)

# The `hash` fields (first 32 bytes) of the official test_vectors.json; the input's byte i is i mod 251.
OFFICIAL_DIGESTS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    2: "7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63",
    3: "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f",
    4: "f30f5ab28fe047904037f77b6da4fea1e27241c5d132638d8bedce9d40494f32",
    5: "b40b44dfd97e7a84a996a91af8b85188c66c126940ba7aad2e7ae6b385402aa2",
    6: "06c4e8ffb6872fad96f9aaca5eee1553eb62aed0ad7198cef42e87f6a616c844",
    7: "3f8770f387faad08faa9d8414e9f449ac68e6ff0417f673f602a646a891419fe",
    8: "2351207d04fc16ade43ccab08600939c7c1fa70a5c0aaca76063d04c3228eaeb",
    63: "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b",
    64: "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98",
    65: "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee",
    127: "d81293fda863f008c09e92fc382a81f5a0b4a1251cba1634016a0f86a6bd640d",
    128: "f17e570564b26578c33bb7f44643f539624b05df1a76c81f30acd548c44b45ef",
    129: "683aaae9f3c5ba37eaaf072aed0f9e30bac0865137bae68b1fde4ca2aebdcb12",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
    3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
    3073: "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
    4096: "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969",
    4097: "9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995",
    5120: "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833",
    5121: "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
    6144: "3e2e5b74e048f3add6d21faab3f83aa44d3b2278afb83b80b3c35164ebeca205",
    6145: "f1323a8631446cc50536a9f705ee5cb619424d46887f3c376c695b70e0f0507f",
    7168: "61da957ec2499a95d6b8023e2b0e604ec7f6b50e80a9678b89d2628e99ada77a",
    7169: "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817",
    8192: "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63",
    8193: "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b",
    16384: "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
    31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}
PATTERN = bytes(i % 251 for i in range(max(OFFICIAL_DIGESTS)))

untimed = settings(deadline=None)  # the machine may be busy; what is slow is no failure here
digests = st.binary(min_size=32, max_size=32)


@cache
def chunk_hash(data: bytes, index: int, chunk_size: int) -> ChunkHash:
    return ChunkHash(blake3(data).digest(), reference_chunk_cv(data, index, chunk_size))


def cut(data: bytes, chunk_size: int) -> list[ChunkHash]:
    return [
        chunk_hash(data[start : start + chunk_size], start // chunk_size, chunk_size)
        for start in range(0, len(data), chunk_size)
    ]


def made_up_chunks(count: int) -> list[ChunkHash]:
    """Any 32 bytes can be a chaining value: for what depends on the shape of the tree alone."""
    rng = random.Random(count)
    return [ChunkHash(rng.randbytes(32), rng.randbytes(32)) for _ in range(count)]


def digest_by_definition(cvs: Sequence[bytes], *, root: bool = True) -> bytes:
    """The paper's recursion: the left subtree is the largest power of two of leaves that leaves some for the right."""
    if len(cvs) == 1:
        return cvs[0]
    left = 1 << ((len(cvs) - 1).bit_length() - 1)
    halves = (digest_by_definition(cvs[:left], root=False), digest_by_definition(cvs[left:], root=False))
    return root_digest(*halves) if root else merge_cvs(*halves)


@pytest.mark.parametrize("chunk_size", [1024, 4096, 32768])
@pytest.mark.parametrize("length", OFFICIAL_DIGESTS)
def test_an_official_vector_cut_into_chunks_merges_into_the_official_digest(length: int, chunk_size: int) -> None:
    assert object_digest(cut(PATTERN[:length], chunk_size)).hex() == OFFICIAL_DIGESTS[length]


def test_the_library_that_is_the_yardstick_agrees_with_the_official_vectors() -> None:
    assert {n: blake3(PATTERN[:n]).hexdigest() for n in OFFICIAL_DIGESTS} == OFFICIAL_DIGESTS


@pytest.mark.parametrize("chunk_size", [1024, 2048, 4096])
def test_sizes_around_every_boundary_merge_into_the_librarys_digest(chunk_size: int) -> None:
    edges = {0, 64, 128, *range(1024, 5 * chunk_size + 1, 1024)}
    for length in sorted({edge + step for edge in edges for step in (-1, 0, 1) if edge + step >= 0}):
        data = PATTERN[:length]
        assert object_digest(cut(data, chunk_size)) == blake3(data).digest(), length


def test_an_object_of_no_chunks_has_the_digest_of_no_bytes() -> None:
    assert object_digest([]) == EMPTY_DIGEST == blake3(b"").digest()
    assert CvTree().prefix() == Prefix(0, EMPTY_DIGEST)


def test_an_object_of_one_chunk_has_that_chunks_digest_and_no_use_for_its_chaining_value() -> None:
    [chunk] = made_up_chunks(1)
    tree = CvTree()
    tree.add(0, chunk)
    assert object_digest([chunk]) == chunk.blake3
    assert tree.prefix() == Prefix(1, chunk.blake3)


@untimed
@given(st.integers(2, 300))
def test_levels_merge_into_what_the_recursive_definition_gives(count: int) -> None:
    chunks = made_up_chunks(count)
    assert object_digest(chunks) == digest_by_definition([chunk.cv for chunk in chunks])


@untimed
@given(st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=40))
def test_numpy_merges_pairs_exactly_as_plain_python_does(pairs: list[bytes]) -> None:
    joined = b"".join(pairs)
    expected = b"".join(merge_cvs(pair[:32], pair[32:]) for pair in pairs)
    assert blake3_tree._merge_pairs_vector(joined) == expected
    assert blake3_tree._merge_pairs_plain(joined) == expected


@untimed
@given(st.permutations(range(9)), st.integers(1, 1024))
def test_the_prefix_digest_is_that_of_the_contiguous_bytes_whatever_the_order_of_arrival(
    order: list[int], last_length: int
) -> None:
    data = PATTERN[: 8 * 1024 + last_length]
    chunks = cut(data, 1024)
    tree = CvTree()
    arrived: set[int] = set()
    for index in order:
        assert tree.add(index, chunks[index])
        arrived.add(index)
        count = next(i for i in range(10) if i not in arrived)
        assert tree.prefix() == Prefix(count, blake3(data[: count * 1024]).digest())
    assert tree.prefix().blake3 == object_digest(chunks)


@settings(untimed, max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(1, 70))
def test_asking_for_the_prefix_now_and_then_changes_nothing(rng: random.Random, count: int) -> None:
    chunks = made_up_chunks(count)
    order = rng.sample(range(count), count)
    tree = CvTree()
    for index in order:
        tree.add(index, chunks[index])
        if rng.random() < 0.2:
            prefix = tree.prefix()
            assert prefix.blake3 == object_digest(chunks[: prefix.chunks])
            assert tree.prefix() == prefix
    assert tree.prefix() == Prefix(count, object_digest(chunks))


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 9, 1000, 1023, 1024, 1025, 10_000])
def test_a_prefix_that_arrived_all_at_once_is_the_object(count: int) -> None:
    chunks = made_up_chunks(count)
    tree = CvTree()
    for index in reversed(range(count)):
        tree.add(index, chunks[index])
    assert tree.prefix() == Prefix(count, object_digest(chunks))


def test_a_prefix_keeps_no_more_than_its_largest_subtrees() -> None:
    tree = CvTree()
    for index, chunk in enumerate(made_up_chunks(1000)):
        tree.add(index, chunk)
    tree.prefix()
    assert not tree._waiting
    assert len(tree._subtrees) == (1000).bit_count()


def test_chunk_0_missing_means_an_empty_prefix_and_not_a_wrong_one() -> None:
    tree = CvTree()
    for index, chunk in enumerate(made_up_chunks(5)):
        if index:
            tree.add(index, chunk)
    assert tree.prefix() == Prefix(0, EMPTY_DIGEST)


def test_a_chunk_that_is_known_already_changes_nothing_in_the_prefix_or_behind_a_hole() -> None:
    first, second, third, other = made_up_chunks(4)
    tree = CvTree()
    assert tree.add(0, first)
    assert tree.add(2, third)
    tree.prefix()
    assert not tree.add(0, other)
    assert not tree.add(2, other)
    assert tree.add(1, second)
    assert tree.prefix() == Prefix(3, object_digest([first, second, third]))


@untimed
@given(digests, st.binary(max_size=70).filter(lambda value: len(value) != 32))
def test_whatever_is_not_32_bytes_is_refused(good: bytes, bad: bytes) -> None:
    for merge in (merge_cvs, root_digest, ChunkHash):
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="is 32 bytes"):
                merge(*pair)


def test_a_parent_and_the_root_of_the_same_two_are_told_apart() -> None:
    left, right = cut(PATTERN[:2048], 1024)
    assert root_digest(left.cv, right.cv) == blake3(PATTERN[:2048]).digest()
    assert merge_cvs(left.cv, right.cv) == reference_chunk_cv(PATTERN[:2048], 0, 2048)
    assert merge_cvs(left.cv, right.cv) != root_digest(left.cv, right.cv)


@pytest.mark.parametrize(
    ("length", "index", "chunk_size", "why"),
    [
        (1, 0, 512, "power of two"),
        (1, 0, 0, "power of two"),
        (1, 0, -1024, "power of two"),
        (1, 0, 3072, "power of two"),
        (1025, 0, 1024, "at most 1024"),
        (1, -1, 1024, "not negative"),
        (0, 1, 1024, "only chunk 0"),
        (1, 1 << 54, 1024, "2\\^64"),
    ],
)
def test_a_chunk_that_cannot_be_is_refused(length: int, index: int, chunk_size: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reference_chunk_cv(bytes(length), index, chunk_size)
    with pytest.raises(ValueError, match=why):
        leaf_counter(length, index, chunk_size)


def test_a_negative_index_is_refused_by_the_tree() -> None:
    with pytest.raises(ValueError, match="not negative"):
        CvTree().add(-1, made_up_chunks(1)[0])


def test_the_last_chunk_that_blake3_can_address_has_a_chaining_value() -> None:
    assert leaf_counter(1024, (1 << 54) - 1, 1024) == (1 << 54) - 1
    assert len(reference_chunk_cv(bytes(1024), (1 << 54) - 1, 1024)) == 32


def test_merging_a_few_chunks_loads_neither_numpy_nor_numba() -> None:
    """An SDK user's process should not pay 30 or 150 MiB for a digest of a handful of chunks."""
    program = (
        "import sys; from sealane.domain.blake3_tree import ChunkHash, object_digest;"
        "object_digest([ChunkHash(bytes(32), bytes(32))] * 15);"
        "sys.exit(len({'numpy', 'numba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
