"""Sizes, times and coverage as people read them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sealane.domain.chunks import ChunkRange

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
BAR_CELLS = 40
FULL, PARTIAL, EMPTY = "█", "▒", "░"
_ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal would act upon, or show in another order: control characters, line separators, bidi marks."""
_ASCII = str.maketrans(f"{FULL}{PARTIAL}{EMPTY}", "#+.")


def size(count: float) -> str:
    """``44.6 MiB``: three digits that matter, binary units."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{int(count)} B" if unit == "B" else f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def printable(value: str) -> str:
    """In one line, as it stands: a key in the bucket, or a line of a log, may be anybody's, and is no command here."""
    return _ACTS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), value)


def exact_size(count: int) -> str:
    """``44.6 MiB (46,764,192 bytes)``: human and exact."""
    exact = f"{count:,} byte{'' if count == 1 else 's'}"
    return exact if count < 1024 else f"{size(count)} ({exact})"


def rate(bytes_a_second: float) -> str:
    return f"{size(bytes_a_second)}/s"


def duration(seconds: float) -> str:
    """``3 s``, ``2 min 5 s``, ``1 h 4 min``, ``2 d 3 h``: the two largest units."""
    whole = max(0, round(seconds))
    parts = [
        (whole // 86_400, "d"),
        (whole % 86_400 // 3600, "h"),
        (whole % 3600 // 60, "min"),
        (whole % 60, "s"),
    ]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    return " ".join(f"{value} {unit}" for value, unit in parts[:2] if value or len(parts) == 1)


def moment(when: datetime) -> str:
    """UTC, to the second: ``2026-01-02 03:04:05 UTC``."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def distance(when: datetime, now: datetime) -> str:
    """``in 23 h 59 min`` or ``2 min ago``."""
    away = when - now
    return f"in {duration(away.total_seconds())}" if away > timedelta(0) else f"{duration(-away.total_seconds())} ago"


def ranges(missing: Iterable[ChunkRange], *, shown: int = 12) -> str:
    """``0, 3-5, 9``, with an ellipsis behind the first ``shown``."""
    listed = [str(r) for r in missing]
    return ", ".join(listed[:shown]) + (", …" if len(listed) > shown else "")


def coverage_bar(count: int, missing: Iterable[ChunkRange], *, cells: int = BAR_CELLS) -> str:
    """``count`` chunks in ``cells`` cells: all there, some there, none there. An object without chunks is all there."""
    if count <= 0:
        return FULL * cells
    gaps = list(missing)
    return "".join(_cell(i * count / cells, (i + 1) * count / cells, gaps) for i in range(cells))


def ascii_only(bar: str) -> str:
    """The bar for a terminal without Unicode."""
    return bar.translate(_ASCII)


def _cell(first: float, end: float, gaps: list[ChunkRange]) -> str:
    """The cell that covers chunk positions first…end (fractions of a chunk where there are fewer chunks than cells)."""
    away = sum(max(0.0, min(end, gap.last + 1) - max(first, gap.first)) for gap in gaps)
    if away <= 1e-9:
        return FULL
    return EMPTY if away >= (end - first) - 1e-9 else PARTIAL
