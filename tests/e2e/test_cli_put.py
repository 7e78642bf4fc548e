"""`sealane put` on real processes: what is sent arrives, an interruption costs a resume, exit codes are true."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import pytest
from cli_process import CHUNK, COMMAND_SECONDS, Commands, Content, write_content

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_stream

pytestmark = pytest.mark.e2e


def object_bytes(cluster: Cluster, committed: dict[str, Any]) -> bytes:
    """The object through plain S3, with nothing of the services between."""
    store = cluster.store
    path = f"{committed['bucket']}/{committed['key']}"
    with signed_stream(store.endpoint, path, access_key=store.access_key, secret_key=store.secret_key) as answer:
        assert answer.status == 200
        return answer.read()


def next_line(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> str:
    """The first line of stderr that ``wanted`` accepts; fails when the process ends before."""
    assert process.stderr is not None
    deadline = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([process.stderr], [], [], 1)
        line = process.stderr.readline() if ready else ""
        if line and wanted(line):
            return line
        assert line or process.poll() is None, f"ended with code {process.poll()}"
    pytest.fail("no such line")


def await_stored(sealane: Commands, session: str, chunks: int) -> None:
    """Until the store holds so many chunks of the session."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < deadline:
        if sealane("status", session, "--json").document["coverage"]["stored_chunks"] >= chunks:
            return
    pytest.fail("no chunk was stored")


def test_what_is_put_is_in_the_store_byte_by_byte(cluster: Cluster, sealane: Commands, three_chunks: Content) -> None:
    """I4, from the command line to plain S3."""
    put = sealane("put", three_chunks.path, "--json", "--meta", "origin=lab 7", "--content-type", "image/x-raw")
    assert put.code == 0, put.err
    assert put.err == ""
    answer = put.document
    committed = answer["committed_object"]
    assert committed["size"] == three_chunks.size
    assert committed["blake3"] == three_chunks.blake3
    assert committed["key"] == f"default/by-session/{answer['session_id']}/three.bin"
    assert object_bytes(cluster, committed) == three_chunks.body
    session = sealane("status", answer["session_id"], "--json").document
    assert session["metadata"] == {"origin": "lab 7"}
    assert session["content_type"] == "image/x-raw"


def test_people_see_key_exact_size_and_digest(sealane: Commands, three_chunks: Content) -> None:
    put = sealane("put", three_chunks.path, "--name", "other.bin")
    assert put.code == 0, put.err
    assert "/other.bin" in put.out
    assert "16.0 MiB (16,778,217 bytes)" in put.out
    assert three_chunks.blake3 in put.out
    assert "session" in put.err
    assert "\x1b" not in put.out + put.err, "no control sequences outside of a terminal"


def test_quiet_says_nothing_but_the_result(sealane: Commands, three_chunks: Content) -> None:
    put = sealane("put", three_chunks.path, "--quiet")
    assert (put.code, put.err) == (0, "")
    assert three_chunks.blake3 in put.out


def test_an_empty_file_is_an_object_of_no_bytes(cluster: Cluster, sealane: Commands, tmp_path: Path) -> None:
    empty = write_content(tmp_path / "empty", 0)
    put = sealane("put", empty.path, "--json")
    assert put.code == 0, put.err
    committed = put.document["committed_object"]
    assert (committed["size"], committed["blake3"]) == (0, blake3.blake3(b"").hexdigest())
    assert object_bytes(cluster, committed) == b""


def test_stdin_of_unknown_size_is_put_under_a_name(cluster: Cluster, sealane: Commands, three_chunks: Content) -> None:
    put = sealane("put", "-", "--name", "from-pipe", "--json", "--chunk-size", "8MiB", stdin=three_chunks.body)
    assert put.code == 0, put.err
    committed = put.document["committed_object"]
    assert committed["blake3"] == three_chunks.blake3
    assert committed["key"].endswith("/from-pipe")
    assert object_bytes(cluster, committed) == three_chunks.body


