"""Files that are read again: what is good takes effect, what is broken never does, and an operator hears of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from sealane.reloaded import MAX_BYTES, Reloaded


def number(contents: Sequence[bytes]) -> int:
    return int(contents[0])  # ValueError for anything else


@pytest.fixture
def lines() -> list[Any]:
    return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def reloaded(file: Path, lines: list[Any]) -> Reloaded[int]:
    capture = structlog.testing.LogCapture()
    capture.entries = lines
    return Reloaded("number", [file], number, log=structlog.wrap_logger(None, processors=[capture]))


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_a_new_content_takes_effect_and_is_said_once(file: Path, lines: list[Any]) -> None:
    loaded = reloaded(file, lines)
    assert not loaded.look()
    replace(file, "2")
    assert loaded.value == 1
    assert loaded.look()
    assert loaded.value == 2
    assert not loaded.look()
    assert events(lines) == ["reloaded"]


def test_a_symlink_that_is_turned_is_a_new_content(tmp_path: Path, lines: list[Any]) -> None:
    """As Kubernetes exchanges a Secret's files."""
    for name, text in (("v1", "1"), ("v2", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "number").write_text(text)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "number").symlink_to("..data/number")
    loaded = reloaded(tmp_path / "number", lines)
    (tmp_path / "..new").symlink_to("v2")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert loaded.look()
    assert loaded.value == 2


@pytest.mark.parametrize("how", ["broken", "gone", "endless"])
def test_what_cannot_be_read_keeps_what_was_and_alarms_at_the_second_look(
    file: Path, lines: list[Any], how: str
) -> None:
    """A writer caught in the act is no alarm; what stays broken is one, once."""
    loaded = reloaded(file, lines)
    if how == "gone":
        file.unlink()
    else:
        file.write_text("x" if how == "broken" else "1" * (MAX_BYTES + 1))
    assert not loaded.look()
    assert events(lines) == []
    for _ in range(3):
        assert not loaded.look()
    assert events(lines) == ["reload_failed"]
    assert lines[0]["alarm"]
    assert loaded.value == 1
    replace(file, "3")
    assert loaded.look()
    assert loaded.value == 3
    replace(file, "y")
    loaded.look()
    loaded.look()
    assert events(lines) == ["reload_failed", "reloaded", "reload_failed"]


def test_what_is_broken_at_the_start_is_the_callers_to_know(tmp_path: Path, lines: list[Any]) -> None:
    with pytest.raises(OSError, match="number"):
        reloaded(tmp_path / "number", lines)
    (tmp_path / "number").write_text("x")
    with pytest.raises(ValueError, match="invalid"):
        reloaded(tmp_path / "number", lines)


async def test_watching_looks_again_and_again(file: Path, lines: list[Any]) -> None:
    loaded = reloaded(file, lines)
    watching = asyncio.create_task(loaded.watch(every=0.001))
    try:
        for text in ("2", "3"):
            replace(file, text)
            async with asyncio.timeout(20):
                while loaded.value != int(text):  # noqa: ASYNC110 - what another thread does
                    await asyncio.sleep(0.001)
    finally:
        watching.cancel()
