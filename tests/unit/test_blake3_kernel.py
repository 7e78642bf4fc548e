"""The compiled kernel: equal to the plain reference and to the library, for every kind of buffer, in many threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.domain import blake3_kernel
from sealane.domain.blake3_kernel import chunk_cv, compile_kernel, digest_and_cv
from sealane.domain.blake3_tree import ChunkHash, object_digest, reference_chunk_cv

OFFICIAL_LENGTHS = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4096, 4097),
    *(5120, 5121, 6144, 6145, 7168, 7169, 8192, 8193, 16384, 31744, 102400),
)
PATTERN = bytes(i % 251 for i in range(1 << 18))  # byte i is i mod 251, as in the official test vectors


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel()


def digest_from_chunks(data: bytes, chunk_size: int) -> bytes:
    view = memoryview(data)
    pieces = [view[start : start + chunk_size] for start in range(0, len(data), chunk_size)]
    return object_digest([ChunkHash(*digest_and_cv(piece, index, chunk_size)) for index, piece in enumerate(pieces)])


@pytest.mark.parametrize("chunk_size", [1 << bits for bits in range(10, 18)])
def test_the_official_lengths_cut_into_chunks_merge_into_the_librarys_digest(chunk_size: int) -> None:
    for length in OFFICIAL_LENGTHS:
        data = PATTERN[:length]
        assert digest_from_chunks(data, chunk_size) == blake3(data).digest(), length


@pytest.mark.parametrize("chunk_size", [1024, 2048])
def test_every_size_from_nothing_to_a_few_chunks_merges_into_the_librarys_digest(chunk_size: int) -> None:
    for length in range(3 * chunk_size + 2):
        data = PATTERN[:length]
        assert digest_from_chunks(data, chunk_size) == blake3(data).digest(), length


@pytest.mark.parametrize("chunk_size", [1 << bits for bits in range(10, 17)])
def test_sizes_around_every_boundary_merge_into_the_librarys_digest(chunk_size: int) -> None:
    edges = {64, *(1 << bits for bits in range(18)), *range(1024, 3 * chunk_size + 1, 1024)}
    edges = {edge for edge in edges if edge <= 3 * chunk_size}
    for length in sorted({edge + step for edge in edges for step in (-1, 0, 1)}):
        data = PATTERN[:length]
        assert digest_from_chunks(data, chunk_size) == blake3(data).digest(), length


def test_an_object_of_10_000_chunks_merges_into_the_librarys_digest() -> None:
    data = np.random.default_rng(7).bytes(10_000 * 1024 - 5)
    assert digest_from_chunks(data, 1024) == blake3(data).digest()


@pytest.mark.parametrize("index", [0, 3])
def test_the_digest_is_the_librarys_for_every_length_wherever_the_chunk_stands(index: int) -> None:
    """What the client declared is compared with it: protocol.md section 4, step 3."""
    edges = {edge + step for edge in range(0, 1 << 17, 1024) for step in (-1, 0, 1)}
    for length in sorted({*range(1, 2_200), *OFFICIAL_LENGTHS, *edges} - {-1, *([0] if index else [])}):
        assert digest_and_cv(PATTERN[:length], index, 1 << 17)[0] == blake3(PATTERN[:length]).digest(), length


@pytest.mark.parametrize("length", [0, 1, 64, 65, 1023, 1024, 1025, 16 * 1024, 16 * 1024 + 1, 17 * 1024, 33 * 1024 + 7])
def test_the_kernel_equals_the_plain_reference(length: int) -> None:
    assert chunk_cv(PATTERN[:length], 0, 65_536) == reference_chunk_cv(PATTERN[:length], 0, 65_536)


@pytest.mark.parametrize("index", [1, (1 << 22) - 1, 1 << 22, (1 << 44) + 5, (1 << 48) - 1])
def test_a_chunk_far_into_the_object_counts_beyond_32_bits(index: int) -> None:
    """Both paths (16 lanes, one lane) carry the leaf counter's high word."""
    data = PATTERN[: 17 * 1024 + 3]
    assert chunk_cv(data, index, 65_536) == reference_chunk_cv(data, index, 65_536)


