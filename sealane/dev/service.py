"""One sealane service as a child process: started, asked for its readiness, killed, started again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import sealane
from sealane.cluster_file import ServiceInfo
from sealane.dev.process import ChildProcess

Kind = Literal["ingest", "assembly"]

_READINESS = "readiness"
_ASK_SECONDS = 1.0
# One channel a check would be a handshake each; a channel that backs off for a minute would see the start too late.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)
# What a child may inherit. Settings of whoever starts the cluster stay out: it is configured here and nowhere else.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE")


class Service:
    """``python -m {kind}_service`` under ``settings`` (SEALANE_… variables, whole; listen addresses are added here).

    Blocking, as all of this package. ``kill`` and ``start`` come back on the same addresses: what a crash and a
    restart look like to a client.
    """

    def __init__(
        self,
        kind: Kind,
        number: int,
        *,
        address: str,
        health_address: str,
        metrics_address: str = "127.0.0.1:0",
        settings: Mapping[str, str],
        directory: Path,
        log_path: Path,
        enter: Sequence[str] = (),
    ) -> None:
        """``enter``: as :class:`sealane.dev.host.Host` has it."""
        self.kind: Kind = kind
        self.name = f"{kind}-{number}"
        self.address = address
        self.health_address = health_address
        self.metrics_address = metrics_address
        self.log_path = log_path
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= settings
        env |= {
            "PYTHONPATH": str(Path(sealane.__file__).resolve().parent.parent),
            "PYTHONUNBUFFERED": "1",
            "SEALANE_LISTEN": address,
            "SEALANE_HEALTH_LISTEN": health_address,
            "SEALANE_METRICS_LISTEN": metrics_address,
        }
        self._child = ChildProcess(
            [*enter, sys.executable, "-m", f"{kind}_service"],
            log_path=log_path,
            env=env,
            cwd=directory,
            name=self.name,
        )

    def __repr__(self) -> str:
        return f"Service({self.name!r}, {self.address}, child={self._child!r})"

    @property
    def info(self) -> ServiceInfo:
        log = str(self.log_path)
        return ServiceInfo(self.name, self.kind, self.address, self.health_address, self.metrics_address, log)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.running

    def launch(self) -> None:
        """Start the process and return at once; :meth:`await_ready` follows."""
        self._child.start()

    def await_ready(self, *, timeout: float = 60.0) -> None:
        """Return once its health port says ``readiness`` is SERVING. StartFailed, with the log's tail, otherwise."""
        with grpc.insecure_channel(self.health_address, options=_CHANNEL_OPTIONS) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            self._child.await_ready(lambda: _serving(stub), timeout=timeout)

    def start(self, *, timeout: float = 60.0) -> None:
        """Start it and wait until it is ready. StartFailed otherwise: it is then stopped."""
        self.launch()
        try:
            self.await_ready(timeout=timeout)
        except BaseException:
            self.kill()
            raise

    def ready(self) -> bool:
        """Whether it is ready now."""
        with grpc.insecure_channel(self.health_address, options=_CHANNEL_OPTIONS) as channel:
            return self.running and _serving(health_pb2_grpc.HealthStub(channel))

    def terminate(self) -> None:
        """SIGTERM and return: it drains. :meth:`stop` or :meth:`wait` follows."""
        self._child.send_signal(signal.SIGTERM)

    def stop(self, *, grace: float) -> int | None:
        """SIGTERM, ``grace`` seconds to drain, SIGKILL. Its return code; None: never started."""
        return self._child.stop(grace=grace)

    def kill(self) -> int | None:
        """SIGKILL, as a crash would, and wait until it is gone."""
        return self._child.kill()

    def wait(self, timeout: float) -> int:
        """Wait for its end by itself. TimeoutError after ``timeout`` seconds."""
        return self._child.wait(timeout)

    def poll(self) -> int | None:
        """Its return code (−n: ended by signal n), or None while it runs or before it was started."""
        return self._child.poll()

    def log_tail(self, lines: int = 30) -> str:
        return self._child.log_tail(lines)


def _serving(stub: health_pb2_grpc.HealthStub) -> bool:
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=_READINESS), timeout=_ASK_SECONDS)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
