"""Uploads that outlive their process: by the journal, by the session's name, by the request id."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client_world import KIB, QUICK, TINY_FRAMES, World, content, options
from resuming import at_frame, check

from sealane.client import GaveUp, SessionMismatch
from sealane.client.errors import (
    DeadlineExceeded,
    SessionAborted,
    SessionNotFound,
    SourceChanged,
)
from sealane.client.journal import Journal


async def begin_and_die(here: World, path: Path, *, frames: int, **upload: Any) -> str:
    """An upload whose process dies after so many frames: what is left is its journal. Its session's id."""
    session: list[str] = []
    async with here.client() as client:
        task: asyncio.Task[Any]

        async def kill() -> None:
            task.cancel()

        dead = at_frame(here, frames, kill)
        task = asyncio.create_task(
            client.upload(
                path,
                stream_options=options(parallel=1, chunks_per_stream=2),
                progress=lambda p: session.append(p.session_id),
                **upload,
            )
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(dead.wait(), 20)
    here.ingest.trouble.on_frame = None
    return session[-1]


async def test_an_upload_survives_its_own_process_by_the_journal(here: World, tmp_path: Path) -> None:
    data = content(20 * KIB + 1)
    path = tmp_path / "file"
    path.write_bytes(data)
    session = await begin_and_die(here, path, frames=13)
    assert len(here.journals()) == 1
    async with here.client() as client:
        result = await client.upload(path)
    check(here, result, data)
    assert result.session_id == session
    assert result.bytes_resumed >= 10 * KIB
    assert result.bytes_sent == len(data) - result.bytes_resumed
    assert here.journals() == []


async def test_a_process_that_dies_before_it_knows_its_session_leaves_the_request_id_that_finds_it(
    here: World, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(3 * KIB))
    here.ingest.trouble.lose_answers["CreateSession"] = 1_000
    async with here.client(backoff=replace(QUICK, patience_seconds=0.5)) as client:
        with pytest.raises(GaveUp):
            await client.upload(path)
    here.ingest.trouble.lose_answers.clear()
    async with here.client() as client:
        result = await client.upload(path)
        assert [s.session_id async for s in client.list_sessions()] == [result.session_id]


@pytest.mark.parametrize("change", ["bytes", "name", "resume=False"])
async def test_another_file_or_other_parameters_are_another_upload(here: World, tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(9 * KIB))
    session = await begin_and_die(here, path, frames=6)
    values: dict[str, Any] = {}
    if change == "bytes":
        path.write_bytes(content(9 * KIB, seed=2))
    elif change == "name":
        values["filename"] = "other"
    else:
        values["resume"] = False
    async with here.client() as client:
        result = await client.upload(path, **values)
    assert result.session_id != session
    assert result.bytes_resumed == 0
    assert here.object(result.key) == path.read_bytes()


async def test_a_journal_whose_session_was_given_up_leads_to_a_new_session(here: World, tmp_path: Path) -> None:
    data = content(9 * KIB)
    path = tmp_path / "file"
    path.write_bytes(data)
    session = await begin_and_die(here, path, frames=6)
    async with here.client() as client:
        await client.abort_session(session)
        result = await client.upload(path)
    check(here, result, data)
    assert result.session_id != session


async def test_a_journal_whose_commit_answer_was_lost_leads_to_the_same_answer_and_sends_nothing(
    here: World, tmp_path: Path
) -> None:
    data = content(9 * KIB)
    path = tmp_path / "file"
    path.write_bytes(data)
    here.assembly.trouble.lose_answers["CommitSession"] = 1_000
    async with here.client(backoff=replace(QUICK, patience_seconds=0.5)) as client:
        with pytest.raises(GaveUp):
            await client.upload(path)
    here.assembly.trouble.lose_answers.clear()
    async with here.client() as client:
        result = await client.upload(path)
    check(here, result, data)
    assert result.committed_object.replayed
    assert result.bytes_sent == 0


async def test_a_journal_that_names_other_bytes_of_the_same_size_and_time_leads_to_a_new_session(
    here: World, tmp_path: Path
) -> None:
    """Size and time can lie; the receipts' digests can't."""
    path = tmp_path / "file"
    path.write_bytes(content(9 * KIB))
    status = path.stat()
    session = await begin_and_die(here, path, frames=6)
    with path.open("r+b") as file:  # the same inode
        file.write(content(9 * KIB, seed=2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    async with here.client() as client:
        result = await client.upload(path)
    check(here, result, content(9 * KIB, seed=2))
    assert result.session_id != session


def break_journal(monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in calls:
        monkeypatch.setattr(Journal, call, fail)


@pytest.mark.parametrize("broken", ["save", "load", "remove"])
async def test_a_journal_that_nobody_asked_for_never_fails_the_upload(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(3 * KIB))
    break_journal(monkeypatch, broken)
    async with here.client() as client:
        result = await client.upload(path, stream_options=TINY_FRAMES)
    check(here, result, path.read_bytes())


async def test_a_journal_that_the_caller_named_must_be_writable_but_its_removal_fails_no_committed_upload(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, journal = tmp_path / "file", tmp_path / "journal"
    path.write_bytes(content(3 * KIB))
    break_journal(monkeypatch, "remove")
    async with here.client() as client:
        result = await client.upload(path, journal=journal, stream_options=TINY_FRAMES)
        check(here, result, path.read_bytes())
        break_journal(monkeypatch, "save")
        with pytest.raises(OSError, match="No space"):
            await client.upload(path, journal=journal, resume=False, stream_options=TINY_FRAMES)


async def test_a_session_is_resumed_by_its_name_from_any_source(here: World) -> None:
    data = content(9 * KIB)
    async with here.client() as client:
        session = await client.create_session(filename="f", size=len(data))
        stopped = at_frame(here, 4, here.ingest.stop)
        with pytest.raises(DeadlineExceeded):
            await client.upload(
                data,
                session_id=session.session_id,
                stream_options=options(parallel=1, chunks_per_stream=1),
                timeout=0.7,
            )
        await asyncio.wait_for(stopped.wait(), 20)
        await here.ingest.start()

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        result = await client.upload(pieces(), session_id=session.session_id, stream_options=TINY_FRAMES)
        check(here, result, data)
        assert result.bytes_resumed > 0
        with pytest.raises(SessionMismatch):
            await client.upload(data[:-1], session_id=session.session_id)
        with pytest.raises(SessionNotFound):
            await client.upload(data, session_id="0" * 32)


async def test_a_named_session_s_own_size_is_what_an_iterator_is_held_to(here: World) -> None:
    """Nobody repeats it: what the session was created for is what the source must have."""
    data = content(3 * KIB + 1)

    async def pieces() -> AsyncIterator[bytes]:
        yield data[:-1]

    async with here.client() as client:
        session = await client.create_session(filename="f", size=len(data))
        with pytest.raises(SourceChanged, match="3073 were declared"):
            await client.upload(pieces(), session_id=session.session_id, stream_options=TINY_FRAMES)


async def test_a_session_that_holds_other_bytes_is_not_filled_up_with_these(here: World) -> None:
    data = content(9 * KIB)
    async with here.client() as client:
        session = await client.create_session(size=len(data))
        at_frame(here, 4, here.ingest.stop)
        with pytest.raises(DeadlineExceeded):
            await client.upload(
                data,
                session_id=session.session_id,
                stream_options=options(parallel=1, chunks_per_stream=1),
                timeout=0.7,
            )
        await here.ingest.start()
        with pytest.raises(SessionMismatch, match="chunk 0"):
            await client.upload(content(9 * KIB, seed=2), session_id=session.session_id)


async def test_a_request_id_makes_an_upload_repeatable(here: World) -> None:
    data = content(5 * KIB)
    async with here.client() as client:
        first = await client.upload(data, request_id="nightly-2030-01-01")
        again = await client.upload(data, request_id="nightly-2030-01-01")
    check(here, again, data)
    assert again.session_id == first.session_id
    assert again.bytes_sent == 0


async def test_a_session_given_up_in_the_middle_ends_the_upload(here: World) -> None:
    data = content(30 * KIB)
    async with here.client() as client:

        async def abort() -> None:
            [session] = [s async for s in client.list_sessions()]
            await client.abort_session(session.session_id)

        aborted = at_frame(here, 5, abort)
        with pytest.raises((SessionAborted, SessionNotFound)):
            await client.upload(data, stream_options=options(parallel=1, chunks_per_stream=1))
        await asyncio.wait_for(aborted.wait(), 20)
    assert here.objects() == []
