"""Runs pytest in forks of a process that has done the imports already: they are most of a short run.

One request a line on stdin, one answer a line on stdout, both JSON. Started by :mod:`tests.mutants.workshop`, once cold
(libraries alone are imported, none of our own code) and once warm (our code and the tests named as arguments, too).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from tests.mutants.swap import swap

_LIBRARIES = (
    *("pytest", "pytest_asyncio", "pytest_timeout", "hypothesis", "psutil"),
    *("grpc", "grpc.aio", "google.rpc.status_pb2", "google.rpc.error_details_pb2"),
    *("grpc_health.v1.health_pb2_grpc", "grpc_reflection.v1alpha.reflection"),
    *("numpy", "minio", "urllib3", "blake3", "pydantic_settings", "structlog"),
)


COLD = 98
"""Exit code of a warm fork that can't make the change: a cold one can."""


def main() -> None:
    for library in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    if sys.argv[1:]:
        _collect(sys.argv[1:])
    if len(os.listdir("/proc/self/task")) > 1:
        raise SystemExit("a library has started a thread: no fork is safe any more")
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        print(json.dumps({"code": run(request)}), flush=True)


def _collect(files: Sequence[str]) -> None:
    import pytest

    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", *files])


def run(request: dict[str, Any]) -> int:
    """pytest's exit code; -1 if it did not end in time."""
    child = os.fork()
    if child == 0:
        _child(request)

    def too_late(*_: object) -> None:
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(request["seconds"])
    status = os.waitpid(child, 0)[1]
    signal.alarm(0)
    with contextlib.suppress(ProcessLookupError):  # what its tests may have left running
        os.killpg(child, signal.SIGKILL)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


def _child(request: dict[str, Any]) -> None:
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        written = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(written, 1)
        os.dup2(written, 2)
        import pytest

        code = COLD
        if "swap" not in request or swap(*request["swap"]):
            code = int(pytest.main(request["arguments"]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
