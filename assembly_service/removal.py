"""What a removal has removed, by kind: counts and bytes, for the answer of a delete and of an audit that repairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a session is made of, in the order in which answers name it."""

    OBJECT = "object"
    UPLOAD = "upload"
    PART = "part"
    RECEIPT = "receipt"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Removal:
    """``count`` things of one kind, with ``size`` bytes in their bodies."""

    kind: Kind
    count: int
    size: int


class Removed:
    """Counts what was seen and then confirmed to be gone. Two who remove one thing at once may both count it."""

    def __init__(self) -> None:
        self._seen: dict[Kind, dict[str, int]] = {}

    def add(self, kind: Kind, name: str, size: int) -> None:
        """``name`` tells things of a kind apart: what is deleted, shown again and deleted again counts once."""
        self._seen.setdefault(kind, {})[name] = size

    def __iter__(self) -> Iterator[Removal]:
        """Kinds of which something was removed."""
        for kind in Kind:
            if sizes := self._seen.get(kind):
                yield Removal(kind, len(sizes), sum(sizes.values()))
