"""How far a `sealane put` is: its session, its progress and its warnings, as they come."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sealane.cli import text
from sealane.cli.meter import Meter
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import Progress

PROGRESS_EVERY_SECONDS = 0.2


@dataclass(slots=True)
class Upload:
    """One `put`: what was asked for, and what is known so far."""

    file: str
    output: Output
    progress_records: bool
    resumable: bool
    """The same command line finds the session again: a regular file, and a journal."""
    options: dict[str, Any]
    session_id: str = ""
    started: float = field(default_factory=time.monotonic)
    stored: int = -1
    resumed: int = 0

    @property
    def piped(self) -> bool:
        return self.file == "-"


class Reporter:
    """Passes on the newest progress a few times a second, however often it changes.

    Between two of them the SDK's numbers settle: a chunk that was just acknowledged is for a moment both stored and
    in flight.
    """

    def __init__(self, upload: Upload, shown: Meter) -> None:
        self._upload = upload
        self._meter = shown
        self._latest: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, progress: Progress) -> None:
        self._latest = progress
        if progress.session_id != self._upload.session_id:
            self._session(progress.session_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PROGRESS_EVERY_SECONDS, self.flush)

    def flush(self) -> None:
        """Show the newest now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._latest is not None:
            self._show(self._latest)

    def _session(self, session_id: str) -> None:
        """Which session it is, at once: whoever interrupts the upload needs its name."""
        self._upload.session_id = session_id
        self._upload.output.note(f"session {session_id}")
        if self._upload.progress_records:
            self._upload.output.record({"event": "session", "session_id": session_id})

    def _show(self, progress: Progress) -> None:
        from sealane.cli import shapes
        from sealane.client import Phase

        upload = self._upload
        if progress.bytes_resumed and not upload.resumed:
            upload.resumed = progress.bytes_resumed
            upload.output.note(f"resumed: {text.size(progress.bytes_resumed)} had arrived before")
        if upload.progress_records and progress.bytes_stored != upload.stored:
            upload.stored = progress.bytes_stored
            upload.output.record({"event": "progress", **shapes.progress(progress)})
        retried = f"{progress.retries} retr{'y' if progress.retries == 1 else 'ies'}" if progress.retries else ""
        self._meter.show(
            progress.bytes_stored + progress.bytes_in_flight,
            progress.bytes_total,
            already=progress.bytes_resumed,
            note="committing" if progress.phase is Phase.COMMITTING else retried,
        )


class _Notes(logging.Handler):
    """What the SDK logs, as notes: never between lines of JSON."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(f"sealane: {record.getMessage()}")


def log_to(output: Output) -> None:
    """Show the SDK's warnings as notes."""
    logging.getLogger().addHandler(_Notes(output))
