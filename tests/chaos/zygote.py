"""The program that replicas are forked from: it has imported both services and loaded the hash kernel, and no more.

A thousand restarts would spend half of the machine on importing the same modules. A fork of a process that has them
begins where ``main()`` does: before any thread, channel, server or connection. What a replica then *does* is the
program itself, ``ingest_service.app.run`` or ``assembly_service.app.run``, under its own settings.

Commands are JSON objects, one a line, over a Unix socket: ``spawn`` answers a pid, ``reap`` (of one that has ended)
its exit code. Nobody is reaped unasked: until then the pid can't become another's.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import assembly_service.app
import ingest_service.app
from assembly_service.retention import Retention
from assembly_service.settings import AssemblySettings
from ingest_service.allocator import tame_malloc
from ingest_service.settings import IngestSettings
from sealane import logs
from sealane.config import load
from sealane.domain import blake3_kernel, sha256_extensions

from .terms import LIMITS, PROBE_RETENTION_SECONDS

_PDEATHSIG = 1


class ChaosAssemblySettings(AssemblySettings):
    """What killed probes left goes within minutes, not within the hour: thousands are killed here."""

    @property
    def retention(self) -> Retention:
        return replace(super().retention, probe=timedelta(seconds=PROBE_RETENTION_SECONDS))


def ingest() -> int:
    """The ingest service with the limits of :mod:`.terms`."""
    return asyncio.run(ingest_service.app.run(load(IngestSettings), limits=LIMITS))


def assembly() -> int:
    """The assembly service with the limits of :mod:`.terms`."""
    settings = load(ChaosAssemblySettings)
    logs.configure(settings.log_level, settings.log_format, "assembly")
    return asyncio.run(assembly_service.app.run(settings, limits=LIMITS))


PROGRAMS: dict[str, Callable[[], int]] = {"ingest": ingest, "assembly": assembly}


def main(path: str) -> None:
    tame_malloc()
    blake3_kernel.compile_kernel()
    if sha256_extensions.available():
        sha256_extensions.compile_kernel()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{path}.new")
        listener.listen(1)
        Path(f"{path}.new").rename(path)  # what is there can be connected to
        connection, _ = listener.accept()
    with connection, connection.makefile("rw", encoding="utf-8") as commands:
        for line in commands:
            answer = _obey(json.loads(line), connection)
            commands.write(json.dumps(answer) + "\n")
            commands.flush()


def _obey(command: dict[str, Any], connection: socket.socket) -> int:
    if command["op"] == "reap":
        _, status = os.waitpid(command["pid"], 0)
        return os.waitstatus_to_exitcode(status)
    pid = os.fork()
    if pid == 0:
        _become(command, connection)
    return pid


def _become(command: dict[str, Any], connection: socket.socket) -> None:
    """The child: a session, a log and an environment of its own, and the end of all when the zygote ends."""
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        connection.close()
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(command["env"])
        random.seed()
        code = PROGRAMS[command["program"]]()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - a process's last line: said, and told by the exit code
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
