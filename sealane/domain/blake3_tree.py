"""The BLAKE3 tree above the chunks: chaining values in, digests out, and no byte of data read again.

BLAKE3 hashes leaves of 1,024 bytes (its paper calls them chunks; here a *chunk* is sealane's) and merges them
pairwise into a binary tree in which every left subtree is a full power of two of leaves. A sealane chunk is a
power of two of leaves at a multiple of its own size, hence a whole subtree: its *chaining value* (CV) can be
computed anywhere, at any time, and the CVs of an object merge into the digest that `b3sum` prints for it.

protocol.md section 1 (digest, chaining value, prefix digest) and section 5, C4. The algorithm: sections 2.1 to
2.5 of the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020).

Nothing here knows lengths: that every chunk but the last is `chunk_size` long is the caller's to check (C2),
because a short chunk in the middle merges into a root that is no file's digest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DIGEST_LENGTH: Final = 32
BLOCK_LENGTH: Final = 64
LEAF_LENGTH: Final = 1024
EMPTY_DIGEST: Final = bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
"""BLAKE3 of no bytes: the digest of the empty object."""

IV: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
CHUNK_START: Final = 1
CHUNK_END: Final = 2
PARENT: Final = 4
ROOT: Final = 8

MESSAGE_PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)


def _message_schedule() -> tuple[tuple[int, ...], ...]:
    rounds = [tuple(range(16))]
    for _ in range(6):
        rounds.append(tuple(rounds[-1][word] for word in MESSAGE_PERMUTATION))
    return tuple(rounds)


MESSAGE_SCHEDULE: Final = _message_schedule()
"""For each of the 7 rounds, which word of the block each of the 16 message operands is."""

# Where numpy's cost of a level (about 400 calls, whatever its width) falls below that of plain Python's merges.
_VECTOR_PAIRS: Final = 8

_PAIR: Final = 2 * DIGEST_LENGTH
_MASK: Final = 0xFFFFFFFF
_BLOCK: Final = struct.Struct("<16I")
_CV: Final = struct.Struct("<8I")


@dataclass(frozen=True, slots=True)
class ChunkHash:
    """What a chunk adds to its object's digest.

    `blake3` is the digest of the chunk's bytes alone: the object's digest, if it is the only chunk. `cv` is its
    chaining value at its own offset. Raises ValueError unless both are 32 bytes.
    """

    blake3: bytes
    cv: bytes

    def __post_init__(self) -> None:
        _require_32_bytes("blake3", self.blake3)
        _require_32_bytes("cv", self.cv)


class Prefix(NamedTuple):
    """The chunks 0…`chunks`-1, without a hole, and the BLAKE3 of their bytes."""

    chunks: int
    blake3: bytes


def merge_cvs(left: bytes, right: bytes) -> bytes:
    """The CV of the subtree whose halves are `left` and `right`; not the root. ValueError unless 32 bytes each."""
    return _parent(left, right, PARENT)


def root_digest(left: bytes, right: bytes) -> bytes:
    """The digest of the object whose topmost subtrees are `left` and `right`. ValueError unless 32 bytes each."""
    return _parent(left, right, PARENT | ROOT)


def object_digest(chunks: Sequence[ChunkHash]) -> bytes:
    """The BLAKE3 of an object from all of its chunks, in order (protocol.md section 5, C4).

    10,000 chunks take about 15 ms (numpy, level by level); up to 15, numpy is not even imported.
    """
    if not chunks:
        return EMPTY_DIGEST
    if len(chunks) == 1:
        return chunks[0].blake3
    level = b"".join(chunk.cv for chunk in chunks)
    while len(level) > _PAIR:
        level = _merge_level(level)
    return _root_of_pair(level)


class _Subtree(NamedTuple):
    """An aligned, complete subtree of the prefix, and its two children's CVs in a row (of one chunk: b"").

    The children are kept because the digest of a prefix that is one complete subtree merges them once more, as
    its root.
    """

    cv: bytes
    halves: bytes


class CvTree:
    """The prefix digest of a session whose chunks arrive in any order.

    Keeps the chunks that wait behind a hole, and of the prefix only its largest aligned subtrees (one for each
    one-bit of its length: a Merkle mountain range). `add` only notes; `prefix` merges what is new, one merge a
    chunk amortised, and folds the subtrees, at most one merge for each; an unchanged prefix costs nothing.
    Not thread-safe.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, ChunkHash] = {}
        self._subtrees: dict[int, _Subtree] = {}  # by height: at most one of each, the highest leftmost
        self._prefix = Prefix(0, EMPTY_DIGEST)
        self._first: ChunkHash | None = None

    def add(self, index: int, chunk: ChunkHash) -> bool:
        """Note chunk `index`; False, and nothing changed, if that index is known already.

        Telling equal chunks from conflicting ones is not this tree's business (protocol.md section 4, step 4).
        Raises ValueError for a negative index.
        """
        if index < 0:
            raise ValueError(f"a chunk index is not negative: {index}")
        if index < self._prefix.chunks or index in self._waiting:
            return False
        self._waiting[index] = chunk
        return True

    def prefix(self) -> Prefix:
        """How many chunks from 0 on are there without a hole, and the BLAKE3 of their bytes."""
        start = self._prefix.chunks
        arrived: list[bytes] = []
        while (chunk := self._waiting.pop(start + len(arrived), None)) is not None:
            arrived.append(chunk.cv)
            self._first = self._first or chunk
        if arrived and self._first:
            self._grow(b"".join(arrived))
            self._prefix = Prefix(start + len(arrived), self._digest(self._first))
        return self._prefix

    def _grow(self, level: bytes) -> None:
        """Append the CVs in `level`: at each height pair up what is there, and keep the odd last one."""
        below = b""
        height = 0
        while level:
            if (left_over := self._subtrees.pop(height, None)) is not None:
                level = left_over.cv + level
            if len(level) % _PAIR:
                # The odd one is new, so its halves are the last pair that was merged one level below.
                self._subtrees[height] = _Subtree(level[-DIGEST_LENGTH:], below[-_PAIR:])
                level = level[:-DIGEST_LENGTH]
            below, level = level, _merge_pairs(level)
            height += 1

    def _digest(self, first: ChunkHash) -> bytes:
        """Fold the subtrees from right to left; the last merge, and only that, is the root's."""
        rightmost, *others = (self._subtrees[height] for height in sorted(self._subtrees))
        if not others:
            return _root_of_pair(rightmost.halves) if rightmost.halves else first.blake3
        right = rightmost.cv
        for subtree in others[:-1]:
            right = merge_cvs(subtree.cv, right)
        return root_digest(others[-1].cv, right)


