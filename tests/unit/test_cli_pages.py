"""What people read of keys, audits and refusals: nothing left out, nothing made up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import click
import pytest

from sealane.cli import audit, key_page, put, shapes
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed, from_sealane, report
from sealane.cli.output import Output
from sealane.cli.put_progress import Upload
from sealane.client import (
    AuditCount,
    AuditFinding,
    AuditKind,
    AuditSummary,
    KeyHolder,
    KeyState,
    SessionState,
    errors,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ID = "0123456789abcdef" * 2
HOLDER = KeyHolder("a/b", 3, ID, SessionState.COMMITTED, 2048, bytes(32), NOW)
FOREIGN = KeyHolder("a/b", 0, "", SessionState.COMMITTED, 7, b"", NOW, foreign=True)
GHOST = AuditFinding(
    AuditKind.RECEIPT_WITHOUT_SESSION, ID, ".sealane/x", 12, 0, 7200.0, "Receipts of no session.", repaired=False
)
FOUND = AuditSummary(
    1234, 5, 4, 4096, (AuditCount(GHOST.kind, 2, 13, 0, 1), AuditCount(AuditKind.BAD_RECORD, 0, 0, 0, 0))
)


def test_a_holder_is_shown_with_all_that_a_precondition_needs() -> None:
    rows = dict(key_page.holder_rows(HOLDER))
    assert rows == {
        "generation": "3",
        "session": ID,
        "size": "2.00 KiB (2,048 bytes)",
        "blake3": "00" * 32,
        "committed": "2030-01-01 12:00:00 UTC",
    }
    foreign = dict(key_page.holder_rows(FOREIGN))
    assert foreign["holder"] == "an object that sealane did not write"
    assert "session" not in foreign
    shape = shapes.holder(FOREIGN)
    assert (shape["session_id"], shape["blake3"], shape["foreign"]) == (None, None, True)


def test_a_holder_whose_commit_is_under_way_says_so() -> None:
    deciding = KeyHolder("a/b", 3, ID, SessionState.OPEN, 1, bytes(32), NOW)
    assert "being decided" in dict(key_page.holder_rows(deciding))["state"]


def test_a_vacant_key_that_rests_says_until_when() -> None:
    assert key_page.vacancy(None, NOW) == "vacant: no object is there"
    assert key_page.vacancy(NOW - timedelta(seconds=1), NOW) == "vacant: no object is there"
    resting = key_page.vacancy(NOW + timedelta(minutes=59), NOW)
    assert "2030-01-01 12:59:00 UTC" in resting
    assert "in 59 min" in resting


def test_a_conflict_has_its_holder_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    failure = from_sealane(errors.GenerationMismatch.of("a/b", 0, HOLDER))
    assert failure.exit_code is ExitCode.CONFLICT
    report(failure, as_json=False)
    said = capsys.readouterr().err
    assert "generation  3" in said
    assert "00" * 32 in said
    report(failure, as_json=True)
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["holder"]["generation"] == 3
    assert error["holder"]["commit_time"] == "2030-01-01T12:00:00Z"
    report(from_sealane(errors.GenerationMismatch.of("a/b", 5, None)), as_json=True)
    assert json.loads(capsys.readouterr().err)["error"]["holder"] is None


def test_a_resting_key_is_not_now_and_says_how_long() -> None:
    failure = from_sealane(errors.KeyCooling(retry_after=1800.0))
    assert (failure.exit_code, failure.data["retry_after"]) == (ExitCode.UNAVAILABLE, 1800.0)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["put", "f", "--key", "k"], ["put", "f", "--key", "k"]),
        (["put", "--if-generation", "3", "f"], ["put", "f"]),
        (["put", "--if-generation=3", "f", "--overwrite"], ["put", "f"]),
        (["put", "--if-generation", "--overwrite", "f"], ["put", "f"]),
    ],
)
def test_the_proposed_command_is_the_one_that_was_given_with_another_precondition(
    words: list[str], kept: list[str]
) -> None:
    assert put._without(words, "--overwrite", valued="--if-generation") == kept


def test_the_proposed_way_to_resume_is_not_the_one_that_starts_anew() -> None:
    """--no-resume again would send everything again, and leave what has arrived behind."""
    upload = Upload("f", Output(), progress_records=False, resumable=True, options={}, session_id=ID)
    with click.Context(click.Command("sealane"), obj=["put", "f", "--no-resume", "--key", "k"]):
        assert put._how_to_resume(upload) == "What has arrived stays. Resume with:  sealane put f --key k"


def test_an_upload_whose_session_was_removed_is_told_that_the_same_command_starts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asynccontextmanager
    async def removed(*_: object, **__: object) -> AsyncIterator[None]:
        raise errors.SessionNotFound
        yield

    monkeypatch.setattr(put, "connect", removed)
    upload = Upload("f", Output(), progress_records=False, resumable=True, options={"name": None}, session_id=ID)
    with pytest.raises(CommandFailed) as caught:
        asyncio.run(put._put(upload, None, None, 1.0))
    assert "starts a new one" in caught.value.hint
    assert (caught.value.exit_code, caught.value.data["session_id"]) == (ExitCode.NOT_FOUND, ID)


@pytest.mark.parametrize(("given", "said"), [(None, "put` again"), (ID, "Without --session")])
def test_a_session_of_another_source_is_left_as_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: str | None, said: str
) -> None:
    @asynccontextmanager
    async def other(*_: object, **__: object) -> AsyncIterator[None]:
        raise errors.SessionMismatch("The session is for 5 bytes; the source has 6.")
        yield

    monkeypatch.setattr(put, "connect", other)
    options = {"name": None, "session_id": given}
    upload = Upload("f", Output(), progress_records=False, resumable=True, options=options)
    with pytest.raises(CommandFailed) as caught:
        asyncio.run(put._put(upload, None, None, 1.0))
    assert said in caught.value.hint


def test_who_removed_by_key_is_told_what_the_key_has_now() -> None:
    def left(holder: KeyHolder | None, cooling: datetime | None = None) -> str:
        return key_page.after_removal(KeyState("a/b", holder.generation if holder else 0, holder, cooling), NOW)

    assert left(None, NOW + timedelta(hours=1)).startswith("a/b: vacant, and resting until 2030-01-01 13:00:00 UTC")
    assert left(HOLDER) == f"a/b: generation 3, of session {ID}, is there now, and stays"
    assert "did not write" in left(FOREIGN)


def test_a_key_whose_deletion_is_not_finished_says_so() -> None:
    going = KeyHolder("a/b", 3, ID, SessionState.DELETED, 1, bytes(32), NOW)
    assert "removal is decided" in dict(key_page.holder_rows(going))["state"]


def test_a_key_of_somebody_elses_is_no_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Others may write to the bucket, and an audit shows their keys: they stay in their line and their colour."""
    odd = replace(GHOST, key="default/\x1b[2J\x07\nsealane: all is well\u202e")
    audit._show(Output(), [odd], FOUND)
    said = capsys.readouterr().out
    assert r"default/\x1b[2J\x07\nsealane: all is well\u202e" in said
    Output().rows([("key", "a\x1b]0;title\x07")])
    said += capsys.readouterr().out
    assert not [character for character in said if character != "\n" and not character.isprintable()]


