"""SHA-256 by the processor's own instructions, in step: equal to hashlib for every length and number of buffers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm  # type: ignore[import-untyped]  # llvmlite ships no types
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.domain import sha256_extensions
from sealane.domain.sha256_extensions import LANES, available, compile_kernel, sha256_of_each

needs_the_instructions = pytest.mark.skipif(not available(), reason="this processor has no SHA extensions")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    if available():
        compile_kernel()


def expected(buffers: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(buffer).digest() for buffer in buffers]


@needs_the_instructions
@pytest.mark.parametrize("count", range(1, LANES + 1))
def test_every_padding_and_every_number_of_buffers_equals_hashlib(count: int) -> None:
    """Lengths around three blocks' ends, where the padding needs one block more, and none at all."""
    rng = np.random.default_rng(count)
    for length in [*range(200), 4_095, 65_536]:
        buffers = [rng.bytes(length) for _ in range(count)]
        assert sha256_of_each(buffers) == expected(buffers), length


@needs_the_instructions
@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3_000), st.integers(1, LANES), st.integers(0, 17), st.integers(0, 2**32))
def test_any_bytes_at_any_alignment_equal_hashlib(length: int, count: int, offset: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    buffers = [rng.bytes(length) for _ in range(count)]
    assert sha256_of_each([memoryview(bytes(offset) + buffer)[offset:] for buffer in buffers]) == expected(buffers)


@needs_the_instructions
def test_the_buffers_are_neither_changed_nor_held() -> None:
    """A pooled bytearray must be free to shrink again: an array left behind would forbid it with BufferError."""
    buffers = [bytearray(b"abc" * 1_000), bytearray(b"xyz" * 1_000)]
    sha256_of_each(buffers)
    assert buffers == [bytearray(b"abc" * 1_000), bytearray(b"xyz" * 1_000)]
    for buffer in buffers:
        buffer.clear()


@needs_the_instructions
def test_many_threads_at_once_each_get_their_own_digests() -> None:
    rng = np.random.default_rng(2)
    groups = [[rng.bytes(50_000) for _ in range(LANES)] for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(sha256_of_each, groups)) == [expected(group) for group in groups]


@needs_the_instructions
@pytest.mark.parametrize("buffers", [[], [b"x"] * (LANES + 1), [b"x", b"xy"]])
def test_what_does_not_fit_side_by_side_is_refused(buffers: list[bytes]) -> None:
    with pytest.raises(ValueError, match="buffers"):
        sha256_of_each(buffers)


@needs_the_instructions
def test_a_view_with_gaps_is_refused() -> None:
    with pytest.raises(TypeError):
        sha256_of_each([memoryview(bytes(256))[::2]])


@pytest.mark.parametrize(
    ("features", "there"),
    [
        ({"sha": True, "sse4.1": True, "ssse3": True}, True),
        ({"sse4.1": True, "ssse3": True, "avx2": True, "avx512vl": True}, False),
        ({"sha": False, "sse4.1": True, "ssse3": True}, False),
        ({"sha2": True, "neon": True}, False),
        ({}, False),
    ],
)
def test_it_is_used_only_where_the_processor_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], there: bool
) -> None:
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    assert available() is there


def test_importing_compiles_nothing_and_hashing_before_compiling_is_an_error() -> None:
    program = (
        "from sealane.domain import sha256_extensions as kernel\n"
        "assert not kernel._kernel.signatures\n"
        "try: kernel.sha256_of_each([b'x'])\n"
        "except RuntimeError: pass\n"
        "else: raise SystemExit('compiled on the request path')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@needs_the_instructions
def test_a_kernel_that_gives_a_wrong_answer_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_extensions, "START", [0] * 8)
    with pytest.raises(RuntimeError, match="wrong answers"):
        compile_kernel()
