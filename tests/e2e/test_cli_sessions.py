"""The commands that look: status, watch, ls, info, verify; and abort. Shapes of --json, and exit codes."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import blake3
import grpc
import pytest
from cli_process import CHUNK, Commands, Content, write_content

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_request
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc as rpc

pytestmark = pytest.mark.e2e

UNKNOWN = "0123456789abcdef" * 2


def open_session(cluster: Cluster, *, size: int, chunks: dict[int, bytes]) -> str:
    """A session with some chunks sent by hand, left OPEN."""
    with grpc.insecure_channel(cluster.of_kind("ingest")[0].address) as channel:
        stub = rpc.IngestServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
        created = stub.CreateSession(
            pb.CreateSessionRequest(filename="by-hand.bin", size=size, chunk_size=CHUNK), timeout=30
        )
        session: str = created.session.session_id

        def messages() -> Any:
            yield pb.UploadChunksRequest(header=pb.StreamHeader(session_id=session))
            for index, body in chunks.items():
                for offset in range(0, len(body), 1 << 20):
                    data = body[offset : offset + (1 << 20)]
                    last = offset + len(data) == len(body)
                    digest = blake3.blake3(body).digest() if last else b""
                    frame = pb.ChunkFrame(chunk_index=index, offset=offset, data=data, blake3=digest)
                    yield pb.UploadChunksRequest(frame=frame)

        if chunks:
            stub.UploadChunks(messages(), timeout=60)
    return session


@pytest.fixture(scope="module")
def holey(cluster: Cluster) -> tuple[str, bytes]:
    """A session of four chunks of which 0 and 2 have arrived; and chunk 0's bytes."""
    first = secrets.token_bytes(CHUNK)
    return open_session(cluster, size=4 * CHUNK, chunks={0: first, 2: secrets.token_bytes(CHUNK)}), first


# --- status ---


def test_status_names_the_missing_chunks_and_the_prefix_digest(sealane: Commands, holey: tuple[str, bytes]) -> None:
    session, first = holey
    shown = sealane("status", session, "--json").document
    assert shown["state"] == "OPEN"
    coverage = shown["coverage"]
    assert (coverage["stored_chunks"], coverage["stored_bytes"], coverage["complete"]) == (2, 2 * CHUNK, False)
    assert coverage["missing"] == [{"first": 1, "last": 1}, {"first": 3, "last": 3}]
    assert coverage["prefix"] == {"chunks": 1, "bytes": CHUNK, "blake3": blake3.blake3(first).hexdigest()}
    assert shown["committed_object"] is None
    assert shown["chunk_count"] == 4


def test_status_draws_the_holes_and_says_how_to_check_the_prefix(sealane: Commands, holey: tuple[str, bytes]) -> None:
    session, first = holey
    shown = sealane("status", session)
    assert shown.code == 0, shown.err
    assert "█" * 10 + "░" * 10 + "█" * 10 + "░" * 10 in shown.out
    assert re.search(r"missing\s+1, 3\b", shown.out)
    assert f"head -c {CHUNK} " in shown.out
    assert "b3sum" in shown.out
    assert blake3.blake3(first).hexdigest() in shown.out


def test_status_of_a_committed_session_has_its_object(sealane: Commands, committed: dict[str, Any]) -> None:
    shown = sealane("status", committed["session_id"], "--json").document
    assert shown["state"] == "COMMITTED"
    expected = {**committed["committed_object"], "replayed": shown["committed_object"]["replayed"]}
    assert shown["committed_object"] == expected


def test_an_unknown_session_is_exit_3_and_its_reason_is_named(sealane: Commands) -> None:
    for words in (("status",), ("verify",), ("abort",), ("watch",)):
        asked = sealane(*words, UNKNOWN, "--json")
        assert (asked.code, asked.error["reason"], asked.error["code"]) == (3, "SESSION_NOT_FOUND", "NOT_FOUND"), words
        assert asked.out == ""
    assert "sealane ls" in sealane("status", UNKNOWN).err


def test_a_session_id_that_cannot_be_is_exit_2(sealane: Commands) -> None:
    asked = sealane("status", "../etc", "--json")
    assert (asked.code, asked.error["reason"]) == (2, "INVALID_SESSION_ID")


# --- watch, ls, info ---


def test_watch_ends_by_itself_after_a_final_state(sealane: Commands, committed: dict[str, Any]) -> None:
    watched = sealane("watch", committed["session_id"], "--json")
    assert watched.code == 0, watched.err
    assert watched.records[-1]["state"] == "COMMITTED"
    assert "COMMITTED" in sealane("watch", committed["session_id"]).out


