"""The resume journal: whole or absent after any crash, one upload's at a time, and never believed blindly."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.client.journal import Journal, JournalEntry, default_directory, default_path
from sealane.client.source import FileIdentity

ENTRY = JournalEntry(
    endpoint="127.0.0.1:7301",
    path="/films/a.mov",
    size=5,
    mtime_ns=7,
    inode=9,
    parameters="ff",
    request_id="r",
    chunk_size=8,
    session_id="0" * 32,
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "deep" / "journal.json")
    assert journal.acquire()
    return journal


def test_what_was_saved_is_loaded_by_another_process_of_the_same_user(journal: Journal) -> None:
    assert journal.load() is None
    journal.save(ENTRY)
    assert Journal(journal.path).load() == ENTRY
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    journal.save(replace(ENTRY, size=6))
    assert journal.load() == replace(ENTRY, size=6)
    journal.remove()
    journal.remove()
    assert journal.load() is None


@settings(deadline=None)  # files and loops take their time
@given(cut=st.integers(0, 400))
def test_a_torn_journal_is_no_journal(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "j.json")
    journal.save(ENTRY)
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:cut])
    assert journal.load() == (ENTRY if cut >= len(whole) else None)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'"text"', json.dumps({"version": 2}).encode()],
)
def test_a_foreign_file_is_no_journal(journal: Journal, content: bytes) -> None:
    journal.path.write_bytes(content)
    assert journal.load() is None


@pytest.mark.parametrize(
    ("name", "value"), [("size", "5"), ("size", None), ("path", 5), ("size", True), ("version", 2), ("extra", 1)]
)
def test_a_journal_with_a_wrong_field_is_no_journal(journal: Journal, name: str, value: object) -> None:
    journal.save(ENTRY)
    journal.path.write_text(json.dumps(json.loads(journal.path.read_text()) | {name: value}))
    assert journal.load() is None


def test_a_save_that_dies_leaves_the_old_journal(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.save(ENTRY)

    def die(*_: object) -> None:
        raise OSError("the disk is full")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, die)
            with pytest.raises(OSError, match="full"):
                journal.save(replace(ENTRY, size=6))
        assert Journal(journal.path).load() == ENTRY


def test_bytes_are_on_disk_before_the_name_is(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for call in ("fsync", "replace"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, lambda *a, real=real, call=call: (order.append(call), real(*a))[1])
    journal.save(ENTRY)
    assert order == ["fsync", "replace", "fsync"]


def test_one_upload_holds_it_at_a_time_also_across_processes(journal: Journal) -> None:
    assert not Journal(journal.path).acquire()
    program = "import sys, pathlib\nfrom sealane.client.journal import Journal\n"
    program += "print(Journal(pathlib.Path(sys.argv[1])).acquire())"
    asked = [sys.executable, "-c", program, str(journal.path)]
    assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == "False"
    journal.release()
    assert not list(journal.path.parent.glob("*.lock"))
    # A process that ends without a word gives it back.
    assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == "True"
    assert Journal(journal.path).acquire()


def test_a_lock_file_that_its_holder_removed_meanwhile_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "j.json"
    first = Journal(path)
    assert first.acquire()
    descriptor = os.open(tmp_path / "j.json.lock", os.O_RDWR)
    first.release()
    second = Journal(path)
    assert second.acquire()
    assert os.stat(tmp_path / "j.json.lock").st_ino != os.fstat(descriptor).st_ino
    os.close(descriptor)
    second.release()


@pytest.mark.parametrize(
    "other",
    [{"endpoint": "x:2"}, {"path": "/films/b.mov"}, {"size": 6}, {"mtime_ns": 8}, {"inode": 10}, {"parameters": "00"}],
    ids=str,
)
def test_an_upload_of_another_file_version_or_place_is_another_one(other: dict[str, object]) -> None:
    """A file that was renamed over another of the same size and time has an inode of its own."""
    assert replace(ENTRY, **other).key != ENTRY.key  # type: ignore[arg-type]  # by name
    assert replace(ENTRY, request_id="s", chunk_size=0, session_id="").key == ENTRY.key


def test_it_lives_under_the_users_state_and_each_file_and_server_has_its_own(tmp_path: Path) -> None:
    assert default_directory({"XDG_STATE_HOME": "/state"}) == Path("/state/sealane/uploads")
    assert default_directory({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/sealane/uploads"
    assert default_directory({}) == Path.home() / ".local/state/sealane/uploads"
    one = FileIdentity("/a", 1, 2, 3)
    paths = {
        default_path(tmp_path, "x:1", one),
        default_path(tmp_path, "x:2", one),
        default_path(tmp_path, "x:1", replace(one, path="/b")),
    }
    assert len(paths) == 3
    assert default_path(tmp_path, "x:1", replace(one, size=9)) in paths
