"""A chunk's BLAKE3 digest and its chaining value in one go, at gigabytes a second.

The digest is what the client declares, the chaining value what merges into the object's digest; the BLAKE3 library
exports no chaining value, and a pass of its own would fetch the chunk from memory once more. So each sixteen leaves
are hashed twice in a row, counted from zero and from where the chunk stands: side by side in the lanes of vectors
(`blake3_vectors`), as are then sixteen parents, level by level. What does not fill sixteen lanes is done one by one.

Importing this module loads numba (150 MiB), so only ingest does; it compiles nothing. `compile_kernel` does, once,
before the service is ready. There is one compiled signature, of read-only arrays that need not be aligned: numba
passes every other kind as that (left to itself, it would compile once more for each, on the request path). The
kernel is not cached on disk: numba's cache refuses to import on a read-only root.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numba import types

from sealane.domain.blake3_tree import (
    BLOCK_LENGTH,
    CHUNK_END,
    CHUNK_START,
    IV,
    LEAF_LENGTH,
    PARENT,
    ROOT,
    leaf_counter,
    root_digest,
)
from sealane.domain.blake3_vectors import (
    BLOCK_WORDS,
    CV_WORDS,
    LANES,
    LEAF_WORDS,
    one_block,
    sixteen_leaves,
    sixteen_parents,
)


def compile_kernel() -> None:
    """Compile the kernel (2 s, once) and check it against official test vectors; again is free.

    Call it before the service is ready; blocking, so off the event loop. Raises RuntimeError if the compiled code is
    wrong on this processor: a wrong chaining value would be stored, and found only at commit.

    With numba's own NUMBA_CACHE_DIR set, the compiled code is kept in that folder and loaded from it: nobody else may
    be able to write there. Without it nothing is written, for the root of a container may be read-only.
    """
    if not _kernel.signatures:
        if numba.config.CACHE_DIR:  # type: ignore[attr-defined]  # numba sets its options one by one
            _kernel.enable_caching()
        _kernel.compile(_SIGNATURE)
        _kernel.disable_compile()  # or a writable buffer's first call would compile a signature of its own
    for length, chunk_size, digest in _KNOWN_ANSWERS:
        if {answer.hex() for answer in _known_answers(length, chunk_size)} != {digest}:
            raise RuntimeError("the compiled BLAKE3 kernel gives wrong answers on this processor")


def digest_and_cv(data: bytes | bytearray | memoryview, index: int, chunk_size: int) -> tuple[bytes, bytes]:
    """The BLAKE3 digest of `data`, and its chaining value as chunk `index` of an object cut into chunks of `chunk_size`
    bytes; 32 bytes each.

    `data` (C-contiguous) is read in place and must not change meanwhile; the interpreter lock is free meanwhile, and
    any number of threads may be here at once. Scratch: 1/16 of the data. Raises ValueError as `leaf_counter` does,
    TypeError if `data` is not contiguous, RuntimeError before `compile_kernel`.
    """
    if not _kernel.signatures:
        raise RuntimeError("compile_kernel() comes first")
    view = memoryview(data).cast("B")
    counter = leaf_counter(view.nbytes, index, chunk_size)
    # The last block is 1 to 64 bytes (0 for no data), zero-padded: the kernel then sees whole words only.
    before_last = max(0, view.nbytes - 1) // BLOCK_LENGTH * BLOCK_LENGTH
    last_block = np.frombuffer(bytes(view[before_last:]).ljust(BLOCK_LENGTH, b"\0"), dtype=np.uint32)
    words = np.frombuffer(view, dtype=np.uint32, count=view.nbytes // 4)
    answers = np.empty(2 * CV_WORDS, dtype=np.uint32)
    _kernel(words, last_block, view.nbytes, counter, answers)
    return answers[:CV_WORDS].tobytes(), answers[CV_WORDS:].tobytes()


def chunk_cv(data: bytes | bytearray | memoryview, index: int, chunk_size: int) -> bytes:
    """The chaining value of :func:`digest_and_cv` alone."""
    return digest_and_cv(data, index, chunk_size)[1]


def _hashes(words: Any, last_block: Any, length: int, counter: int, answers: Any) -> None:
    """Write to `answers` the digest and the chaining value of the `length` bytes in `words`.

    Their last block is also in `last_block`, padded. The scratch is local: any number of threads may run this at once.
    """
    leaves = max(1, (length + LEAF_LENGTH - 1) // LEAF_LENGTH)
    grouped = length // LEAF_LENGTH // LANES * LANES
    cvs = np.empty(2 * leaves * CV_WORDS, dtype=np.uint32)  # the digest's tree, then the chaining value's
    state = np.empty(CV_WORDS, dtype=np.uint32)
    for leaf in range(0, grouped, LANES):
        at = leaf * CV_WORDS
        sixteen_leaves(words, leaf * LEAF_WORDS, cvs, at, leaf)
        sixteen_leaves(words, leaf * LEAF_WORDS, cvs, leaves * CV_WORDS + at, counter + leaf)
    for tree in range(2):
        base = tree * leaves * CV_WORDS
        root = 0 if tree else ROOT
        for leaf in range(grouped, leaves):
            left = min(LEAF_LENGTH, length - leaf * LEAF_LENGTH)
            blocks = max(1, (left + BLOCK_LENGTH - 1) // BLOCK_LENGTH)
            count = leaf + tree * counter
            for word in range(CV_WORDS):
                state[word] = IV[word]
            for block in range(blocks):
                flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == blocks - 1 else 0)
                size = min(BLOCK_LENGTH, left - block * BLOCK_LENGTH)
                if leaf == leaves - 1 and block == blocks - 1:
                    one_block(last_block, 0, state, count, size, flags | (root if leaves == 1 else 0))
                else:
                    one_block(words, leaf * LEAF_WORDS + block * BLOCK_WORDS, state, count, size, flags)
            for word in range(CV_WORDS):
                cvs[base + leaf * CV_WORDS + word] = state[word]
        nodes = leaves
        # A parent's block is its two children's CVs in a row, and it is written over what has been read already.
        while nodes > 1:
            pairs = nodes // 2
            flags = PARENT | (root if nodes == 2 else 0)
            pair = 0
            while pair + LANES <= pairs:
                sixteen_parents(cvs, base + pair * BLOCK_WORDS, base + pair * CV_WORDS, flags)
                pair += LANES
            while pair < pairs:
                for word in range(CV_WORDS):
                    state[word] = IV[word]
                one_block(cvs, base + pair * BLOCK_WORDS, state, 0, BLOCK_LENGTH, flags)
                for word in range(CV_WORDS):
                    cvs[base + pair * CV_WORDS + word] = state[word]
                pair += 1
            if nodes % 2:
                for word in range(CV_WORDS):
                    cvs[base + pairs * CV_WORDS + word] = cvs[base + (nodes - 1) * CV_WORDS + word]
            nodes = pairs + nodes % 2
        for word in range(CV_WORDS):
            answers[tree * CV_WORDS + word] = cvs[base + word]


_BYTES_AS_WORDS: Final = types.Array(types.uint32, 1, "C", readonly=True, aligned=False)
_WORDS: Final = types.Array(types.uint32, 1, "C")
_SIGNATURE: Final = types.void(_BYTES_AS_WORDS, _BYTES_AS_WORDS, types.int64, types.int64, _WORDS)
_kernel: Final = numba.njit(nogil=True)(_hashes)

# The official test vectors: byte i is i mod 251. 102,400 bytes use every path for whole blocks, 8,193 the padded one.
_KNOWN_ANSWERS: Final = (
    (102_400, 65_536, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    (8_193, 8_192, "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b"),
)


def _known_answers(length: int, chunk_size: int) -> tuple[bytes, bytes]:
    """The digest of the official bytes: computed whole, and merged from two chunks."""
    data = bytes(i % 251 for i in range(length))
    whole, _ = digest_and_cv(data, 0, 2 * chunk_size)
    return whole, root_digest(chunk_cv(data[:chunk_size], 0, chunk_size), chunk_cv(data[chunk_size:], 1, chunk_size))
