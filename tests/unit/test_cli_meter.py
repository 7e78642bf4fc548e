"""Progress outside of a terminal, and what people type: lines that are few and true, quantities that are exact."""

from __future__ import annotations

import click
import pytest

from sealane.cli import meter, quantities

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_at_every_tenth_with_rate_and_remaining_time() -> None:
    said: list[str] = []
    clock = Clock()
    lines = meter._Lines(said.append, clock)
    for done in range(101):
        lines.show(done * MIB, 100 * MIB)
        clock.now += 0.1
    assert len(said) == 11
    assert said[0] == "  0%  0 B of 100 MiB"
    assert said[5] == " 50%  50.0 MiB of 100 MiB  10.0 MiB/s  5 s left"
    assert said[-1].startswith("100%  100 MiB of 100 MiB  10.0 MiB/s")


def test_a_slow_upload_says_something_every_ten_seconds_and_a_stalled_one_does_not() -> None:
    said: list[str] = []
    clock = Clock()
    lines = meter._Lines(said.append, clock)
    for second in range(31):
        lines.show(second * 1000, 1000 * MIB)
        clock.now += 1
    assert len(said) == 4
    for _ in range(30):
        lines.show(30_000, 1000 * MIB)
        clock.now += 1
    assert len(said) <= 5


def test_a_broken_stream_repeats_no_line() -> None:
    """What was in flight is lost: the share falls, and no line is said twice."""
    said: list[str] = []
    clock = Clock()
    lines = meter._Lines(said.append, clock)
    for done in (0, 50, 20, 30, 60):
        lines.show(done * MIB, 100 * MIB)
    assert [line.split()[0] for line in said] == ["0%", "50%", "60%"]


def test_what_was_resumed_does_not_count_for_the_rate() -> None:
    clock = Clock()
    pace = meter.Pace(clock)
    assert pace.rate(0, 0) == 0, "the server has not said yet what it has"
    clock.now += 1
    assert pace.rate(500 * MIB, 500 * MIB) == 0
    clock.now += 1
    assert pace.rate(520 * MIB, 500 * MIB) == 10 * MIB


def test_an_upload_that_is_over_at_the_first_look_has_a_rate() -> None:
    clock = Clock()
    pace = meter.Pace(clock)
    clock.now += 0.5
    assert pace.rate(5 * MIB, 0) == 10 * MIB


def test_the_rate_forgets_a_stall() -> None:
    clock = Clock()
    pace = meter.Pace(clock)
    pace.rate(0, 0)
    clock.now += 60  # the server was away
    done = 1
    pace.rate(done, 0)
    for _ in range(70):
        clock.now += 0.1
        done += MIB
        rate = pace.rate(done, 0)
    assert rate == pytest.approx(10 * MIB, rel=0.05)


def convert(callback: object, value: object) -> object:
    context = click.Context(click.Command("c"))
    return callback(context, click.Option(["--x"]), value)  # type: ignore[operator]  # each callback's own type


@pytest.mark.parametrize(
    ("text", "value"),
    [("8388608", 8 * MIB), ("8M", 8 * MIB), ("8MiB", 8 * MIB), ("8 MB", 8 * MIB), ("1k", 1024), ("2T", 2 << 40)],
)
def test_a_size_is_exact(text: str, value: int) -> None:
    assert convert(quantities.size, text) == value


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("15m", 900), ("7d", 604_800)])
def test_a_duration_is_in_seconds(text: str, value: float) -> None:
    assert convert(quantities.duration, text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "8X", "MiB", "0x10", "١"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        convert(quantities.size, text)


@pytest.mark.parametrize("text", ["", "-1", "1w", "h", "nan", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        convert(quantities.duration, text)


def test_a_value_may_hold_an_equals_sign_and_a_name_comes_once() -> None:
    assert convert(quantities.pairs, ("a=b=c", "d=")) == {"a": "b=c", "d": ""}
    with pytest.raises(click.BadParameter):
        convert(quantities.pairs, ("a=1", "a=2"))