def test_watch_sees_a_session_change(cluster: Cluster, sealane: Commands) -> None:
    session = open_session(cluster, size=CHUNK, chunks={})
    process = sealane.popen("watch", session, "--json")
    try:
        assert process.stdout is not None
        assert '"OPEN"' in process.stdout.readline()
        assert sealane("abort", session).code == 0
        rest, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 4, said
    assert '"ABORTED"' in rest.splitlines()[-1]


def test_ls_lists_and_filters_by_state(sealane: Commands, holey: tuple[str, bytes], committed: dict[str, Any]) -> None:
    listed = {session["session_id"]: session for session in sealane("ls", "--json").document["sessions"]}
    assert listed[holey[0]]["state"] == "OPEN"
    assert listed[committed["session_id"]]["state"] == "COMMITTED"
    only = sealane("ls", "--state", "committed", "--json").document["sessions"]
    assert {session["state"] for session in only} == {"COMMITTED"}
    shown = sealane("ls").out
    assert holey[0] in shown
    assert "by-hand.bin" in shown
    assert len(sealane("ls", "--limit", "1", "--json").document["sessions"]) == 1


def test_info_has_limits_and_the_stores_verdict(sealane: Commands) -> None:
    info = sealane("info", "--json").document
    assert {row["guarantee"] for row in info["store_probe"]} == {"R1", "R2", "R3", "R4", "R5", "R6"}
    assert all(row["ok"] for row in info["store_probe"])
    assert info["limits"]["max_chunks"] == 10_000
    assert "R2" in sealane("info").out


# --- verify ---


def test_verify_proves_the_object_at_rest_and_against_the_file(
    sealane: Commands, committed: dict[str, Any], three_chunks: Content
) -> None:
    verified = sealane("verify", committed["session_id"], "--against", three_chunks.path, "--json")
    assert verified.code == 0, verified.err
    assert verified.document["verified"] is True
    assert verified.document["blake3"] == three_chunks.blake3
    assert verified.document["against"]["equal"] is True
    assert three_chunks.blake3 in sealane("verify", committed["session_id"]).out


def test_verify_against_another_file_is_exit_5(
    sealane: Commands, committed: dict[str, Any], three_chunks: Content, tmp_path: Path
) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(three_chunks.body[:-1] + b"\x00")
    verified = sealane("verify", committed["session_id"], "--against", other, "--json")
    assert (verified.code, verified.error["reason"]) == (5, "FILE_DIFFERS")


def test_verify_of_bytes_that_rotted_at_rest_is_exit_5(cluster: Cluster, sealane: Commands, tmp_path: Path) -> None:
    """The object is overwritten behind sealane's back; the digest of the commit tells."""
    content = write_content(tmp_path / "rot.bin", 1000)
    put = sealane("put", content.path, "--json").document
    store, where = cluster.store, put["committed_object"]
    rotten = bytes([content.body[0] ^ 1]) + content.body[1:]
    status, _ = signed_request(
        store.endpoint,
        "PUT",
        f"{where['bucket']}/{where['key']}",
        access_key=store.access_key,
        secret_key=store.secret_key,
        body=rotten,
    )
    assert status == 200
    verified = sealane("verify", put["session_id"], "--json")
    assert verified.code == 5
    assert verified.error["code"] == "DATA_LOSS"


def test_verify_before_the_commit_is_exit_4(sealane: Commands, holey: tuple[str, bytes]) -> None:
    verified = sealane("verify", holey[0], "--json")
    assert (verified.code, verified.error["reason"]) == (4, "SESSION_NOT_COMMITTED")


# --- abort ---


def test_abort_is_idempotent_and_says_what_became_of_the_session(cluster: Cluster, sealane: Commands) -> None:
    session = open_session(cluster, size=CHUNK, chunks={})
    first, second = sealane("abort", session, "--json"), sealane("abort", session, "--json")
    assert (first.code, second.code) == (0, 0)
    assert first.document == second.document == {"session_id": session, "state": "ABORTED"}


def test_abort_of_a_committed_session_is_exit_4_and_leaves_the_object(
    sealane: Commands, committed: dict[str, Any]
) -> None:
    """I10: nothing aborts a session decided COMMIT."""
    aborted = sealane("abort", committed["session_id"], "--json")
    assert (aborted.code, aborted.error["reason"]) == (4, "SESSION_SEALED")
    assert sealane("verify", committed["session_id"]).code == 0
