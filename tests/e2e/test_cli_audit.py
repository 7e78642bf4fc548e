"""`sealane audit` and `sealane explain` on a real store: what does not belong, and what happened to what does."""

from __future__ import annotations

import itertools
import secrets
from pathlib import Path
from typing import Any

import pytest
from cli_process import Commands, write_content

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_request

pytestmark = pytest.mark.e2e


def ask(cluster: Cluster, method: str, key: str, body: bytes = b"") -> int:
    """The status of one plain S3 request."""
    store = cluster.store
    status, _ = signed_request(
        store.endpoint,
        method,
        f"{store.bucket}/{key}",
        access_key=store.access_key,
        secret_key=store.secret_key,
        body=body,
    )
    return status


def test_an_object_of_no_session_is_told_and_never_removed(cluster: Cluster, sealane: Commands) -> None:
    """Exit code 8 while it is there, for people and for programs. (What the sweeper removes might not last so long.)"""
    session = secrets.token_hex(16)
    key = f"default/by-session/{session}/ghost.bin"
    assert ask(cluster, "PUT", key, b"ghost") == 200

    told = sealane("audit", "--min-age", "0s", "--repair", "--json")
    assert (told.code, told.err) == (8, "")
    ours = [each for each in told.document["findings"] if each["session_id"] == session]
    assert [(each["kind"], each["key"], each["count"], each["bytes"], each["repaired"]) for each in ours] == [
        ("OBJECT_WITHOUT_RECORDS", key, 1, 5, False)
    ]
    assert told.document["clean"] is False
    assert told.document["keys"] >= 1
    counted = {each["kind"]: each for each in told.document["kinds"]}
    assert counted["OBJECT_WITHOUT_RECORDS"]["findings"] >= 1

    for_people = sealane("audit", "--min-age", "0s")
    assert for_people.code == 8
    assert session in for_people.out
    assert "object without records" in for_people.out
    assert "finding" in for_people.out.splitlines()[-1]
    assert ask(cluster, "GET", key) == 200
    assert session not in sealane("audit", "--json").out, "what is younger than 15 minutes may just be being written"
    assert ask(cluster, "DELETE", key) == 204


def test_receipts_of_no_session_are_removed_on_request(cluster: Cluster, sealane: Commands) -> None:
    """By this audit, unless a sweeper was quicker."""
    session = secrets.token_hex(16)
    digests = ".".join(["A" * 43] * 3)
    keys = [f".sealane/default/sessions/{session}/receipts/{n:08d}.5.{digests}.ImUi" for n in range(2)]
    assert {ask(cluster, "PUT", key) for key in keys} == {200}
    repaired = sealane("audit", "--min-age", "0s", "--repair", "--json")
    assert repaired.code in (0, 8)
    assert all(each["repaired"] for each in repaired.document["findings"] if each["session_id"] == session)
    assert {ask(cluster, "GET", key) for key in keys} == {404}


def test_explain_tells_a_sessions_life_with_the_services_own_lines_between(
    cluster: Cluster, sealane: Commands, committed: dict[str, Any], tmp_path: Path
) -> None:
    """Created, stored, decided, committed, in this order; the lines of both services; what is no line is counted."""
    session = committed["session_id"]
    noise = tmp_path / "noise.log"
    noise.write_text("not a line of ours\n")
    logs = [service.log_path for service in cluster.services]
    told = sealane("explain", session, "--json", "--logs", noise, *logs)
    assert told.code == 0, told.err
    document = told.document
    assert document["session_id"] == session
    events = [each["event"] for each in document["history"] if each["source"] == "store"]
    for before, after in itertools.pairwise(["created", "chunks_stored", "decided", "committed"]):
        assert events.index(before) < events.index(after)
    chunks = [gap for each in document["history"] for gap in each.get("chunks", ())]
    assert {index for gap in chunks for index in range(gap["first"], gap["last"] + 1)} == {0, 1, 2}
    lines = [each for each in document["history"] if each["source"] != "store"]
    methods = {each["fields"].get("method", "").rpartition("/")[2] for each in lines}
    assert {"CreateSession", "UploadChunks", "CommitSession"} <= methods
    assert document["logs"]["files"] == len(logs) + 1
    assert document["logs"]["unknown"] >= 1
    assert document["logs"]["lines"] == len(lines)

    for_people = sealane("explain", session, "--logs", *logs)
    assert for_people.code == 0, for_people.err
    assert "committed" in for_people.out
    assert "CommitSession" in for_people.out
    assert "of others" in for_people.err
    only_store = sealane("explain", session)
    assert "CommitSession" not in only_store.out
    assert document["in_store"] is True
    assert sealane("explain", "0123456789abcdef" * 2, "--json").error["reason"] == "SESSION_NOT_FOUND"


def test_of_a_session_that_was_removed_the_logs_alone_tell(cluster: Cluster, sealane: Commands, tmp_path: Path) -> None:
    """At three in the morning: who removed it, and when? An id that nobody ever had stays unknown."""
    file = write_content(tmp_path / "a.bin", 100).path
    session = sealane("put", file, "--json").document["session_id"]
    assert sealane("rm", session).code == 0
    logs = [service.log_path for service in cluster.services]
    assert sealane("explain", session, "--json").error["reason"] == "SESSION_NOT_FOUND"
    told = sealane("explain", "--json", "--logs", *logs, session)
    assert told.code == 0, told.err
    assert told.document["in_store"] is False
    methods = [each["fields"].get("method", "") for each in told.document["history"]]
    assert [method for method in methods if method.endswith(("/CommitSession", "/DeleteSession"))]
    assert "logs alone" in sealane("explain", session, "--logs", *logs).err
    never = "0123456789abcdef" * 2
    for _ in range(2):  # the second finds the first in the logs
        assert sealane("explain", never, "--json", "--logs", *logs).error["reason"] == "SESSION_NOT_FOUND"