def test_ctrl_c_leaves_a_session_that_the_same_command_finishes(
    cluster: Cluster, sealane: Commands, tmp_path: Path
) -> None:
    """SIGINT to a real `sealane put` in mid-upload, after its first chunk: exit 130, then the same line resumes."""
    content = write_content(tmp_path / "long.bin", 12 * CHUNK + 5)
    process = sealane.popen("put", content.path, "--parallel", "1", "--limit-rate", "4M")
    try:
        line = next_line(process, lambda line: line.startswith("session"))
        session = line.split()[1]
        await_stored(sealane, session, 1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=COMMAND_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "sealane put" in said, "the line that resumes is shown"
    half = sealane("status", session, "--json").document
    assert half["state"] == "OPEN"
    assert half["coverage"]["stored_chunks"] < 13
    again = sealane("put", content.path, "--json")
    assert again.code == 0, again.err
    assert again.document["session_id"] == session
    assert again.document["resumed"] is True
    assert again.document["committed_object"]["blake3"] == content.blake3
    assert object_bytes(cluster, again.document["committed_object"]) == content.body


def test_a_finished_upload_is_not_resumed_but_begun_anew(sealane: Commands, three_chunks: Content) -> None:
    first, second = (sealane("put", three_chunks.path, "--json").document for _ in range(2))
    assert first["session_id"] != second["session_id"]
    assert second["resumed"] is False


def test_a_file_that_is_not_there_is_a_usage_error(sealane: Commands) -> None:
    put = sealane("put", "nowhere.bin", "--json")
    assert put.code == 2
    assert put.error["reason"] == "USAGE"


def test_a_name_that_no_key_may_have_is_refused_by_its_reason(sealane: Commands, three_chunks: Content) -> None:
    put = sealane("put", three_chunks.path, "--name", "../../etc/passwd", "--json")
    assert put.code == 2
    assert put.error["reason"] == "INVALID_FILENAME"
    assert put.out == ""


def test_without_a_server_the_answer_is_try_again_and_what_to_look_at(sealane: Commands) -> None:
    arguments = ("--ingest", "127.0.0.1:1", "--assembly", "127.0.0.1:1", "--timeout", "1")
    said = sealane("status", "0" * 32, *arguments)
    assert said.code == 6
    assert "sealane dev" in said.err
    assert "127.0.0.1:1, from flag" in said.err
    said = sealane("status", "0" * 32, *arguments, "--json")
    assert (said.code, said.error["code"]) == (6, "UNAVAILABLE")


def test_progress_as_json_is_a_line_each_and_the_last_is_the_result(sealane: Commands, three_chunks: Content) -> None:
    put = sealane("put", three_chunks.path, "--json", "--progress")
    assert put.code == 0, put.err
    *before, last = put.records
    assert before[0]["event"] == "session"
    assert all(record["event"] in ("session", "progress") for record in before)
    stored = [record["stored_bytes"] for record in before if record["event"] == "progress"]
    assert stored == sorted(stored)
    assert last["event"] == "committed"
    assert last["committed_object"]["blake3"] == three_chunks.blake3


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time(sealane: Commands, three_chunks: Content) -> None:
    """On a pseudo-terminal the progress is drawn in place; NO_COLOR keeps colours away."""
    import pty

    leader, follower = pty.openpty()
    process = sealane.popen("put", three_chunks.path, stderr=follower)
    os.close(follower)
    drawn = bytearray()
    while True:
        try:
            piece = os.read(leader, 65_536)
        except OSError:  # EIO: the last writer has closed
            break
        if not piece:
            break
        drawn += piece
    out, _ = process.communicate(timeout=COMMAND_SECONDS)
    os.close(leader)
    assert process.returncode == 0, drawn.decode()
    assert three_chunks.blake3 in out
    assert b"100%" in drawn
    assert b"B/s" in drawn
    assert b"\x1b[3" not in drawn, "NO_COLOR"


def test_a_session_can_be_named_to_resume_it_from_another_machine(
    cluster: Cluster, sealane: Commands, tmp_path: Path
) -> None:
    """No journal: --session says which session the file belongs to."""
    content = write_content(tmp_path / "moved.bin", 6 * CHUNK)
    process = sealane.popen("put", content.path, "--parallel", "1", "--limit-rate", "4M")
    try:
        session = next_line(process, lambda line: line.startswith("session")).split()[1]
        await_stored(sealane, session, 1)
    finally:
        process.kill()
        process.communicate()
    elsewhere = sealane("put", content.path, "--session", session, "--journal", tmp_path / "elsewhere", "--json")
    assert elsewhere.code == 0, elsewhere.err
    assert elsewhere.document["session_id"] == session
    assert elsewhere.document["committed_object"]["blake3"] == content.blake3


@pytest.mark.parametrize("value", ["novalue", "=x", "Bad Name=x", "sealane-token=x"])
def test_metadata_that_cannot_be_stored_is_refused(sealane: Commands, three_chunks: Content, value: str) -> None:
    put = sealane("put", three_chunks.path, "--meta", value, "--json")
    assert put.code == 2
    assert json.loads(put.err)["error"]["reason"] in ("USAGE", "INVALID_METADATA")
