"""Streams break, answers get lost, servers come and go, bytes flip: the upload goes on, and sends little twice."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from client_world import KIB, QUICK, TENANT, TINY_FRAMES, World, content, options, world

from sealane.client import BackoffPolicy, GaveUp, SessionMismatch, SessionState, UploadResult
from sealane.client.errors import (
    ChunkCorrupt,
    ChunkNeeded,
    CoverageIncomplete,
    DeadlineExceeded,
    PeerUnavailable,
    SessionAborted,
    SessionNotFound,
)
from sealane.client.journal import Journal
from sealane.client.streams import MAX_CORRUPT
from sealane.store.simulated_traits import AWS


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, ingests=2) as built:
        yield built


def check(here: World, result: UploadResult, data: bytes) -> None:
    assert here.object(result.key) == data
    assert result.digest == blake3(data).hexdigest()
    assert here.objects() == [result.key]


def at_frame(here: World, number: int, action: Callable[[], Any]) -> asyncio.Event:
    """Start ``action`` as a task when that frame arrives; the event says that it has ended."""
    ended = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def act() -> None:
        await action()
        ended.set()

    def look(frame: Any) -> Any:
        if here.ingest.trouble.frames == number:
            tasks.append(asyncio.get_running_loop().create_task(act()))
        return frame

    here.ingest.trouble.on_frame = look
    return ended


# --- the way there ---


def arrived_twice(here: World, chunks: int) -> int:
    """Chunks (of one frame each) that reached a service more often than once. What was cut off in a socket's buffer, at
    this size whole streams, did not."""
    return sum(replica.trouble.frames for replica in here.ingests) - chunks


@pytest.mark.parametrize("parallel", [1, 4])
async def test_a_killed_and_restarted_ingest_costs_only_the_chunks_that_were_on_the_way(
    here: World, parallel: int
) -> None:
    """A restart loses no acknowledged chunk; sent twice: at most (parts in flight + 1) chunks a stream."""

    async def restart() -> None:
        await here.ingest.stop()
        await here.ingest.start()

    data = content(40 * KIB)
    restarted = at_frame(here, 23, restart)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=parallel, chunks_per_stream=8))
    await asyncio.wait_for(restarted.wait(), 20)
    check(here, result, data)
    assert result.retries >= 1
    assert arrived_twice(here, 40) <= parallel * (4 + 1)


async def test_a_draining_replica_is_left_for_another_and_at_most_one_chunk_a_stream_goes_twice(two: World) -> None:
    data = content(40 * KIB)
    drained = at_frame(two, 7, two.ingest.drain)
    async with two.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2, chunks_per_stream=5))
    await asyncio.wait_for(drained.wait(), 20)
    check(two, result, data)
    assert arrived_twice(two, 40) <= 2


async def test_a_lost_answer_of_a_stream_sends_nothing_twice(here: World) -> None:
    """Nothing exists only in a reply: the coverage says what the lost acknowledgement would have said."""
    here.ingest.trouble.lose_answers["UploadChunks"] = 3
    data = content(20 * KIB)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2, chunks_per_stream=4))
    check(here, result, data)
    assert result.retries == 3
    assert result.bytes_sent == len(data)


async def test_lost_answers_of_create_and_commit_do_no_harm(here: World) -> None:
    here.ingest.trouble.lose_answers["CreateSession"] = 2
    here.assembly.trouble.lose_answers["CommitSession"] = 2
    data = content(3 * KIB)
    async with here.client() as client:
        result = await client.upload(data)
        assert [s.session_id async for s in client.list_sessions(state=SessionState.COMMITTED)] == [result.session_id]
    check(here, result, data)
    assert result.committed_object.replayed
    assert here.assembly.trouble.calls["CommitSession"] == 3


async def test_a_flipped_byte_is_sent_again(here: World) -> None:
    flipped: list[int] = []

    def flip(frame: Any) -> Any:
        if here.ingest.trouble.frames in (3, 9):
            flipped.append(frame.chunk_index)
            return replace(frame, data=bytes([frame.data[0] ^ 1]) + bytes(frame.data[1:]))
        return frame

    here.ingest.trouble.on_frame = flip
    data = content(12 * KIB)
    async with here.client() as client:
        result = await client.upload(data, stream_options=options(parallel=2))
    assert len(flipped) == 2
    check(here, result, data)


async def test_a_chunk_that_never_arrives_whole_ends_the_upload(here: World) -> None:
    """It is sent once, and again as often as an accident may befall it; then the upload says so."""
    sent = 0

    def flip(frame: Any) -> Any:
        nonlocal sent
        if frame.chunk_index != 2:
            return frame
        sent += frame.blake3 != b""
        return replace(frame, data=b"x" * len(frame.data))

    here.ingest.trouble.on_frame = flip
    async with here.client() as client:
        with pytest.raises(ChunkCorrupt) as refused:
            await client.upload(content(4 * KIB), stream_options=options(parallel=1))
    assert [chunk.index for chunk in refused.value.chunks] == [2]
    assert sent == MAX_CORRUPT + 1
    assert here.objects() == []


async def test_an_iterator_survives_broken_streams_as_its_chunks_are_kept_until_acknowledged(here: World) -> None:
    data = content(60 * KIB)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 900):
            yield data[start : start + 900]

    async def restart() -> None:
        await here.ingest.stop()
        await here.ingest.start()

    restarted = at_frame(here, 17, restart)
    here.ingest.trouble.lose_answers["UploadChunks"] = 1
    async with here.client() as client:
        result = await client.upload(pieces(), stream_options=TINY_FRAMES)
    await asyncio.wait_for(restarted.wait(), 20)
    check(here, result, data)


async def test_a_full_server_is_asked_again_when_it_said_to(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED OVERLOADED: more lanes than the replica has streams."""
    async with world(tmp_path, max_streams=1) as here:
        data = content(30 * KIB)
        async with here.client() as client:
            result = await client.upload(data, stream_options=options(parallel=3, chunks_per_stream=2))
        check(here, result, data)


