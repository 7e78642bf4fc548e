"""What a session's receipts tell of its upload: bursts of chunks, chunks stored again, chunks in conflict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.coverage import by_index

MAX_BURSTS = 24
"""An upload that trickles for days is told in so many lines: only its longest silences part them."""
MAX_RANGES = 64
"""Chunk ranges that one event lists."""
SILENCE = timedelta(seconds=10)
"""A gap between two chunks that is worth a new line."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``time`` by the store's clock; None if it does not say."""

    event: str
    text: str
    time: datetime | None = None
    fields: dict[str, str] = field(default_factory=dict)
    chunks: tuple[ChunkRange, ...] = ()


def tell(receipts: Iterable[Receipt]) -> Iterator[Event]:
    """Events in order of time. An index's first receipt is the chunk; more of the same bytes are the chunk again."""
    firsts: list[Receipt] = []
    again: list[Receipt] = []
    against: list[Receipt] = []
    for group in by_index(receipts).values():
        first, *others = sorted(group, key=_time)
        firsts.append(first)
        for other in others:
            (again if other.same_bytes(first) else against).append(other)
    for burst in bursts(sorted(firsts, key=_time)):
        yield _burst(burst)
    if again:
        times = [receipt.store_time for receipt in again if receipt.store_time is not None]
        text = f"{_chunks(len(again))} stored again with the same bytes: a retry, or two at once."
        yield Event("chunks_stored_again", text, min(times, default=None), _sums(again), _ranges(again))
    if against:
        times = [receipt.store_time for receipt in against if receipt.store_time is not None]
        text = f"{_chunks(len(against))} stored with OTHER bytes than before: the session can't be committed."
        yield Event("chunks_conflict", text, min(times, default=None), _sums(against), _ranges(against))


def bursts(receipts: Sequence[Receipt]) -> list[Sequence[Receipt]]:
    """``receipts``, in order of time, parted at silences: at the longest, if there are many."""
    silences = [
        (later.store_time - earlier.store_time, position)
        for position, (earlier, later) in enumerate(pairwise(receipts), start=1)
        if earlier.store_time is not None and later.store_time is not None
    ]
    longest = sorted((silence for silence in silences if silence[0] >= SILENCE), reverse=True)[: MAX_BURSTS - 1]
    cuts = [0, *sorted(position for _, position in longest), len(receipts)]
    return [receipts[begin:end] for begin, end in pairwise(cuts) if end > begin]


def _burst(burst: Sequence[Receipt]) -> Event:
    first, last = burst[0].store_time, burst[-1].store_time
    fields = _sums(burst)
    text = f"{_chunks(len(burst))} stored, {fields['bytes']} bytes"
    if first is not None and last is not None:
        fields["until"] = last.isoformat()
        seconds = (last - first).total_seconds()
        text += f", within {seconds:.0f} s" if seconds else ""
    return Event("chunks_stored", text + ".", first, fields, _ranges(burst))


def _sums(receipts: Sequence[Receipt]) -> dict[str, str]:
    fields = {"count": str(len(receipts)), "bytes": str(sum(receipt.length for receipt in receipts))}
    if len(_all_ranges(receipts)) > MAX_RANGES:
        fields["ranges_truncated"] = "true"
    return fields


def _ranges(receipts: Sequence[Receipt]) -> tuple[ChunkRange, ...]:
    return tuple(_all_ranges(receipts)[:MAX_RANGES])


def _all_ranges(receipts: Sequence[Receipt]) -> list[ChunkRange]:
    found: list[ChunkRange] = []
    for index in sorted({receipt.index for receipt in receipts}):
        if found and found[-1].last == index - 1:
            found[-1] = ChunkRange(found[-1].first, index)
        else:
            found.append(ChunkRange(index, index))
    return found


def _chunks(count: int) -> str:
    return "1 chunk" if count == 1 else f"{count:,} chunks"


def _time(receipt: Receipt) -> tuple[bool, float, int]:
    """Those of an ingest that tells no times come first, in order of their indexes."""
    moment = receipt.store_time
    return moment is not None, moment.timestamp() if moment else 0.0, receipt.index
