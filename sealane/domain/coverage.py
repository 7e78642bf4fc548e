"""Coverage: which chunks of a session have arrived, said by its receipts alone.

Order of arrival means nothing; two receipts of one index with the same BLAKE3 are one chunk stored twice; with
different BLAKE3 they are a conflict that blocks the commit (protocol.md sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.limits import ChunkPlan


def missing_ranges(present: Iterable[int], count: int) -> Iterator[ChunkRange]:
    """The gaps in ``present`` (distinct, ascending) within 0…count-1, ascending."""
    expected = 0
    for index in present:
        if index >= count:
            break
        if index > expected:
            yield ChunkRange(expected, index - 1)
        expected = index + 1
    if expected < count:
        yield ChunkRange(expected, count - 1)


@dataclass(frozen=True, slots=True)
class PrefixDigest:
    """The rolling hash: canonical BLAKE3 of the first ``size`` bytes, the chunks 0…chunks-1."""

    chunks: int
    size: int
    blake3: bytes


@dataclass(frozen=True, slots=True)
class Coverage:
    """What has arrived of one session.

    ``missing`` has every hole if the size is known, else the holes below the highest chunk that arrived.
    ``conflicting`` are indexes with receipts of different bytes; ``complete`` is False while there are any.
    """

    stored_chunks: int
    stored_bytes: int
    missing: tuple[ChunkRange, ...]
    conflicting: tuple[int, ...]
    prefix: PrefixDigest
    complete: bool


def by_index(receipts: Iterable[Receipt]) -> dict[int, list[Receipt]]:
    """Receipts grouped by chunk, in ascending order of the indexes."""
    groups: dict[int, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(receipt.index, []).append(receipt)
    return dict(sorted(groups.items()))


def conflicting_indexes(groups: dict[int, list[Receipt]]) -> tuple[int, ...]:
    """Chunks whose receipts name different bytes."""
    return tuple(
        index
        for index, group in groups.items()
        if len(group) > 1 and any(not group[0].same_bytes(other) for other in group[1:])
    )


def coverage(receipts: Iterable[Receipt], plan: ChunkPlan) -> Coverage:
    """Coverage as the receipts say it. Receipts outside the plan count as bytes stored, not as coverage."""
    groups = by_index(receipts)
    conflicts = conflicting_indexes(groups)
    count = plan.count if plan.count is not None else (max(groups, default=-1) + 1)
    missing = tuple(missing_ranges(groups, count))
    prefix = _prefix(groups, plan, count, frozenset(conflicts))
    return Coverage(
        stored_chunks=len(groups),
        stored_bytes=sum(group[0].length for group in groups.values()),
        missing=missing,
        conflicting=conflicts,
        prefix=prefix,
        complete=plan.count is not None and not missing and not conflicts,
    )


def _prefix(groups: dict[int, list[Receipt]], plan: ChunkPlan, count: int, conflicts: frozenset[int]) -> PrefixDigest:
    hashes: list[ChunkHash] = []
    size = 0
    for index in range(count):
        group = groups.get(index)
        if group is None or index in conflicts:
            break
        receipt = group[0]
        hashes.append(ChunkHash(receipt.blake3, receipt.chaining_value))
        size += receipt.length
        if receipt.length != plan.chunk_size:
            break  # a short chunk is the last one: no prefix reaches beyond it
    return PrefixDigest(len(hashes), size, object_digest(hashes))
