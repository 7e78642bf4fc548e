"""The line of `sealane doctor` that says what is still tried: on a terminal alone."""

from __future__ import annotations

import sys

import pytest

from sealane.cli.asking import Asking
from sealane.cli.output import Output


def draw(output: Output) -> None:
    with Asking(output) as asking:
        for guarantee in ("R1", "R2"):
            asking.began(guarantee)
        for guarantee in ("R2", "R1"):
            asking.ended(guarantee)
            asking.go_on()


def test_a_terminal_shows_what_has_no_row_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    draw(Output())
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.split("\r\x1b[K")[1:] == [
        "reaching the store …",
        "trying R1 …",
        "trying R1, R2 …",
        "",
        "trying R1 …",
        "",
        "removing what was written …",
        "",
    ]


@pytest.mark.parametrize("output", [Output(), Output(as_json=True), Output(quiet=True)], ids=str)
def test_nothing_else_shows_anything(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    draw(output)
    assert capsys.readouterr() == ("", "")
