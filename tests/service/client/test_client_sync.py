"""The blocking client: no event loop in sight, callbacks in the caller's own thread, Ctrl-C that means it.

The services run in a thread of their own, as they would in a process of their own.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from blake3 import blake3
from client_world import KIB, TINY_FRAMES, World, content, options, world

from sealane.client import Phase, Progress, SessionState, SyncClient, errors, loop_thread


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    ready: Future[World] = Future()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with world(tmp_path) as built:
            ready.set_result(built)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield ready.result(timeout=60)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()


@pytest.fixture
def client(here: World) -> Iterator[SyncClient]:
    with here.sync_client() as made:
        yield made


def test_upload_status_and_proof_without_an_event_loop(here: World, client: SyncClient, tmp_path: Path) -> None:
    data = content(9 * KIB + 5)
    path = tmp_path / "film.mov"
    path.write_bytes(data)
    seen: list[tuple[Progress, threading.Thread]] = []
    result = client.upload(path, progress=lambda p: seen.append((p, threading.current_thread())))
    assert here.object(result.key) == data
    assert {thread for _, thread in seen} == {threading.current_thread()}
    assert seen[-1][0].phase is Phase.DONE
    assert client.get_session(result.session_id).state is SessionState.COMMITTED
    assert [s.session_id for s in client.list_sessions()] == [result.session_id]
    assert [s.state for s in client.watch_session(result.session_id)] == [SessionState.COMMITTED]
    assert len(list(client.stream_receipts(result.session_id))) == 10
    whole = {"chunk_count": 10, "size": len(data), "blake3": blake3(data).digest()}
    assert client.verify_session(result.session_id, **whole).state is SessionState.COMMITTED
    assert client.commit_session(result.session_id, **whole).key == result.key
    assert client.get_commit(result.session_id).state is SessionState.COMMITTED
    events: list[tuple[int, int]] = []
    assert client.verify_object(result.session_id, progress=lambda *e: events.append(e)).size == len(data)
    assert events[-1] == (len(data), len(data))
    assert client.get_server_info().statistics.chunks_stored == 10
    other = client.create_session(filename="x")
    assert client.abort_session(other.session_id) is SessionState.ABORTED


def test_a_plain_iterator_is_a_source(here: World, client: SyncClient) -> None:
    data = content(30 * KIB + 1)
    pieces = (data[start : start + 1000] for start in range(0, len(data), 1000))
    result = client.upload(pieces, filename="generated", stream_options=TINY_FRAMES)
    assert here.object(result.key) == data


def test_errors_come_as_their_own_classes(client: SyncClient) -> None:
    with pytest.raises(errors.SessionNotFound):
        client.get_session("0" * 32)
    with pytest.raises(FileNotFoundError):
        client.upload("/no/such/file")


@pytest.mark.parametrize("interruption", ["exception", "ctrl-c"])
def test_an_interrupted_upload_has_ended_when_the_interruption_arrives_and_resumes_later(
    here: World, client: SyncClient, tmp_path: Path, interruption: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(30 * KIB))
    interrupted = False

    def interrupt(progress: Progress) -> None:
        nonlocal interrupted
        if progress.bytes_stored >= 4 * KIB and not interrupted:
            interrupted = True
            if interruption == "exception":
                raise ZeroDivisionError
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(ZeroDivisionError if interruption == "exception" else KeyboardInterrupt):
        client.upload(path, progress=interrupt, stream_options=options(parallel=1, chunks_per_stream=2))
    assert len(here.journals()) == 1
    assert asyncio.all_tasks(client._loop) == set()
    result = client.upload(path)
    assert here.object(result.key) == path.read_bytes()
    assert result.bytes_resumed >= 4 * KIB
    assert here.journals() == []


def test_an_iteration_may_be_left_early(client: SyncClient) -> None:
    session = client.create_session(filename="x")
    for seen in client.watch_session(session.session_id):
        assert seen.state is SessionState.OPEN
        break
    assert client.get_session(session.session_id).state is SessionState.OPEN


def test_a_closed_client_says_so_and_leaves_no_thread(here: World) -> None:
    with here.sync_client() as client:
        client.get_server_info()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get_server_info()
    assert "sealane-client" not in {thread.name for thread in threading.enumerate()}


def test_closing_the_client_ends_an_upload_in_another_thread_with_an_error_that_says_so(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself: not by the time that interrupted calls are given for a clean end."""
    monkeypatch.setattr(loop_thread, "CANCEL_SECONDS", 3600.0)
    held, ended = threading.Event(), Future[object]()

    async def hold(_: object) -> object:
        held.set()
        return await asyncio.get_running_loop().create_future()

    here.ingest.trouble.on_frame = hold

    shared = here.sync_client()

    def work() -> None:
        try:
            ended.set_result(shared.upload(content(4 * KIB), filename="a", stream_options=TINY_FRAMES))
        except BaseException as error:  # noqa: BLE001 - looked at below
            ended.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert held.wait(20)
    closing = threading.Thread(target=shared.close, daemon=True)
    closing.start()
    with pytest.raises(errors.ClientClosed):
        ended.result(timeout=20)
    for each in (thread, closing):
        each.join(20)
        assert not each.is_alive()


def test_many_threads_share_one_client(here: World, client: SyncClient) -> None:
    keys: list[str] = []

    def work(seed: int) -> None:
        result = client.upload(content(4 * KIB, seed), filename=str(seed))
        assert here.object(result.key) == content(4 * KIB, seed)
        keys.append(result.key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 6
