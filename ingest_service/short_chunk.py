"""While an object's size is unknown, its short chunk is its last one (protocol.md section 4)."""

from __future__ import annotations

from collections.abc import Iterable

from sealane.domain.chunks import Receipt
from sealane.domain.errors import ChunkOutOfRange


class ShortChunkRule:
    """What is known of a session's chunks, and what therefore can't be. Commit checks all of it again (C2)."""

    def __init__(self, chunk_size: int, receipts: Iterable[Receipt] = ()) -> None:
        self._chunk_size = chunk_size
        self._highest = -1
        self._short: int | None = None
        for receipt in receipts:
            self.note(receipt.index, receipt.length)

    def note(self, index: int, length: int) -> None:
        """Chunk ``index`` has arrived."""
        self._highest = max(self._highest, index)
        if length < self._chunk_size and (self._short is None or index < self._short):
            self._short = index

    def check_index(self, index: int) -> None:
        """ChunkOutOfRange for a chunk behind the short one."""
        if self._short is not None and index > self._short:
            raise ChunkOutOfRange.of(index, "chunk_index", index, 0, self._short)

    def check_length(self, index: int, length: int) -> None:
        """ChunkOutOfRange for a second short chunk, and for one with chunks behind it (of two, one is)."""
        self.check_index(index)
        if length < self._chunk_size and self._highest > index:
            raise ChunkOutOfRange.of(index, "length", length, self._chunk_size, self._chunk_size)
