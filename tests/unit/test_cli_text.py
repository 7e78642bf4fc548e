"""sealane.cli.text: what people read is short, exact where it must be, and never misleads about holes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.cli import text
from sealane.cli.output import table
from sealane.domain.chunks import ChunkRange
from sealane.domain.coverage import missing_ranges


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (46_764_192, "44.6 MiB"),
        (1 << 30, "1.00 GiB"),
        (625 << 30, "625 GiB"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_a_size_has_three_digits_and_a_binary_unit(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_an_exact_size_names_every_byte() -> None:
    assert text.exact_size(46_764_192) == "44.6 MiB (46,764,192 bytes)"
    assert text.exact_size(1) == "1 byte"
    assert text.exact_size(0) == "0 bytes"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3840, "1 h 4 min"), (86_400 + 7_260, "1 d 2 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_a_moment_is_utc_and_its_distance_has_a_direction() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert text.moment(now) == "2026-01-02 03:04:05 UTC"
    assert text.distance(now + timedelta(hours=2), now) == "in 2 h"
    assert text.distance(now - timedelta(seconds=3), now) == "3 s ago"


def test_the_bar_shows_where_the_holes_are() -> None:
    assert text.coverage_bar(10, [ChunkRange(0, 4)], cells=10) == "░" * 5 + "█" * 5
    assert text.coverage_bar(20, [ChunkRange(0, 0)], cells=10) == "▒" + "█" * 9
    assert text.coverage_bar(2, [ChunkRange(1, 1)], cells=10) == "█" * 5 + "░" * 5
    assert text.coverage_bar(0, [], cells=10) == "█" * 10
    assert text.ascii_only("█▒░") == "#+."


@given(count=st.integers(1, 300), absent=st.sets(st.integers(0, 299)), cells=st.integers(1, 80))
def test_a_missing_chunk_never_hides_behind_a_full_bar(count: int, absent: set[int], cells: int) -> None:
    """However many chunks share a cell, one hole (chunk 0, chunk 1, the last) shows."""
    absent = {index for index in absent if index < count}
    missing = list(missing_ranges(sorted(set(range(count)) - absent), count))
    bar = text.coverage_bar(count, missing, cells=cells)
    assert len(bar) == cells
    assert (set(bar) == {text.FULL}) == (not absent)
    assert (set(bar) == {text.EMPTY}) == (len(absent) == count)


def test_a_table_keeps_its_columns_apart() -> None:
    assert table(("a", "bb"), [("long", "x"), ("", "y")]) == "a     bb\nlong  x\n      y"
