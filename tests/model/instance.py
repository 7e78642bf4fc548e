"""An instance: a few actors around one session or one key, with all that must hold there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.model.checker import Model, Verdict, check

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Instance:
    """``build(without, losses)``: the model with rules removed, and so many different calls without an answer.

    ``losses``: what the whole run takes, for the sake of size. A short run takes none.
    """

    name: str
    says: str
    properties: str
    build: Callable[[frozenset[str], int], Model[Any]]
    losses: int = 1

    def run(self, *, losses: int | None = None, without: frozenset[str] = NOTHING) -> Verdict:
        return check(self.build(without, self.losses if losses is None else losses))
