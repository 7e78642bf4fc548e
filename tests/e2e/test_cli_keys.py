"""Keys that callers choose, and removal, from the command line: put --key, key, rm."""

from __future__ import annotations

import os
import pty
import secrets
import select
import subprocess
import time
from pathlib import Path

import pytest
from cli_process import COMMAND_SECONDS, Commands, Result, write_content

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_request

pytestmark = pytest.mark.e2e


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"keys/{secrets.token_hex(6)}/film.mov"


def get(cluster: Cluster, key: str) -> tuple[int, bytes]:
    """Status and body of the object through plain S3."""
    store = cluster.store
    path = f"{cluster.store.bucket}/{key}"
    return signed_request(store.endpoint, "GET", path, access_key=store.access_key, secret_key=store.secret_key)


def test_a_key_is_created_then_replaced_by_generation_then_overwritten(
    cluster: Cluster, sealane: Commands, key: str, tmp_path: Path
) -> None:
    """I16: every refusal names the holder and leaves it alone; bytes are compared through plain S3."""
    first, second, third = (write_content(tmp_path / f"{name}.bin", 1000 + n) for n, name in enumerate("abc"))
    vacant = sealane("key", key, "--json").document
    assert vacant == {"object_key": key, "generation": 0, "holder": None, "cooling_until": None}
    assert "vacant" in sealane("key", key).out

    put = sealane("put", first.path, "--key", key, "--json")
    assert put.code == 0, put.err
    committed = put.document["committed_object"]
    assert (committed["key"], committed["generation"], committed["duplicate"]) == (f"default/{key}", 1, False)
    assert get(cluster, committed["key"]) == (200, first.body)

    taken = sealane("put", second.path, "--key", key, "--json")
    assert (taken.code, taken.error["reason"], taken.error["code"]) == (4, "GENERATION_MISMATCH", "FAILED_PRECONDITION")
    holder = taken.error["holder"]
    assert (holder["generation"], holder["session_id"]) == (1, put.document["session_id"])
    assert (holder["size"], holder["blake3"]) == (first.size, first.blake3)
    assert holder["commit_time"] == committed["commit_time"]
    assert get(cluster, committed["key"]) == (200, first.body)

    replaced = sealane("put", second.path, "--key", key, "--if-generation", 1, "--json")
    assert replaced.code == 0, replaced.err
    assert replaced.document["committed_object"]["generation"] == 2
    late = sealane("put", third.path, "--key", key, "--if-generation", 1, "--json")
    assert (late.code, late.error["holder"]["generation"]) == (4, 2)
    over = sealane("put", third.path, "--key", key, "--overwrite", "--json")
    assert over.code == 0, over.err
    assert over.document["committed_object"]["generation"] == 3
    assert get(cluster, committed["key"]) == (200, third.body)

    shown = sealane("key", key, "--json").document
    assert (shown["generation"], shown["holder"]["session_id"]) == (3, over.document["session_id"])
    assert third.blake3 in sealane("key", key).out


def test_a_conflict_tells_people_who_holds_the_key_and_each_way_on(sealane: Commands, key: str, tmp_path: Path) -> None:
    first, second = (write_content(tmp_path / name, 500) for name in ("a.bin", "b.bin"))
    put = sealane("put", first.path, "--key", key)
    assert put.code == 0, put.err
    assert "generation" in put.out
    taken = sealane("put", second.path, "--key", key, "--if-generation", 0, "--meta", "a=b c")
    assert taken.code == 4
    for told in (
        first.blake3,
        "500 bytes",
        f"sealane put {second.path} --key {key} --meta 'a=b c' --if-generation 1",
        f"sealane put {second.path} --key {key} --meta 'a=b c' --overwrite",
        "sealane abort ",
    ):
        assert told in taken.err, told
    assert taken.out == ""


def test_identical_bytes_are_a_success_and_said_so(sealane: Commands, key: str, tmp_path: Path) -> None:
    content = write_content(tmp_path / "a.bin", 700)
    first = sealane("put", content.path, "--key", key, "--json").document
    again = sealane("put", content.path, "--key", key, "--json")
    assert again.code == 0, again.err
    assert again.document["session_id"] != first["session_id"]
    assert again.document["committed_object"]["duplicate"] is True
    assert again.document["committed_object"]["generation"] == 1
    told = sealane("put", content.path, "--key", key)
    assert told.code == 0
    assert "these very bytes already" in told.out
    watched = sealane("watch", again.document["session_id"], "--json")
    assert (watched.code, watched.records[-1]["state"]) == (0, "DUPLICATE")


def test_an_object_of_somebody_else_is_a_conflict_and_stays(cluster: Cluster, sealane: Commands, key: str) -> None:
    store = cluster.store
    path = f"{cluster.store.bucket}/default/{key}"
    body = b"not sealane's"
    status, _ = signed_request(
        store.endpoint, "PUT", path, access_key=store.access_key, secret_key=store.secret_key, body=body
    )
    assert status == 200
    mine = write_content(sealane.directory / "mine.bin", 50)
    for words in ((), ("--overwrite",)):
        taken = sealane("put", mine.path, "--key", key, *words, "--json")
        assert (taken.code, taken.error["reason"]) == (4, "GENERATION_MISMATCH"), words
        assert taken.error["holder"]["foreign"] is True
    assert sealane("rm", "--key", key, "--yes", "--json").error["reason"] == "FOREIGN_OBJECT"
    assert "did not write" in sealane("key", key).out
    assert get(cluster, f"default/{key}") == (200, body)


