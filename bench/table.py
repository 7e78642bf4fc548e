"""A figure with its target, and how figures are printed: a table for people, a dictionary for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """The bound that a figure should keep."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.bound)}"


def at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    return Target(bound)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median (or the worst) of ``samples``, the least and the greatest of them, and its target."""

    what: str
    value: float
    unit: str
    least: float
    greatest: float
    samples: int = 1
    target: Target | None = None

    @classmethod
    def of(cls, what: str, values: float | Sequence[float], unit: str, target: Target | None = None) -> Row:
        """The median of ``values``, which are in ``unit``."""
        listed = [values] if isinstance(values, int | float) else list(values)
        if not listed:
            raise ValueError(f"nothing was measured: {what}")
        return cls(what, statistics.median(listed), unit, min(listed), max(listed), len(listed), target)

    @classmethod
    def worst(cls, what: str, values: Sequence[float], unit: str, target: Target) -> Row:
        """The one of ``values`` that is furthest on the wrong side: for bounds that must hold every time."""
        row = cls.of(what, values, unit, target)
        return replace(row, value=row.least if target.at_least else row.greatest)

    @property
    def met(self) -> bool | None:
        """None: there is no target."""
        return None if self.target is None else self.target.met(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "min": self.least,
            "max": self.greatest,
            "samples": self.samples,
            "target": None if self.target is None else str(self.target),
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found. ``notes`` say how to read it."""

    name: str
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.met is False]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "rows": [row.as_json() for row in self.rows],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}", ""]
        lines += ["  " + line for line in _columns(_cells(self.rows))]
        lines += ["", *(f"  {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"


def _cells(rows: Iterable[Row]) -> list[list[str]]:
    cells = [["figure", "value", "unit", "min … max", "n", "target", ""]]
    for row in rows:
        spread = f"{number(row.least)} … {number(row.greatest)}" if row.samples > 1 else ""
        target = "" if row.target is None else str(row.target)
        verdict = {None: "", True: "pass", False: "MISS"}[row.met]
        cells.append([row.what, number(row.value), row.unit, spread, str(row.samples), target, verdict])
    return cells


def _columns(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            f"{cell:>{width}}" if column in (1, 4) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
