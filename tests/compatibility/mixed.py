"""``make mixed-versions REF=v0.1.0``: this tree's services beside those of another commit, on one bucket, for real.

Ingest of the one and assembly of the other, and the other way round; the command lines of both put a file at a key of
its own and at a chosen one, and each reads back what the other committed. What a roll is, and what a roll-back is.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealane.dev.ports import free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.seaweed import SeaweedFS

ROOT = Path(__file__).parents[2]
BYTES = 20_000_001


def unpack(reference: str, folder: Path) -> Path:
    """The tree of a commit. CalledProcessError, with git's words, for what is none."""
    archive = subprocess.run(["git", "archive", reference], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def environment(tree: Path, state: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "XDG_STATE_HOME": str(state)}


def ready(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            request = health_pb2.HealthCheckRequest(service="readiness")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=1.0)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def services(store: SeaweedFS, trees: dict[str, Path], folder: Path) -> Iterator[list[str]]:
    """One ingest and one assembly, each of a tree of its own; the options that find them."""
    calls, health = free_ports(2), free_ports(2)
    running: list[ChildProcess] = []
    try:
        for number, (kind, tree) in enumerate(trees.items()):
            values = environment(tree, folder) | {
                "SEALANE_S3_ENDPOINT": store.endpoint,
                "SEALANE_S3_ACCESS_KEY": store.access_key,
                "SEALANE_S3_SECRET_KEY": store.secret_key,
                "SEALANE_LISTEN": f"127.0.0.1:{calls[number]}",
                "SEALANE_HEALTH_LISTEN": f"127.0.0.1:{health[number]}",
                "SEALANE_METRICS_LISTEN": "127.0.0.1:0",
                "SEALANE_PEER": f"127.0.0.1:{calls[1 - number]}",
                "SEALANE_PROBE_PAGE_KEYS": "10",
            }
            argv = [sys.executable, "-P", "-m", f"{kind}_service"]
            log = folder / f"{kind}-{secrets.token_hex(2)}.log"
            running.append(ChildProcess(argv, env=values, cwd=folder, log_path=log, name=kind).start())
        for child, port in zip(running, health, strict=True):
            child.await_ready(lambda port=port: ready(port), timeout=120.0)  # type: ignore[misc]
        yield [f"--{kind}=127.0.0.1:{port}" for kind, port in zip(trees, calls, strict=True)]
    finally:
        for child in running:
            child.kill()


def sealane(tree: Path, folder: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "sealane.cli", *words, "--json"]
    done = subprocess.run(
        command, env=environment(tree, folder), cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(words[:2])}: exit code {done.returncode}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(reference: str) -> int:
    with tempfile.TemporaryDirectory(prefix="mixed-") as name:
        folder = Path(name)
        trees = {"this tree": ROOT, reference: unpack(reference, folder / "other")}
        committed: list[str] = []
        with SeaweedFS(folder / "store", access_key="mixed", secret_key=secrets.token_hex(16)) as store:
            for one, other in ((reference, "this tree"), ("this tree", reference)):
                pair = {"ingest": trees[one], "assembly": trees[other]}
                with services(store, pair, folder) as where:
                    for whose, tree in trees.items():
                        file = folder / f"file-{len(committed)}"
                        file.write_bytes(secrets.token_bytes(BYTES))
                        for key in ([], ["--key", "a/chosen.key", "--overwrite"]):
                            answer = sealane(tree, folder, "put", str(file), *key, *where)
                            if not key:
                                committed.append(answer["session_id"])
                        print(f"ingest of {one}, assembly of {other}, command line of {whose}: two objects committed")
                    for session in committed:
                        assert sealane(ROOT, folder, "verify", session, *where)["verified"] is True
                    print(f"  {len(committed)} objects, of all pairs so far, read back and proven")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which other version? make mixed-versions REF=v0.1.0")
    sys.exit(main(sys.argv[1]))