def test_a_key_that_may_not_be_is_exit_2(sealane: Commands, tmp_path: Path) -> None:
    file = write_content(tmp_path / "a.bin", 10).path
    for words in (("put", file, "--key", "by-session/x", "--overwrite"), ("put", file, "--key", ""), ("key", "/a")):
        asked = sealane(*words, "--json")
        assert (asked.code, asked.error["reason"]) == (2, "INVALID_OBJECT_KEY"), words


# --- rm ---


def test_rm_takes_an_object_through_every_layer_and_says_what_went(
    cluster: Cluster, sealane: Commands, tmp_path: Path
) -> None:
    """I9: no object, no record; the second call says that there is nothing."""
    content = write_content(tmp_path / "gone.bin", 1500)
    put = sealane("put", content.path, "--json").document
    removed = sealane("rm", put["session_id"], "--json")
    assert removed.code == 0, removed.err
    assert (removed.document["session_id"], removed.document["state"]) == (put["session_id"], "DELETED")
    kinds = {each["kind"]: each for each in removed.document["removed"]}
    assert (kinds["object"]["count"], kinds["object"]["bytes"]) == (1, 1500)
    assert kinds["receipt"]["count"] == 1
    assert get(cluster, put["committed_object"]["key"])[0] == 404
    again = sealane("rm", put["session_id"], "--json")
    assert (again.code, again.error["reason"]) == (3, "SESSION_NOT_FOUND")


def test_rm_tells_people_what_went_by_kind(sealane: Commands, tmp_path: Path) -> None:
    put = sealane("put", write_content(tmp_path / "a.bin", 2048).path, "--json").document
    removed = sealane("rm", put["session_id"])
    assert removed.code == 0, removed.err
    assert "REMOVED" in removed.out
    assert "2.00 KiB" in removed.out
    assert "nothing of it is left" in removed.out


def test_rm_at_a_chosen_key_empties_it_and_the_key_rests_for_an_hour(
    cluster: Cluster, sealane: Commands, key: str, tmp_path: Path
) -> None:
    """I9; nothing is lost by coming too early: everything has arrived, and the same command commits it later."""
    content = write_content(tmp_path / "a.bin", 300)
    put = sealane("put", content.path, "--key", key, "--json").document
    removed = sealane("rm", "--key", key, "--json")
    assert removed.code == 0, removed.err
    assert (removed.document["session_id"], removed.document["state"]) == (put["session_id"], "DELETED")
    kinds = {each["kind"]: each for each in removed.document["removed"]}
    assert (kinds["object"]["count"], kinds["object"]["bytes"]) == (1, content.size)
    assert get(cluster, f"default/{key}")[0] == 404

    resting = sealane("key", key, "--json").document
    assert removed.document["key"] == resting
    assert (resting["generation"], resting["holder"]) == (0, None)
    assert resting["cooling_until"] is not None
    assert "resting until" in sealane("key", key).out
    early = sealane("put", content.path, "--key", key, "--json")
    assert (early.code, early.error["reason"]) == (6, "KEY_COOLING")
    assert 1800 < early.error["retry_after"] <= 3600
    state = sealane("status", early.error["session_id"], "--json").document
    assert (state["state"], state["coverage"]["complete"], state["chosen_key"]) == ("OPEN", True, key)

    nothing = sealane("rm", "--key", key, "--json")
    assert (nothing.code, nothing.error["reason"]) == (3, "KEY_VACANT")


def on_a_terminal(sealane: Commands, typed: str, *words: object) -> Result:
    """The command with a terminal for stdin and stderr, on which ``typed`` is typed once it asks."""
    ours, theirs = pty.openpty()
    process = sealane.popen(*words, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + COMMAND_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                piece = os.read(ours, 4096)
            except OSError:  # EIO: the other end is closed
                break
            said += piece
            if b"[y/N]" in piece:
                os.write(ours, typed.encode())
        out, _ = process.communicate(timeout=COMMAND_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Result(process.returncode, out, said.decode())


def test_on_a_terminal_rm_asks_first(cluster: Cluster, sealane: Commands, tmp_path: Path) -> None:
    put = sealane("put", write_content(tmp_path / "asked.bin", 10).path, "--json").document
    session, key = put["session_id"], put["committed_object"]["key"]
    refused = on_a_terminal(sealane, "n\n", "rm", session)
    assert (refused.code, refused.out) == (130, "")
    assert "asked.bin" in refused.err
    assert "nothing was removed" in refused.err
    assert get(cluster, key)[0] == 200
    done = on_a_terminal(sealane, "y\n", "rm", session)
    assert done.code == 0, done.err
    assert get(cluster, key)[0] == 404