def leaf_counter(length: int, index: int, chunk_size: int) -> int:
    """The BLAKE3 counter of the first leaf of chunk `index`, whose `length` is in bytes.

    Raises ValueError if there can be no such chunk: `chunk_size` is not a power of two from 1,024, the chunk is
    longer, it is empty though not the first, or it ends behind the 2^64 bytes that BLAKE3 can address.
    """
    if chunk_size < LEAF_LENGTH or chunk_size & (chunk_size - 1):
        raise ValueError(f"chunk_size is a power of two from {LEAF_LENGTH}: {chunk_size}")
    if not 0 <= length <= chunk_size:
        raise ValueError(f"a chunk has at most {chunk_size} bytes: {length}")
    if index < 0:
        raise ValueError(f"a chunk index is not negative: {index}")
    if index and not length:
        raise ValueError(f"only chunk 0 can be empty: {index}")
    if index * chunk_size + length > 1 << 64:
        raise ValueError(f"chunk {index} ends behind 2^64 bytes")
    return index * (chunk_size // LEAF_LENGTH)


def reference_chunk_cv(data: bytes | bytearray | memoryview, index: int, chunk_size: int) -> bytes:
    """The CV of chunk `index`, in plain Python: 1 to 2 ms a KiB, so for tests and for the simulation's tiny chunks.

    `blake3_kernel.digest_and_cv` gives the same value, thousands of times faster. Raises ValueError as `leaf_counter`.
    """
    data = memoryview(data).cast("B")
    counter = leaf_counter(len(data), index, chunk_size)
    leaves = range(max(1, -(-len(data) // LEAF_LENGTH)))
    level = b"".join(_leaf_cv(data[leaf * LEAF_LENGTH : (leaf + 1) * LEAF_LENGTH], counter + leaf) for leaf in leaves)
    while len(level) > DIGEST_LENGTH:
        level = _merge_level(level)
    return level


def _merge_level(level: bytes) -> bytes:
    """The next level of a left-balanced tree: pairs merged, an odd last CV carried up as it is."""
    odd = level[len(level) - len(level) % _PAIR :]
    return _merge_pairs(level[: len(level) - len(odd)]) + odd


def _merge_pairs(pairs: bytes) -> bytes:
    if len(pairs) < _VECTOR_PAIRS * _PAIR:
        return _merge_pairs_plain(pairs)
    return _merge_pairs_vector(pairs)


def _merge_pairs_plain(pairs: bytes) -> bytes:
    return b"".join(_CV.pack(*_compress(IV, block, 0, BLOCK_LENGTH, PARENT)) for block in _BLOCK.iter_unpack(pairs))


def _merge_pairs_vector(pairs: bytes) -> bytes:
    """As `_merge_pairs_plain`, all pairs at once: each numpy operation does one step of a quarter round of all."""
    import numpy as np  # 30 MiB that an SDK user's process need not have

    blocks = np.frombuffer(pairs, dtype="<u4").reshape(-1, 16).T.astype(np.uint32)  # (word, pair), contiguous
    scratch = np.empty((4, blocks.shape[1]), dtype=np.uint32)

    def rotate(words: np.ndarray, right: int) -> None:
        np.left_shift(words, 32 - right, out=scratch)
        np.right_shift(words, right, out=words)
        np.bitwise_or(words, scratch, out=words)

    def quarter_rounds(x: Sequence[int], y: Sequence[int]) -> None:
        for operands, rotate_d, rotate_b in ((x, 16, 12), (y, 8, 7)):
            np.add(a, b, out=a)
            np.add(a, blocks.take(operands, axis=0), out=a)
            np.bitwise_xor(d, a, out=d)
            rotate(d, rotate_d)
            np.add(c, d, out=c)
            np.bitwise_xor(b, c, out=b)
            rotate(b, rotate_b)

    state = np.empty((16, blocks.shape[1]), dtype=np.uint32)
    state[:] = np.array((*IV, *IV[:4], 0, 0, BLOCK_LENGTH, PARENT), dtype=np.uint32)[:, np.newaxis]
    a, b, c, d = state[0:4], state[4:8], state[8:12], state[12:16]
    for schedule in MESSAGE_SCHEDULE:
        quarter_rounds(schedule[0:8:2], schedule[1:8:2])  # the columns
        b[:], c[:], d[:] = b[[1, 2, 3, 0]], c[[2, 3, 0, 1]], d[[3, 0, 1, 2]]
        quarter_rounds(schedule[8:16:2], schedule[9:16:2])  # the diagonals, turned into columns
        b[:], c[:], d[:] = b[[3, 0, 1, 2]], c[[2, 3, 0, 1]], d[[1, 2, 3, 0]]
    return (state[:8] ^ state[8:]).T.astype("<u4").tobytes()


def _leaf_cv(leaf: memoryview, counter: int) -> bytes:
    cv: Sequence[int] = IV
    last = max(0, len(leaf) - 1) // BLOCK_LENGTH * BLOCK_LENGTH
    for start in range(0, last + 1, BLOCK_LENGTH):
        block = bytes(leaf[start : start + BLOCK_LENGTH])
        flags = (CHUNK_START if start == 0 else 0) | (CHUNK_END if start == last else 0)
        cv = _compress(cv, _BLOCK.unpack(block.ljust(BLOCK_LENGTH, b"\0")), counter, len(block), flags)
    return _CV.pack(*cv)


def _root_of_pair(pair: bytes) -> bytes:
    return root_digest(pair[:DIGEST_LENGTH], pair[DIGEST_LENGTH:])


def _parent(left: bytes, right: bytes, flags: int) -> bytes:
    _require_32_bytes("left", left)
    _require_32_bytes("right", right)
    return _CV.pack(*_compress(IV, _BLOCK.unpack(left + right), 0, BLOCK_LENGTH, flags))


def _compress(cv: Sequence[int], block: tuple[int, ...], counter: int, length: int, flags: int) -> tuple[int, ...]:
    """BLAKE3's compression function, truncated to the 8 words that are the next chaining value (or the digest)."""
    v0, v1, v2, v3, v4, v5, v6, v7 = cv
    v8, v9, va, vb = IV[:4]
    vc, vd, ve, vf = counter & _MASK, counter >> 32, length, flags
    for schedule in MESSAGE_SCHEDULE:
        m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, ma, mb, mc, md, me, mf = [block[word] for word in schedule]
        v0, v4, v8, vc = _quarter_round(v0, v4, v8, vc, m0, m1)
        v1, v5, v9, vd = _quarter_round(v1, v5, v9, vd, m2, m3)
        v2, v6, va, ve = _quarter_round(v2, v6, va, ve, m4, m5)
        v3, v7, vb, vf = _quarter_round(v3, v7, vb, vf, m6, m7)
        v0, v5, va, vf = _quarter_round(v0, v5, va, vf, m8, m9)
        v1, v6, vb, vc = _quarter_round(v1, v6, vb, vc, ma, mb)
        v2, v7, v8, vd = _quarter_round(v2, v7, v8, vd, mc, md)
        v3, v4, v9, ve = _quarter_round(v3, v4, v9, ve, me, mf)
    return v0 ^ v8, v1 ^ v9, v2 ^ va, v3 ^ vb, v4 ^ vc, v5 ^ vd, v6 ^ ve, v7 ^ vf


def _quarter_round(a: int, b: int, c: int, d: int, x: int, y: int) -> tuple[int, int, int, int]:
    a = (a + b + x) & _MASK
    d ^= a
    d = (d >> 16) | (d << 16) & _MASK
    c = (c + d) & _MASK
    b ^= c
    b = (b >> 12) | (b << 20) & _MASK
    a = (a + b + y) & _MASK
    d ^= a
    d = (d >> 8) | (d << 24) & _MASK
    c = (c + d) & _MASK
    b ^= c
    b = (b >> 7) | (b << 25) & _MASK
    return a, b, c, d


def _require_32_bytes(what: str, value: bytes) -> None:
    if len(value) != DIGEST_LENGTH:
        raise ValueError(f"{what} is {DIGEST_LENGTH} bytes, not {len(value)}")
