"""sealane.dev.process and sealane.dev.ports: what is started is ended, whoever dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import sealane
from sealane.dev.ports import ephemeral_start, free_ports
from sealane.dev.process import ChildProcess, StartFailed

# Says "up" once it handles signals as the test wants, then sleeps.
OBEDIENT = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: signal.pause()"
)


def python(program: str, directory: Path, **options: object) -> ChildProcess:
    return ChildProcess([sys.executable, "-c", program], log_path=directory / "child.log", **options)  # type: ignore[arg-type]  # passed through


def up(child: ChildProcess) -> ChildProcess:
    child.start().await_ready(lambda: "up" in child.log_tail(), timeout=30)
    return child


def test_stop_ends_an_obedient_child_by_sigterm(tmp_path: Path) -> None:
    child = up(python(OBEDIENT, tmp_path))
    assert child.running
    assert child.stop(grace=30) == -signal.SIGTERM
    assert not psutil.pid_exists(child.pid)


def test_stop_ends_a_child_that_ignores_sigterm_by_sigkill(tmp_path: Path) -> None:
    child = up(python(STUBBORN, tmp_path))
    assert child.stop(grace=0.05) == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


def test_stop_ends_grandchildren_that_outlived_the_child(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, signal\n"
        f"p = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\nprint(p.pid, 'up', flush=True)\nsignal.pause()"
    )
    child = up(python(program, tmp_path))
    grandchild = psutil.Process(int(child.log_tail().split()[0]))
    child.stop(grace=30)
    grandchild.wait(timeout=30)
    assert not grandchild.is_running()


def test_the_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent, which can clean up nothing, ends the child too."""
    program = (
        "import sys, signal\nfrom pathlib import Path\nfrom sealane.dev.process import ChildProcess\n"
        f"c = ChildProcess([sys.executable, '-c', {STUBBORN!r}], log_path=Path({str(tmp_path / 'grandchild.log')!r}))\n"
        "c.start().await_ready(lambda: 'up' in c.log_tail(), timeout=30)\nprint(c.pid, flush=True)\nsignal.pause()"
    )
    path = {**os.environ, "PYTHONPATH": str(Path(sealane.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=path) as parent:
        assert parent.stdout is not None
        grandchild = psutil.Process(int(parent.stdout.readline()))
        assert grandchild.is_running()
        parent.kill()
        grandchild.wait(timeout=30)


def test_the_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel takes "parent" to be the thread that forked: a start from `asyncio.to_thread` must not be fatal."""
    child = python(OBEDIENT, tmp_path)
    thread = threading.Thread(target=lambda: up(child))
    thread.start()
    thread.join()
    try:
        with pytest.raises(TimeoutError):
            child.wait(timeout=0.3)  # it would be dead at once: the signal comes with the thread's end
    finally:
        child.stop()


def test_a_stopped_child_starts_again_and_appends_to_its_log(tmp_path: Path) -> None:
    child = up(python(OBEDIENT, tmp_path))
    first = child.pid
    child.kill()
    up(child)
    assert child.pid != first
    assert child.log_path.read_text(encoding="utf-8").count("up") == 2
    assert child.log_tail() == "up"  # since the latest start
    child.stop()


def test_a_second_start_of_a_running_child_is_an_error(tmp_path: Path) -> None:
    with python(OBEDIENT, tmp_path) as child, pytest.raises(RuntimeError, match="runs already"):
        child.start()
    assert not psutil.pid_exists(child.pid)


def test_a_child_that_ends_before_it_is_ready_fails_with_its_log(tmp_path: Path) -> None:
    child = python("import sys; sys.exit('no such bucket')", tmp_path).start()
    with pytest.raises(StartFailed, match=r"(?s)ended with code 1.*no such bucket"):
        child.await_ready(lambda: False, timeout=30)


def test_a_child_that_is_never_ready_fails_by_the_deadline_with_its_log(tmp_path: Path) -> None:
    child = up(python(OBEDIENT, tmp_path))
    with pytest.raises(StartFailed, match=r"(?s)not ready within.*up"):
        child.await_ready(lambda: False, timeout=0.0)
    assert child.running  # the caller decides
    child.stop()


def test_a_missing_program_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        ChildProcess(["no-such-program"], log_path=tmp_path / "log").start()


def test_the_child_gets_the_given_environment_and_default_signals(tmp_path: Path) -> None:
    program = (
        "import os, signal\nprint(os.environ.get('ONLY'), 'HOME' in os.environ, os.getpgrp() == os.getpid())\n"
        "print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    )
    child = ChildProcess([sys.executable, "-c", program], env={"ONLY": "this"}, log_path=tmp_path / "log").start()
    assert child.wait(timeout=30) == 0
    said = child.log_tail().splitlines()
    assert said[0] == "this False True"
    # The probe is Python itself, which ignores SIGPIPE and SIGXFSZ anew; a shell shows what it was given.
    shell = ChildProcess(["sh", "-c", "grep SigIgn /proc/self/status"], log_path=tmp_path / "shell").start()
    shell.wait(timeout=30)
    ignored = int(shell.log_tail().split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))


def test_a_signal_for_the_child_alone_stops_and_continues_it(tmp_path: Path) -> None:
    child = up(python(OBEDIENT, tmp_path))
    child.send_signal(signal.SIGSTOP)
    child.await_ready(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED, timeout=30)
    child.send_signal(signal.SIGCONT)
    assert child.stop(grace=30) == -signal.SIGTERM


def test_free_ports_are_distinct_below_the_ephemeral_range_and_free_with_their_offsets() -> None:
    ports = free_ports(20, offsets=(0, 10_000))
    assert len(set(ports)) == 20
    for port in ports:
        for number in (port, port + 10_000):
            assert 10_000 <= number < ephemeral_start()
            with socket.socket() as server:
                server.bind(("127.0.0.1", number))


def test_a_port_in_use_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = free_ports(1)
    with socket.socket() as server:
        server.bind(("127.0.0.1", taken))
        monkeypatch.setattr("sealane.dev.ports.LOWEST_PORT", taken)
        monkeypatch.setattr("sealane.dev.ports.ephemeral_start", lambda: taken + 2)
        assert free_ports(1) == [taken + 1]


def test_nothing_of_this_module_is_left_running() -> None:
    assert [p for p in psutil.Process(os.getpid()).children() if "signal.pause" in " ".join(p.cmdline())] == []
