"""`sealane dev` and the demo: they start what they say, they restart what crashes, and they leave nothing running."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import CHUNK, COMMAND_SECONDS, Commands, Content, environment, write_content

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def alone(tmp_path: Path) -> Commands:
    """`sealane …` in an empty folder, told of no endpoint."""
    (tmp_path / "home").mkdir()
    env = environment(HOME=str(tmp_path / "home"), XDG_STATE_HOME=str(tmp_path / "home"))
    return Commands(tmp_path, "", "", env)


class Dev:
    """A running `sealane dev --json`, its events line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.ready = self.await_record(lambda record: "ready" in record)

    def await_record(self, wanted: Any) -> dict[str, Any]:
        """The next record that ``wanted`` accepts; fails when the process ends before."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.process.stdout], [], [], 1)
            line = self.process.stdout.readline() if readable else ""
            if line and wanted(record := json.loads(line)):
                return dict(record)
            assert line or self.process.poll() is None, f"ended with code {self.process.poll()}"
        pytest.fail("no such event")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ports(self) -> list[int]:
        addresses = [s[name] for s in self.ready["services"] for name in ("address", "health_address")]
        addresses.append(self.ready["store"]["endpoint"])
        return [int(address.rpartition(":")[2]) for address in addresses]


@contextmanager
def dev(commands: Commands, *words: str) -> Iterator[Dev]:
    # A file, and unbuffered reads: readline and select don't agree over a buffer.
    process = commands.popen("dev", "--json", *words, stderr=None, bufsize=1)
    try:
        yield Dev(process)
    finally:
        process.kill()
        process.communicate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_all_gone(children: list[psutil.Process], ports: list[int]) -> None:
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert gone
    assert not [port for port in ports if answers(port)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_leaves_nothing_running(alone: Commands, number: signal.Signals) -> None:
    with dev(alone) as running:
        children, ports = running.children(), running.ports()
        assert all(answers(port) for port in ports)
        running.process.send_signal(number)
        assert running.process.wait(COMMAND_SECONDS) == 0
        assert_all_gone(children, ports)
        assert not (alone.directory / ".sealane/dev/cluster.json").exists()


def test_sigkill_of_dev_itself_leaves_nothing_running(alone: Commands) -> None:
    with dev(alone) as running:
        children, ports = running.children(), running.ports()
        running.process.kill()
        assert_all_gone(children, ports)


def test_other_commands_in_the_folder_find_it_and_its_data_outlive_it(alone: Commands) -> None:
    """No flag, no environment; after a restart on the same folder a committed object is still there."""
    content = write_content(alone.directory / "small.bin", CHUNK + 1)
    with dev(alone) as running:
        put = alone("put", content.path, "--json")
        assert put.code == 0, put.err
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(COMMAND_SECONDS)
    with dev(alone, "--ingest", "2") as running:
        assert len(running.ready["services"]) == 3
        verified = alone("verify", put.document["session_id"], "--against", content.path, "--json")
        assert verified.code == 0, verified.err


def test_a_crashed_service_is_started_again_on_its_port(alone: Commands) -> None:
    with dev(alone) as running:
        ingest = next(s for s in running.ready["services"] if s["kind"] == "ingest")
        (process,) = [
            child
            for child in running.children()
            if "ingest_service" in " ".join(child.cmdline()) and child.ppid() == running.process.pid
        ]
        process.kill()
        crash = running.await_record(lambda record: "ingest-1" in record.get("event", ""))
        assert "signal 9" in crash["event"]
        running.await_record(lambda record: "ingest-1 is ready again" in record.get("event", ""))
        info = alone("info", "--ingest", ingest["address"], "--json")
        assert info.code == 0, info.err


def test_a_second_dev_on_the_folder_is_refused_and_the_first_goes_on(alone: Commands) -> None:
    with dev(alone) as running:
        second = alone("dev", "--json")
        assert (second.code, json.loads(second.err)["error"]["reason"]) == (4, "CANNOT_START")
        assert running.process.poll() is None
        assert alone("ls", "--json").code == 0


def test_the_table_has_every_port_the_keys_and_lines_to_paste(alone: Commands) -> None:
    log = alone.directory / "said"
    with log.open("w") as file:
        process = alone.popen("dev", stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + COMMAND_SECONDS
        while "Ctrl-C stops everything" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            select.select([], [], [], 0.1)
        shown = log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(COMMAND_SECONDS)
    keys = json.loads((alone.directory / ".sealane/dev/credentials.json").read_bytes())
    assert keys["secret_key"] in shown
    assert "grpcurl -plaintext 127.0.0.1:" in shown
    assert "sealane put FILE" in shown
    assert "ingest-1" in shown
    assert "assembly-1" in shown


def test_the_demo_kills_resumes_compares_and_leaves_nothing(tmp_path: Path) -> None:
    """The main job with a SIGKILL of ingest in its middle (I4, I5), told step by step."""
    content: Content = write_content(tmp_path / "demo.bin", 12 * CHUNK + 77)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = {process.pid for process in psutil.process_iter()}
    done = subprocess.run(
        [sys.executable, "-m", "sealane.dev.demo", "--file", str(content.path)],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment(HOME=str(tmp_path), TMPDIR=str(temporary)),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL to ingest" in done.stdout
    assert content.blake3 in done.stdout
    assert "✗" not in done.stdout
    assert "All checks held" in done.stdout
    assert list(temporary.iterdir()) == []
    left = [
        process.pid
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.pid not in before and str(temporary) in " ".join(process.info["cmdline"] or ())
    ]
    assert left == []


def test_the_demo_fails_when_the_file_is_too_small_to_be_interrupted(tmp_path: Path) -> None:
    content = write_content(tmp_path / "tiny.bin", 10)
    done = subprocess.run(
        [sys.executable, "-m", "sealane.dev.demo", "--file", str(content.path)],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment(HOME=str(tmp_path), TMPDIR=str(tmp_path)),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "24 MiB" in done.stderr
