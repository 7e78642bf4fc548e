"""What an upload stream is made of, once it is off the wire (protocol.md section 4, wire.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Header:
    """The first message, and only the first. ``session_id`` is as it came: not checked yet."""

    session_id: str


@dataclass(slots=True)
class Frame:
    """A piece of a chunk. ``data`` may be a view of the message it came in: copy it, then :meth:`let_go`."""

    chunk_index: int | None
    offset: int
    data: bytes | memoryview
    blake3: bytes
    """Empty but on the chunk's last frame."""

    def let_go(self) -> None:
        """Free the data. Whoever iterates over gRPC's messages keeps the last one until the next is there: without
        this, a stream that waits for memory costs a frame of a MiB meanwhile (I13)."""
        self.data = b""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is neither. ``why`` is public."""

    why: str


StreamMessage: TypeAlias = Header | Frame | Malformed
