"""What CMU refused: compares the decision's part list with the parts that the store holds. Pure.

protocol.md section 6, row "InvalidPart, BadDigest", and C3's choice among several ETags. A store may keep several rows
of one part, and its times are whole seconds: of the rows that share the newest second any may be the newest.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealane.domain.chunks import Receipt
from sealane.domain.decision import DecidedPart
from sealane.store.port import ListedPart, Part


@dataclass(frozen=True, slots=True)
class Mending:
    """``parts``: what to name in the next CMU. ``differing``: indexes of which the store holds other bytes, or none."""

    parts: tuple[Part, ...]
    differing: tuple[int, ...]


def newest_rows(rows: Iterable[ListedPart]) -> dict[int, list[ListedPart]]:
    """By part number: the newest row, or those that share its time."""
    newest: dict[int, list[ListedPart]] = {}
    for row in rows:
        kept = newest.get(row.number)
        if kept is None or row.last_modified > kept[0].last_modified:
            newest[row.number] = [row]
        elif row.last_modified == kept[0].last_modified:
            kept.append(row)
    return newest


def part_list(decided: Sequence[DecidedPart]) -> tuple[Part, ...]:
    """The decision's own list, as CMU names it."""
    return tuple(Part(number, part.etag, part.sha256) for number, part in enumerate(decided, start=1))


def mend(decided: Sequence[DecidedPart], rows: Iterable[ListedPart]) -> Mending:
    """The newest row per part: its ETag differs and it carries our SHA-256 → it is named instead."""
    newest = newest_rows(rows)
    parts: list[Part] = []
    differing: list[int] = []
    for index, wanted in enumerate(decided):
        found = newest.get(index + 1, [])
        etag = wanted.etag
        if not any(row.etag == etag and _may_be(row, wanted) for row in found):
            ours = next((row.etag for row in found if row.sha256 is not None and _may_be(row, wanted)), None)
            if ours is None:
                differing.append(index)
            else:
                etag = ours
        parts.append(Part(index + 1, etag, wanted.sha256))
    return Mending(tuple(parts), tuple(differing))


def _may_be(row: ListedPart, wanted: DecidedPart) -> bool:
    return row.sha256 is None or hmac.compare_digest(row.sha256, wanted.sha256)


def choose_receipt(group: Sequence[Receipt], rows: Iterable[ListedPart]) -> Receipt:
    """C3: of receipts with the same bytes and several ETags, the one that the newest row of the part names.

    If it names none of them, any: CMU then refuses the part, and the row of section 6 mends it.
    """
    newest = newest_rows(rows).get(group[0].part_number, [])
    etags = {row.etag for row in newest}
    return next((receipt for receipt in group if receipt.etag in etags), group[-1])
