"""A chunk as it is known once its bytes are verified: its receipt, and ranges of chunk indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class ChunkRange:
    """Chunks ``first``…``last``, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class ChunkDigests:
    """A chunk and the BLAKE3 (32 bytes each, or None if unknown) that was expected and that was found."""

    index: int
    expected: bytes | None = None
    actual: bytes | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that one chunk is verified and stored; all of it stands in a zero-byte object's key (section 3).

    ``blake3``, ``chaining_value`` and ``sha256`` are 32 raw bytes each; ``etag`` is the stored part's, without quotes.
    """

    index: int
    length: int
    blake3: bytes
    chaining_value: bytes
    sha256: bytes
    etag: str
    store_time: datetime | None = field(default=None, compare=False)
    """When it was written, by the store's clock; None where nobody asked the store."""

    @property
    def part_number(self) -> int:
        """S3 numbers parts from 1."""
        return self.index + 1

    def same_bytes(self, other: Receipt) -> bool:
        return self.blake3 == other.blake3 and self.length == other.length
