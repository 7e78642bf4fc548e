"""``cluster.json``: what a running development cluster tells the other commands, and the lock that says it runs.

A cluster holds an exclusive ``flock`` on ``lock`` in its folder for as long as it lives; the kernel lets go of it
however the process dies. So "is it alive?" has a true answer without comparing process ids, and a file that a crash
left behind misleads nobody. Standard library alone: every command reads this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_DIRECTORY = Path(".sealane/dev")
"""Where `sealane dev` keeps its state, and where the other commands look for a running cluster."""
SERVER_NAME = "localhost"
"""The name in the certificates of a cluster with TLS, for whoever calls several addresses: they have but one."""

_FILE = "cluster.json"
_LOCK = "lock"
_VERSION = 1
# A reader holds the lock for an instant while it asks; a cluster that starts just then must not give up.
_LOCK_ATTEMPTS, _LOCK_PAUSE = 20, 0.05


class AlreadyRunning(RuntimeError):
    """Another cluster lives in this folder."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """The embedded store, as any S3 client needs it."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """One service process. ``kind`` is "ingest" or "assembly"; addresses are host:port."""

    name: str
    kind: str
    address: str
    health_address: str
    metrics_address: str
    log: str


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """All that another program needs to use the cluster."""

    pid: int
    tenant: str
    store: StoreInfo
    services: tuple[ServiceInfo, ...]
    ca_file: str = ""
    """Whom to trust, where the services want TLS (PEM; absolute); the name in their certificates is SERVER_NAME."""

    def addresses(self, kind: str) -> tuple[str, ...]:
        return tuple(service.address for service in self.services if service.kind == kind)


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Own the folder until the block ends. AlreadyRunning if another cluster does."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_ATTEMPTS:
                    raise AlreadyRunning(f"another `sealane dev` runs in {directory}") from None
                time.sleep(_LOCK_PAUSE)  # noqa: TID251 - a real lock in a real folder: nothing simulated runs this
        (directory / _FILE).unlink(missing_ok=True)  # of a cluster that was killed
        try:
            yield
        finally:
            (directory / _FILE).unlink(missing_ok=True)
    finally:
        os.close(lock)


def write(directory: Path, info: ClusterInfo) -> None:
    """Publish ``info``, whole or not at all, readable by its owner alone: it has the store's keys in it."""
    temporary = directory / f"{_FILE}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"version": _VERSION, **asdict(info)}, file, indent=2)
        file.write("\n")
    temporary.replace(directory / _FILE)


def read(directory: Path) -> ClusterInfo | None:
    """The cluster that lives in ``directory``; None if none does, or if it is of another version of this software."""
    if not _is_held(directory):
        return None
    try:
        values: dict[str, Any] = json.loads((directory / _FILE).read_bytes())
        if values.pop("version") != _VERSION:
            return None
        store = StoreInfo(**values.pop("store"))
        services = tuple(ServiceInfo(**service) for service in values.pop("services"))
        return ClusterInfo(store=store, services=services, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_held(directory: Path) -> bool:
    try:
        lock = os.open(directory / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: nothing can be known
        return False
    finally:
        os.close(lock)
    return False