def test_the_same_bytes_at_another_index_have_another_chaining_value() -> None:
    assert len({chunk_cv(PATTERN[:1024], index, 1024) for index in range(50)}) == 50


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=5000), st.integers(0, (1 << 40) - 1), st.integers(13, 20), st.integers(0, 3))
def test_any_bytes_anywhere_and_at_any_alignment_equal_the_reference(
    data: bytes, index: int, bits: int, offset: int
) -> None:
    index = index if data else 0
    view = memoryview(bytes(offset) + data)[offset:]
    digest, cv = digest_and_cv(view, index, 1 << bits)
    assert cv == reference_chunk_cv(data, index, 1 << bits)
    assert digest == blake3(data).digest()


def test_one_bit_anywhere_changes_both() -> None:
    """No byte is skipped: neither in the sixteen lanes, nor behind them."""
    data = bytearray(PATTERN[: 33 * 1024 + 7])
    seen = {digest_and_cv(data, 1, 65_536)}
    for at in range(0, len(data), 61):
        data[at] ^= 1
        seen.add(digest_and_cv(data, 1, 65_536))
        data[at] ^= 1
    assert len({digest for digest, _ in seen}) == len({cv for _, cv in seen}) == len(range(0, len(data), 61)) + 1


def test_read_only_writable_and_unaligned_buffers_share_one_compiled_signature() -> None:
    data = PATTERN[: 40 * 1024 + 1]
    array = np.frombuffer(data, dtype=np.uint8).copy()
    kinds: list[bytes | bytearray | memoryview] = [
        data,
        bytearray(data),
        memoryview(data),
        memoryview(bytearray(data)),
        memoryview(b"x" + data)[1:],
        memoryview(bytearray(b"xyz" + data))[3:],
        array.data,
    ]
    assert {chunk_cv(kind, 3, 65_536) for kind in kinds} == {reference_chunk_cv(data, 3, 65_536)}
    assert len(blake3_kernel._kernel.signatures) == 1


def test_items_wider_than_a_byte_are_hashed_as_their_bytes() -> None:
    wide = np.frombuffer(PATTERN[:2048], dtype=np.uint64).data
    assert chunk_cv(wide, 0, 2048) == chunk_cv(PATTERN[:2048], 0, 2048)


def test_a_view_with_gaps_is_refused() -> None:
    with pytest.raises(TypeError):
        chunk_cv(memoryview(PATTERN[:2048])[::2], 0, 1024)


def test_the_buffer_is_neither_changed_nor_held() -> None:
    """A pooled bytearray must be free to shrink again: an array left behind would forbid it with BufferError."""
    data = bytearray(PATTERN[: 20 * 1024])
    chunk_cv(data, 0, 32_768)
    assert data == PATTERN[: 20 * 1024]
    data.clear()


def test_many_threads_at_once_each_get_their_own_chunks_chaining_value() -> None:
    data = np.random.default_rng(3).bytes(64 * 65_536 - 17)
    chunks = [data[start : start + 65_536] for start in range(0, len(data), 65_536)]

    def cv(index: int) -> bytes:
        return chunk_cv(chunks[index], index, 65_536)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            cvs = list(pool.map(cv, range(len(chunks))))
            hashes = [ChunkHash(bytes(32), value) for value in cvs]
            assert object_digest(hashes) == blake3(data).digest()


@pytest.mark.parametrize(
    ("length", "index", "chunk_size"), [(1, 0, 1000), (1025, 0, 1024), (1, -1, 1024), (0, 1, 1024), (1, 1 << 54, 1024)]
)
def test_a_chunk_that_cannot_be_is_refused(length: int, index: int, chunk_size: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        chunk_cv(bytes(length), index, chunk_size)


def test_importing_compiles_nothing_and_hashing_before_compiling_is_an_error() -> None:
    program = (
        "from sealane.domain import blake3_kernel as kernel\n"
        "assert not kernel._kernel.signatures\n"
        "try: kernel.chunk_cv(b'x', 0, 1024)\n"
        "except RuntimeError: pass\n"
        "else: raise SystemExit('compiled on the request path')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_compiling_again_adds_no_signature() -> None:
    compile_kernel()
    assert len(blake3_kernel._kernel.signatures) == 1


def test_a_kernel_that_gives_a_wrong_answer_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blake3_kernel, "_KNOWN_ANSWERS", ((1025, 1024, "00" * 32),))
    with pytest.raises(RuntimeError, match="wrong answers"):
        compile_kernel()
