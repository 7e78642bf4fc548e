"""How far an upload has come, as its ``progress`` callback is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What an upload is doing."""

    STARTING = "STARTING"
    """Asking what the session has already."""
    SENDING = "SENDING"
    """Reading, hashing, and sending what the server does not have."""
    COMMITTING = "COMMITTING"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an upload. Rate and ETA are the caller's: it knows how often it draws."""

    phase: Phase
    session_id: str
    bytes_total: int | None
    """None while the size is unknown."""
    bytes_stored: int
    """Verified and durable, ``bytes_resumed`` included."""
    bytes_resumed: int
    """Of these, what the server had before this run."""
    bytes_in_flight: int
    """Sent, and not acknowledged yet. ``bytes_stored + bytes_in_flight`` is what a bar should draw; it falls when a
    stream breaks."""
    chunks_total: int | None
    chunks_stored: int
    retries: int
    """Streams and commits that had to be tried again so far."""


ProgressCallback = Callable[[Progress], None]
"""Called on the event loop's thread at every change (sync client: on the caller's thread): be quick."""
