"""What one upload knows: which chunks there are, which are stored, and how it all adds up for the progress."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sealane.client.progress import Phase, Progress, ProgressCallback
from sealane.client.results import BrokenStream
from sealane.domain.chunks import ChunkRange, Receipt


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """One chunk as the first pass over the source saw it."""

    length: int
    digest: bytes
    """Its BLAKE3, 32 bytes."""


class Ledger:
    """Used on the event loop alone, by all tasks of one upload."""

    def __init__(self, session_id: str, chunk_size: int, size: int | None, report: ProgressCallback | None) -> None:
        self.session_id = session_id
        self.chunk_size = chunk_size
        self.seen: dict[int, ChunkFacts] = {}
        self.sealed = False
        """The decision to commit stands: no more chunks are sent, the commit says what became of them."""
        self.bytes_sent = 0
        self.streams = 0
        self.retries = 0
        self.corrupt: Counter[int] = Counter()
        """How often the server said of a chunk that it arrived with other bytes."""
        self._report = report
        self._begun_on: dict[int, int] = {}
        """Chunk -> the latest stream that began to send it."""
        self._sent_again: Counter[int] = Counter()
        """Stream -> the chunks begun on it that another one began again."""
        self._broken: dict[int, str] = {}
        self._held: dict[int, tuple[int, bytes]] = {}
        self._stored: set[int] = set()
        count = None if size is None else -(-size // chunk_size)
        self._progress = Progress(Phase.STARTING, session_id, size, 0, 0, 0, count, 0, 0)

    @property
    def bytes_resumed(self) -> int:
        return self._progress.bytes_resumed

    @property
    def chunks_sent_again(self) -> int:
        return self._sent_again.total()

    @property
    def broken_streams(self) -> tuple[BrokenStream, ...]:
        return tuple(BrokenStream(reason, self._sent_again[stream]) for stream, reason in self._broken.items())

    def held_by_server(self, receipts: Iterable[Receipt]) -> None:
        """What the server had before this run."""
        self._held = {receipt.index: (receipt.length, receipt.blake3) for receipt in receipts}

    def differs_from_server(self, index: int) -> bool:
        """Whether the server holds other bytes under ``index`` than the source has."""
        held, facts = self._held.get(index), self.seen[index]
        return held is not None and held != (facts.length, facts.digest)

    def resumed(self, index: int) -> bool:
        """Count chunk ``index`` as stored before this run, if it was; whether it was."""
        if index not in self._held and not self.sealed:
            return False
        length = self.seen[index].length
        self._stored.add(index)
        self._change(
            bytes_stored=self._progress.bytes_stored + length,
            bytes_resumed=self._progress.bytes_resumed + length,
            chunks_stored=len(self._stored),
        )
        return True

    def store(self, index: int, *, landed: int = 0) -> bool:
        """The server has chunk ``index``; whether that is news. ``landed`` bytes of it were in flight until now."""
        news = index not in self._stored
        self._stored.add(index)
        self._change(
            bytes_stored=self._progress.bytes_stored + (self.seen[index].length if news else 0),
            bytes_in_flight=self._progress.bytes_in_flight - landed,
            chunks_stored=len(self._stored),
        )
        return news

    def unstore(self, indexes: Iterable[int]) -> None:
        """The server asks for these chunks again."""
        gone = self._stored.intersection(indexes)
        self._stored -= gone
        lost = sum(self.seen[index].length for index in gone)
        self._change(bytes_stored=self._progress.bytes_stored - lost, chunks_stored=len(self._stored))

    def open_stream(self) -> int:
        """Count a stream; its number."""
        self.streams += 1
        return self.streams

    def begin(self, index: int, stream: int) -> None:
        """Chunk ``index`` is about to go out on that stream, from its beginning. What is cut off counts as sent: some
        of it may be on the wire by then."""
        if (before := self._begun_on.get(index)) is not None:
            self._sent_again[before] += 1
        self._begun_on[index] = stream

    def stream_broke(self, stream: int, reason: str) -> None:
        self._broken[stream] = reason

    def sent(self, count: int) -> None:
        """``count`` bytes of a chunk went out."""
        self.bytes_sent += count
        self._change(bytes_in_flight=self._progress.bytes_in_flight + count)

    def dropped(self, count: int) -> None:
        """A stream has ended without an acknowledgement of ``count`` bytes that it had sent."""
        if count:
            self._change(bytes_in_flight=self._progress.bytes_in_flight - count)

    def retried(self) -> None:
        self.retries += 1
        self._change(retries=self.retries)

    def enter(self, phase: Phase) -> None:
        self._change(phase=phase)

    def complete(self, size: int, chunk_count: int) -> None:
        """The whole source was read."""
        self._change(bytes_total=size, chunks_total=chunk_count)

    def _change(self, **values: object) -> None:
        self._progress = dataclasses.replace(self._progress, **values)  # type: ignore[arg-type]
        if self._report is not None:
            self._report(self._progress)


def stored_indexes(stored_chunks: int, missing: Iterable[ChunkRange]) -> set[int]:
    """The chunks that a coverage says are stored; ``missing`` must be all that is missing below the highest one."""
    absent = {index for gap in missing for index in range(gap.first, gap.last + 1)}
    return set(range(stored_chunks + len(absent))) - absent
