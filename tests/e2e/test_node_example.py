"""examples/node: a client that is made of docs/grpc.md and the protos alone, as its users run it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_process import CHUNK, Commands, Content, environment, write_content
from test_cli_put import await_stored, next_line, object_bytes

from sealane.dev.cluster import Cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "node"
SECONDS = 120

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (EXAMPLE / "node_modules").is_dir(), reason="its packages are missing: npm ci in examples/node"
    ),
]


def argv(cluster: Cluster, *words: object) -> list[str]:
    services = ["--ingest", cluster.target("ingest"), "--assembly", cluster.target("assembly")]
    return ["node", str(EXAMPLE / "upload.mjs"), *map(str, words), *services]


def upload(cluster: Cluster, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(cluster, *words), capture_output=True, text=True, timeout=SECONDS, env=environment(), check=False
    )


def test_what_it_uploads_is_in_the_store_and_the_same_command_answers_the_same(
    cluster: Cluster, three_chunks: Content
) -> None:
    first, again = upload(cluster, three_chunks.path), upload(cluster, three_chunks.path)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    answer = json.loads(first.stdout)
    assert answer["blake3"] == three_chunks.blake3
    assert object_bytes(cluster, answer) == three_chunks.body
    assert json.loads(again.stdout) == answer | {"replayed": True}


def test_an_empty_file_is_an_object(cluster: Cluster, tmp_path: Path) -> None:
    empty = write_content(tmp_path / "empty", 0)
    done = upload(cluster, empty.path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["blake3"] == empty.blake3


def test_after_sigkill_of_the_program_and_of_an_ingest_the_same_command_goes_on(
    cluster: Cluster, sealane: Commands, tmp_path: Path
) -> None:
    content = write_content(tmp_path / "film.bin", 20 * CHUNK + 7)
    words = argv(cluster, content.path, "--streams", "1")
    with subprocess.Popen(
        words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as killed:
        session = next_line(killed, lambda line: line.startswith("session ")).split()[1]
        await_stored(sealane, session, 1)
        killed.kill()
    ingest = cluster.of_kind("ingest")[0]
    with subprocess.Popen(
        words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as resumed:
        stored = next_line(resumed, lambda line: "chunks are stored" in line)
        ingest.kill()
        try:
            out, err = resumed.communicate(timeout=SECONDS)
        finally:
            ingest.start(timeout=SECONDS)
    assert resumed.returncode == 0, err
    assert 1 <= int(stored.split()[0]) <= 20
    answer = json.loads(out)
    assert (session in answer["key"], answer["blake3"]) == (True, content.blake3)
    assert object_bytes(cluster, answer) == content.body


def test_a_key_that_is_taken_is_not_replaced_and_what_was_sent_is_given_up(
    cluster: Cluster, sealane: Commands, tmp_path: Path
) -> None:
    one, two = write_content(tmp_path / "one", 1000), write_content(tmp_path / "two", 2000)
    key = ("--key", "node/a")
    assert upload(cluster, one.path, *key).returncode == 0
    refused = upload(cluster, two.path, *key)
    assert refused.returncode == 1
    assert "GENERATION_MISMATCH" in refused.stderr
    session = refused.stderr.split()[1]
    assert sealane("status", session, "--json").document["state"] == "ABORTED"
    replaced = upload(cluster, two.path, *key, "--if-generation", "1")
    assert json.loads(replaced.stdout)["generation"] == "2"