async def test_without_progress_the_client_gives_up_and_says_why_and_a_later_try_resumes(
    here: World, tmp_path: Path
) -> None:
    data = content(12 * KIB)
    path = tmp_path / "file"
    path.write_bytes(data)
    stopped = at_frame(here, 9, here.ingest.stop)
    async with here.client(backoff=BackoffPolicy(0.01, 0.05, patience_seconds=1.5)) as client:
        with pytest.raises(GaveUp) as gave_up:
            await client.upload(path, stream_options=options(parallel=1, chunks_per_stream=2))
    await asyncio.wait_for(stopped.wait(), 20)
    assert isinstance(gave_up.value.last, PeerUnavailable)
    assert len(here.journals()) == 1
    await here.ingest.start()
    async with here.client() as client:
        result = await client.upload(path)
    check(here, result, data)
    assert result.bytes_resumed >= 6 * KIB
    assert result.bytes_sent == len(data) - result.bytes_resumed


async def test_what_a_broken_stream_stored_is_progress_however_long_the_stream_took(here: World) -> None:
    """The patience is over when the second stream breaks, but that stream stored every chunk: nobody gives up."""
    patience = 1.2  # more than a PeerUnavailable asks for
    data = content(3 * KIB)
    trouble = here.ingest.trouble

    def look(frame: Any) -> Any:
        return refuse() if trouble.calls["UploadChunks"] == 1 else slowly(frame)

    async def refuse() -> Any:
        raise PeerUnavailable("The first stream breaks before it stores anything.", retry_after=0.0)

    async def slowly(frame: Any) -> Any:
        trouble.lose_answers["UploadChunks"] = 1
        trouble.on_frame = None
        await asyncio.sleep(1.5 * patience)  # a slow line
        return frame

    trouble.on_frame = look
    impatient = BackoffPolicy(base_seconds=0.01, cap_seconds=0.01, patience_seconds=patience)
    async with here.client(backoff=impatient) as client:
        result = await client.upload(data, filename="a", stream_options=options(parallel=1))
    check(here, result, data)
    assert result.retries == 2


