"""One child process under supervision: it logs to a file, it is stopped by deadline, and it never outlives us.

**Dying with the parent.** The kernel is asked to SIGKILL the child when its parent dies (Linux, ``PR_SET_PDEATHSIG``),
so even SIGKILL of a test run leaves nothing behind. Three traps, and what is done about each:

* ``preexec_fn`` runs Python between fork and exec, which can deadlock a process that has threads, and gRPC has. So a
  small Python program is started instead: it asks the kernel, then *becomes* the wanted program (same pid).
* "Parent" means the **thread** that forked. Children are started from one thread of this module that lives as long
  as the process, so a start from a short-lived worker (``asyncio.to_thread``) is safe.
* A parent that died before the request was made is noticed by the changed parent pid.

The signal reaches the child alone: a child with children of its own has to pass it on. A stop in good order needs no
such help, because it signals the child's whole process group.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

_TAIL_BYTES = 16 * 1024
_POLL_SECONDS = 0.05

# PR_SET_PDEATHSIG = 1. Python ignores SIGPIPE and SIGXFSZ, and ignored signals survive exec: put them back.
_BECOME = """
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent died before its child began")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


class StartFailed(RuntimeError):
    """A child ended, or wasn't ready by its deadline. The text ends with the tail of its log."""


class ChildProcess:
    """A program with a log file, in a session and process group of its own.

    ``argv[0]`` is looked up on PATH at start. ``env`` is the child's whole environment (None: ours). Secrets belong
    there, never in ``argv``, which any user of the machine can read. After ``stop`` or ``kill``, ``start`` begins
    anew with the same arguments and appends to the same log.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str | None = None,
    ) -> None:
        if not argv:
            raise ValueError("argv is empty")
        self.argv = tuple(argv)
        self.log_path = log_path
        self.name = name or Path(argv[0]).name
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._log_start = 0
        self._reaping = threading.Lock()

    def __repr__(self) -> str:
        state = "not started" if self._popen is None else f"pid={self._popen.pid}, returncode={self.poll()}"
        return f"ChildProcess({self.name!r}, {state})"

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it and return at once. FileNotFoundError if there is no such program; RuntimeError if it runs."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already, pid {self.pid}")
        program = shutil.which(self.argv[0])
        if program is None:
            raise FileNotFoundError(f"no such program: {self.argv[0]}")
        argv = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), str(Path(program).absolute())]
        argv += self.argv[1:]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._log_start = os.fstat(log).st_size
            self._popen = _SPAWNER.call(
                lambda: subprocess.Popen(
                    argv,
                    env=self._env,
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        finally:
            os.close(log)
        try:
            self._pidfd = os.pidfd_open(self._popen.pid)
        except OSError:  # a kernel before 5.3, or no file descriptor left
            self._popen.kill()
            self._popen.wait()
            raise
        return self

    def stop(self, *, grace: float = 5.0) -> int | None:
        """SIGTERM, ``grace`` seconds, SIGKILL to what is left of the group. Its return code; None: never started."""
        if self.running:
            self._signal_group(signal.SIGTERM)
            if not self._ended(grace):
                self._signal_group(signal.SIGKILL)
        return self._reap()

    def kill(self) -> int | None:
        """SIGKILL to the group, and wait until it is gone. Nothing if it has ended."""
        if self.running:
            self._signal_group(signal.SIGKILL)
        return self._reap()

    def send_signal(self, sig: signal.Signals) -> None:
        """A signal for the child alone (SIGSTOP, SIGCONT, a SIGTERM that nobody follows up). Nothing if it ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sig)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what it does --------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id, also after its end. RuntimeError before the first start."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self.poll() is None

    def poll(self) -> int | None:
        """The return code (−n: ended by signal n), or None while it runs or before it was started."""
        if self._popen is None:
            return None
        return self._reap() if self._ended(0) else None

    def wait(self, timeout: float) -> int:
        """Wait for its end by itself. TimeoutError after ``timeout`` seconds; it then still runs."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        if not self._ended(timeout):
            raise TimeoutError(f"{self.name} (pid {self.pid}) still runs after {timeout:g} s")
        code = self._reap()
        assert code is not None
        return code

    def await_ready(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Return once ``ready()`` is true. StartFailed when the child ends before that, or after ``timeout`` seconds.

        ``ready`` must bound its own waiting. The child goes on running after a time-out; the caller decides.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self._popen is None or self._ended(_POLL_SECONDS):
                raise StartFailed(f"{self.name} ended with code {self.poll()} before it was ready\n{self.log_tail()}")
            if time.monotonic() >= deadline:
                raise StartFailed(f"{self.name} was not ready within {timeout:g} s\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that were logged since the latest start, at most 16 KiB of them."""
        try:
            with self.log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _TAIL_BYTES))
                text = log.read(_TAIL_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def has_logged(self, text: str) -> bool:
        """Whether ``text`` was logged since the latest start."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(self._log_start)
                return text.encode() in log.read()
        except FileNotFoundError:
            return False

    # --- inside --------------------------------------------------------------------------------------------------

    def _signal_group(self, sig: signal.Signals) -> None:
        assert self._popen is not None
        with self._reaping:
            if self._popen.returncode is None:  # reaped: the number may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, sig)

    def _ended(self, timeout: float) -> bool:
        """Whether the child has ended, waiting up to ``timeout`` seconds, and leaving it unreaped."""
        with self._reaping:
            if self._popen is None or self._popen.returncode is not None:
                return True
            watched = os.dup(self._pidfd)  # ours, whoever reaps meanwhile
        try:
            poller = select.poll()
            poller.register(watched, select.POLLIN)
            return bool(poller.poll(timeout * 1000))
        finally:
            os.close(watched)

    def _reap(self) -> int | None:
        """Wait for the end, end what the child left in its group, then release the pid. In this order: until it is
        reaped, its pid, which is the group's number, can't be given to another process."""
        if self._popen is None:
            return None
        while not self._ended(60.0):
            pass  # SIGKILL was sent: only a kernel call that can't be interrupted keeps it
        with self._reaping:
            if self._popen.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()
                os.close(self._pidfd)
                self._pidfd = -1
            return self._popen.returncode


class _Spawner:
    """The one thread that forks. It never ends before the process does, see the module's text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()

    def call(self, spawn: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # the first call, or the first after a fork
                self._thread = threading.Thread(target=self._run, name="sealane-dev-spawner", daemon=True)
                self._thread.start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((spawn, answer))
        return answer.result()

    def _run(self) -> None:
        while True:
            spawn, answer = self._requests.get()
            try:
                answer.set_result(spawn())
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answer.set_exception(error)
            del spawn, answer


_SPAWNER = _Spawner()