class Cut:
    """A client whose audits are cut off ``times`` times, each behind what it found."""

    def __init__(self, times: int, *found: AuditFinding) -> None:
        self.times, self.calls, self.found = times, 0, found

    async def audit(self, **_: object) -> AsyncIterator[AuditFinding | AuditSummary]:
        self.calls += 1
        for each in self.found:
            yield each
        if self.calls <= self.times:
            raise errors.PeerUnavailable("Cut.", retry_after=0.0)
        yield FOUND


@pytest.mark.parametrize(
    ("client", "repair", "timeout", "calls"),
    [
        (Cut(2, GHOST), False, 10.0, 3),  # what was found before the cut is told once
        (Cut(2), True, 10.0, 3),
        (Cut(2, GHOST), True, 10.0, 1),  # something may have gone: its sum would not say so
        (Cut(99), False, 0.001, 1),
    ],
)
def test_an_audit_that_is_cut_off_begins_anew_while_nothing_was_removed(
    monkeypatch: pytest.MonkeyPatch, client: Cut, repair: bool, timeout: float, calls: int
) -> None:
    """A replica that goes, of several, is no reason to page who has put the audit into cron."""

    @asynccontextmanager
    async def connect(*_: object, **__: object) -> AsyncIterator[Cut]:
        yield client

    monkeypatch.setattr(audit, "connect", connect)
    monkeypatch.setattr(audit, "_PAUSE_SECONDS", 0.01)
    asked = audit._audit(Output(), repair, None, None, None, timeout)
    if calls > client.times:
        assert asyncio.run(asked) == (list(client.found), FOUND)
    else:
        with pytest.raises(errors.PeerUnavailable):
            asyncio.run(asked)
    assert client.calls == calls


def test_an_audit_groups_findings_by_kind_with_counts_bytes_and_ages(capsys: pytest.CaptureFixture[str]) -> None:
    audit._show(Output(), [GHOST], FOUND)
    said = capsys.readouterr().out
    assert "receipt without session: 2 findings, 1 removed; 13 in all, 0 B" in said
    assert "2 h" in said
    assert ID in said
    assert "Receipts of no session.  .sealane/x" in said
    assert "bad record" not in said
    assert "1,234 keys, 5 sessions, 4 objects with 4.00 KiB: 2 findings, 1 removed, 1 left" in said
    shape = shapes.audit([GHOST], FOUND)
    assert shape["clean"] is False
    assert shape["findings"][0]["kind"] == "RECEIPT_WITHOUT_SESSION"


def test_an_audit_without_findings_says_that_everything_fits(capsys: pytest.CaptureFixture[str]) -> None:
    clean = AuditSummary(1, 1, 1, 1, ())
    audit._show(Output(), [], clean)
    assert "everything fits" in capsys.readouterr().out
    assert (clean.clean, clean.left) == (True, 0)


def test_a_quota_that_is_used_up_has_an_exit_code_of_its_own_and_says_what_helps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = from_sealane(errors.QuotaExceeded("Too many.", quota="open_sessions", limit=5, used=6))
    assert failure.exit_code is ExitCode.QUOTA
    report(failure, as_json=False)
    assert "sealane abort SESSION" in capsys.readouterr().err
    report(failure, as_json=True)
    said = json.loads(capsys.readouterr().err)["error"]
    assert (said["reason"], said["exit_code"]) == ("QUOTA_EXCEEDED", 9)
    assert (said["quota"], said["limit"], said["used"]) == ("open_sessions", 5, 6)
