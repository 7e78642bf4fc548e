"""`sealane dev` and the demo: they start what they say, they restart what crashes, and they leave nothing running."""

from __future__ import annotations

import json
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import CHUNK, Commands, write_content
from cli_process import environment as clean_environment
from grpcurl import grpcurl

from sealane import cluster_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

START_SECONDS = 180  # four programs that start and a probe in each, on a machine that may be busy


def folder(directory: Path) -> Commands:
    """`sealane …` in an empty folder, told of no endpoint."""
    (directory / "home").mkdir()
    home = str(directory / "home")
    return Commands(directory, "", "", clean_environment(HOME=home, XDG_STATE_HOME=home))


class Dev:
    """A running `sealane dev`; with --json, its events line by line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def await_line(self, wanted: Callable[[str], bool]) -> str:
        """The first line, said already or to come, that ``wanted`` accepts; fails when the process ends before."""
        deadline = time.monotonic() + START_SECONDS
        ended = False
        while time.monotonic() < deadline:
            for line in self.said.splitlines():
                if wanted(line):
                    return line
            assert not ended, f"ended with code {self.process.returncode}: {self.said}"
            ended = self.process.poll() is not None
            select.select([], [], [], 0.05)
        pytest.fail(f"no such line in {self.said}")

    def await_ready(self) -> dict[str, Any]:
        """The record that names every port and key."""
        record: dict[str, Any] = json.loads(self.await_line(lambda line: line.startswith('{"ready":true')))
        return record

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def dev(commands: Commands, *words: str) -> Iterator[Dev]:
    log = commands.directory / "said"
    with log.open("w") as file:
        process = commands.popen("dev", *words, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Dev(process, log)
    finally:
        process.kill()
        process.wait()


def ports_of(record: dict[str, Any]) -> list[int]:
    addresses = [service[name] for service in record["services"] for name in ("address", "health_address")]
    addresses.append(record["store"]["endpoint"])
    return [int(address.rpartition(":")[2]) for address in addresses]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_all_gone(children: list[psutil.Process], ports: list[int]) -> None:
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert gone
    assert not [port for port in ports if answers(port)]


# --- one cluster that several tests look at ---


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return folder(tmp_path_factory.mktemp("dev"))


@pytest.fixture(scope="module")
def running(here: Commands) -> Iterator[Dev]:
    with dev(here, "--json") as started:
        started.await_ready()
        yield started


@pytest.mark.usefixtures("running")
def test_other_commands_in_the_folder_find_it_without_a_flag(here: Commands) -> None:
    content = write_content(here.directory / "found.bin", CHUNK + 1)
    put = here("put", content.path, "--json")
    assert put.code == 0, put.err
    assert put.document["committed_object"]["blake3"] == content.blake3


def test_a_second_dev_on_the_folder_is_refused_and_the_first_goes_on(here: Commands, running: Dev) -> None:
    second = here("dev", "--json")
    assert (second.code, second.error["reason"]) == (4, "CANNOT_START")
    assert running.process.poll() is None
    assert here("ls", "--json").code == 0


def test_a_crashed_service_is_started_again_on_its_port(here: Commands, running: Dev) -> None:
    (ingest,) = [child for child in running.children() if "ingest_service" in child.cmdline()]
    ingest.kill()
    assert "signal 9" in running.await_line(lambda line: "ingest-1 was ended" in line)
    running.await_line(lambda line: "ingest-1 is ready again" in line)
    info = here("info", "--json")
    assert info.code == 0, info.err
    (again,) = [child for child in running.children() if "ingest_service" in child.cmdline()]
    assert again.pid != ingest.pid


def test_doctor_asks_the_store_of_the_running_cluster(here: Commands, running: Dev) -> None:
    said = here("doctor", "--json", timeout=START_SECONDS)
    assert said.code == 0, said.err
    assert said.document["endpoint"] == running.await_ready()["store"]["endpoint"]


def test_sigkill_of_dev_itself_leaves_nothing_running(here: Commands, running: Dev) -> None:
    """The last test of this cluster: the kernel ends the children with their parent."""
    children, ports = running.children(), ports_of(running.await_ready())
    running.process.kill()
    assert_all_gone(children, ports)
    assert (here.directory / ".sealane/dev/cluster.json").exists()
    assert cluster_file.read(here.directory / ".sealane/dev") is None, "the file that it left misleads nobody"


# --- clusters of their own ---


def test_a_signal_stops_everything_and_the_data_outlive_it(tmp_path: Path) -> None:
    """SIGTERM, then a second life on the same folder, for people to read, ended by SIGINT."""
    here = folder(tmp_path)
    content = write_content(tmp_path / "kept.bin", 1001)
    with dev(here, "--json", "--ingest", "2") as first:
        record = first.await_ready()
        assert len(record["services"]) == 3
        children, ports = first.children(), ports_of(record)
        assert all(answers(port) for port in ports)
        put = here("put", content.path, "--json")
        assert put.code == 0, put.err
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(60) == 0
        assert_all_gone(children, ports)
        assert not (tmp_path / ".sealane/dev/cluster.json").exists()
    with dev(here) as second:
        second.await_line(lambda line: "Ctrl-C stops everything" in line)
        keys = json.loads((tmp_path / ".sealane/dev/credentials.json").read_bytes())
        for shown in (keys["secret_key"], "grpcurl -plaintext 127.0.0.1:", "sealane put FILE", "assembly-1"):
            assert shown in second.said
        verified = here("verify", put.document["session_id"], "--against", content.path, "--json")
        assert verified.code == 0, verified.err
        children = second.children()
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(60) == 0
        assert_all_gone(children, [])
        assert "nothing is left running" in second.said


def test_with_tls_commands_in_the_folder_need_no_flag_and_others_what_it_prints(tmp_path: Path) -> None:
    here, elsewhere = folder(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    content = write_content(tmp_path / "secret.bin", CHUNK + 1)
    with dev(here, "--tls", "--ingest", "2") as started:
        started.await_line(lambda line: "Ctrl-C stops everything" in line)
        info = cluster_file.read(tmp_path / ".sealane/dev")
        assert info is not None
        put = here("put", content.path, "--json")  # ingest and assembly ask each other, too
        assert put.code == 0, put.err
        at = ["--ingest", ",".join(info.addresses("ingest")), "--assembly", info.addresses("assembly")[0]]
        exported = started.await_line(lambda line: line.startswith("  export ")).removeprefix("  export ")
        there = replace(here, directory=elsewhere)
        told = replace(there, env=there.env | dict(word.split("=", 1) for word in shlex.split(exported)))
        assert told("status", put.document["session_id"], "--json", *at).code == 0
        untold = there("ls", "--json", "--timeout", "1", *at)
        assert (untold.code, untold.error["reason"]) == (6, "PEER_UNAVAILABLE")
        assert f"grpcurl -cacert {info.ca_file} {info.addresses('ingest')[0]}" in started.said
        assert "-plaintext" not in started.said
        listed = grpcurl(
            info.addresses("ingest")[0], "IngestService/ListSessions", {}, ca_file=Path(info.ca_file)
        )  # by the address in the certificate: grpcurl is told no name
        assert put.document["session_id"] in str(listed)
        keys = Path(info.ca_file).parent
        assert {path.name for path in keys.iterdir()} == {"ca.pem", "tls.pem", "tls.key"}, "no key of the authority"
        assert (keys / "tls.key").stat().st_mode & 0o777 == 0o600


def run_demo(directory: Path, file: Path) -> subprocess.CompletedProcess[str]:
    temporary = directory / "tmp"
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "sealane.dev.demo", "--file", str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(HOME=str(directory), TMPDIR=str(temporary)),
        cwd=directory,
        check=False,
    )


def assert_nothing_left(directory: Path) -> None:
    temporary = directory / "tmp"
    assert list(temporary.iterdir()) == []
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if str(temporary) in " ".join(p.info["cmdline"] or ())]
    assert left == []


def test_the_demo_kills_resumes_compares_and_leaves_nothing(tmp_path: Path) -> None:
    """The main job with a SIGKILL of ingest in its middle (I4, I5), told step by step."""
    content = write_content(tmp_path / "demo.bin", 12 * CHUNK + 77)
    done = run_demo(tmp_path, content.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL to ingest" in done.stdout
    assert content.blake3 in done.stdout
    assert "✗" not in done.stdout
    assert "All checks held" in done.stdout
    assert_nothing_left(tmp_path)


def test_the_demo_refuses_a_file_that_is_too_small_to_be_interrupted(tmp_path: Path) -> None:
    done = run_demo(tmp_path, write_content(tmp_path / "tiny.bin", 10).path)
    assert done.returncode == 1
    assert "24 MiB" in done.stderr
    assert_nothing_left(tmp_path)