async def test_the_callers_timeout_ends_the_whole_upload(here: World) -> None:
    await here.ingest.stop()
    async with here.client() as client:
        with pytest.raises(DeadlineExceeded, match="resumes"):
            await client.upload(b"bytes", timeout=0.2)
    await here.ingest.start()


# --- the commit asks for more ---


async def test_chunks_that_the_commit_misses_are_sent_and_it_is_committed(here: World) -> None:
    """COVERAGE_INCOMPLETE: its ranges, and no others, are sent again."""

    async def lose_receipts() -> None:
        for key in here.store.state.keys(f".sealane/{TENANT}/sessions/"):
            if "/receipts/00000002." in key or "/receipts/00000005." in key:
                here.store.state.delete(key)

    here.assembly.trouble.before["CommitSession"] = lose_receipts
    data = content(8 * KIB)
    async with here.client() as client:
        result = await client.upload(data)
    check(here, result, data)
    assert result.bytes_sent_again == 2 * KIB


async def test_a_part_that_was_overwritten_in_the_store_is_mended_by_sending_its_chunk_again(tmp_path: Path) -> None:
    """ABORTED CHUNK_NEEDED: send that chunk again, commit again; a store that forgets overwritten parts, as AWS."""
    async with world(tmp_path, dialect=AWS) as here:

        async def overwrite() -> None:
            [upload] = (await here.store.list_uploads("", timeout=5)).uploads
            other = b"x" * KIB
            digest = hashlib.sha256(other).digest()
            await here.store.upload_part(upload.key, upload.upload_id, 4, other, sha256=digest, timeout=5)

        here.assembly.trouble.before["CommitSession"] = overwrite
        data = content(6 * KIB)
        async with here.client() as client:
            result = await client.upload(data)
        check(here, result, data)
        assert result.bytes_sent_again == KIB


async def test_a_session_whose_commit_waits_for_a_chunk_is_finished_by_whoever_resumes_it(tmp_path: Path) -> None:
    """COMMITTING: no chunk is welcome but the one that the commit asks for."""
    async with world(tmp_path, dialect=AWS) as here:

        async def overwrite() -> None:
            [upload] = (await here.store.list_uploads("", timeout=5)).uploads
            other = b"x" * 4 * KIB
            digest = hashlib.sha256(other).digest()
            await here.store.upload_part(upload.key, upload.upload_id, 2, other, sha256=digest, timeout=5)

        here.assembly.trouble.before["CommitSession"] = overwrite
        data = content(12 * KIB)

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        async with here.client() as client:
            with pytest.raises(ChunkNeeded):
                await client.upload(pieces(), stream_options=TINY_FRAMES)
            [session] = [s async for s in client.list_sessions()]
            assert session.state is SessionState.COMMITTING
            result = await client.upload(data, session_id=session.session_id, stream_options=TINY_FRAMES)
        check(here, result, data)
        assert result.bytes_sent == 4 * KIB


async def test_an_iterator_cannot_give_its_chunks_again_so_the_commits_refusal_is_the_callers(here: World) -> None:
    async def lose_receipts() -> None:
        for key in here.store.state.keys(f".sealane/{TENANT}/sessions/"):
            if "/receipts/00000001." in key:
                here.store.state.delete(key)

    async def pieces() -> AsyncIterator[bytes]:
        yield content(12 * KIB)

    here.assembly.trouble.before["CommitSession"] = lose_receipts
    async with here.client() as client:
        with pytest.raises(CoverageIncomplete):
            await client.upload(pieces(), stream_options=TINY_FRAMES)


# --- a new process ---


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
