"""What requests are held to, and how an object is cut into chunks.

Limits are a value object: the services run with :data:`DEFAULT_LIMITS`, tests and the simulation with tiny chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealane.domain.errors import ChunkOutOfRange, InvalidRequest, InvalidSize

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
MAX_PARTS = 10_000
"""Parts of a multipart upload, at most (S3)."""
MIN_TREE_CHUNK = 1 << 10
"""A chunk must be a whole number of BLAKE3's own 1 KiB chunks, and a power of two, to be a subtree (BLAKE3, 2.1)."""


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, slots=True)
class Limits:
    """All sizes in bytes, all times in seconds."""

    max_frame_bytes: int = 1 * MiB
    min_chunk_bytes: int = 8 * MiB
    default_chunk_bytes: int = 8 * MiB
    unknown_size_chunk_bytes: int = 64 * MiB
    """So that an object of unknown size may still grow to 625 GiB."""
    max_chunk_bytes: int = 64 * MiB
    max_chunks: int = MAX_PARTS
    max_metadata_bytes: int = 1536
    default_ttl: int = 24 * 3600
    min_ttl: int = 60
    max_ttl: int = 30 * 24 * 3600
    max_missing_ranges: int = 64
    """Missing ranges listed in a reply: trailers of 12 KB fail a whole call."""
    chunks_per_stream: int = 16

    def __post_init__(self) -> None:
        for name in ("min_chunk_bytes", "default_chunk_bytes", "unknown_size_chunk_bytes", "max_chunk_bytes"):
            value = getattr(self, name)
            if not _power_of_two(value) or value < MIN_TREE_CHUNK:
                raise ValueError(f"{name} must be a power of two of at least {MIN_TREE_CHUNK}: {value}")
        if not 1 <= self.max_chunks <= MAX_PARTS:
            raise ValueError(f"max_chunks must be from 1 to {MAX_PARTS}: {self.max_chunks}")

    @property
    def max_object_bytes(self) -> int:
        return self.max_chunk_bytes * self.max_chunks

    def plan(self, size: int | None, chunk_size: int = 0) -> ChunkPlan:
        """Cut an object of ``size`` bytes (None: unknown) into chunks of ``chunk_size`` (0: the server picks).

        The server picks the smallest power of two from ``default_chunk_bytes`` that gives at most ``max_chunks``.
        Raises InvalidSize if it can't be done.
        """
        if size is not None and not 0 <= size <= self.max_object_bytes:
            raise InvalidSize(f"size is {size}; it must be from 0 to {self.max_object_bytes}.", field="size")
        if chunk_size == 0:
            chunk_size = self.unknown_size_chunk_bytes if size is None else self.default_chunk_bytes
            while size is not None and chunk_size < self.max_chunk_bytes and -(-size // chunk_size) > self.max_chunks:
                chunk_size *= 2
        if not _power_of_two(chunk_size) or not self.min_chunk_bytes <= chunk_size <= self.max_chunk_bytes:
            raise InvalidSize(
                f"chunk_size must be a power of two from {self.min_chunk_bytes} to {self.max_chunk_bytes}.",
                field="chunk_size",
            )
        plan = ChunkPlan(chunk_size=chunk_size, size=size, max_chunks=self.max_chunks)
        if plan.count is not None and plan.count > self.max_chunks:
            raise InvalidSize(
                f"{size} bytes in chunks of {chunk_size} make {plan.count} chunks; at most {self.max_chunks}. "
                "Leave chunk_size out and the server picks one that fits.",
                field="chunk_size",
            )
        return plan

    def ttl(self, seconds: float | None) -> int:
        """The ttl of a session that asks for ``seconds`` (None: names none), in whole seconds."""
        if seconds is None:
            return self.default_ttl
        if not self.min_ttl <= seconds <= self.max_ttl:
            raise InvalidRequest(f"ttl must be from {self.min_ttl} to {self.max_ttl} seconds.", field="ttl")
        return int(seconds)


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """How one object is cut. ``size`` is None while it is unknown."""

    chunk_size: int
    size: int | None = None
    max_chunks: int = MAX_PARTS

    @property
    def count(self) -> int | None:
        """Number of chunks; 0 for an empty object; None while the size is unknown."""
        return None if self.size is None else -(-self.size // self.chunk_size)

    def check_index(self, index: int) -> int:
        """``index`` itself; ChunkOutOfRange if the plan has no such chunk."""
        last = (self.max_chunks if self.count is None else self.count) - 1
        if not 0 <= index <= last:
            raise ChunkOutOfRange.of(index, "chunk_index", index, 0, last)
        return index

    def max_length(self, index: int) -> int:
        """Bytes that chunk ``index`` may have at most: its exact length if the size is known."""
        self.check_index(index)
        if self.size is None:
            return self.chunk_size
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def check_length(self, index: int, length: int) -> int:
        """``length`` itself; ChunkOutOfRange if chunk ``index`` can't have it (a chunk is never empty)."""
        maximum = self.max_length(index)
        minimum = 1 if self.size is None else maximum
        if not minimum <= length <= maximum:
            raise ChunkOutOfRange.of(index, "length", length, minimum, maximum)
        return length
