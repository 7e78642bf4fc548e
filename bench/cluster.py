"""Where everything is measured: a store, two ingest and one assembly, as real processes on loopback, in a folder
that goes at the end.

Assembly reaches the store through a relay that counts bytes (:mod:`bench.wire`); ingest and the plain SDK reach it
directly. Only the benchmark of crashes uses the second ingest, which costs nothing while it is idle.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3
from minio import Minio

from bench.wire import CountingRelay
from sealane.dev.cluster import REGION, Cluster
from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.service import Service
from sealane.store.s3_settings import S3Settings

PEER_BUCKET = "peer"
_RECLAIM_SECONDS = 60.0
_RECLAIM_POLL_SECONDS = 0.5
_GARBAGE_THRESHOLD = 0.01


class BenchCluster:
    """A context manager; blocking. ``directory`` is the folder to make the temporary one in (None: the system's).

    ``quick``: for proving that the benchmarks run. Services probe the store with few keys, and no disk is reclaimed.
    """

    def __init__(self, directory: Path | None = None, *, quick: bool = False) -> None:
        self._parent = directory
        self._quick = quick
        self._scope = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as scope:
            self.directory = Path(tempfile.mkdtemp(prefix="sealane-bench-", dir=self._parent))
            scope.callback(shutil.rmtree, self.directory, ignore_errors=True)
            (s3_port,) = free_ports(1)
            self.assembly_wire = scope.enter_context(CountingRelay((LOOPBACK, s3_port)))
            self._cluster = Cluster(
                self.directory / "cluster",
                ingest=2,
                assembly=1,
                s3_port=s3_port,
                settings={
                    "SEALANE_ASSEMBLY_S3_ENDPOINT": f"http://{self.assembly_wire.address}",
                    **({"SEALANE_PROBE_PAGE_KEYS": "10"} if self._quick else {}),
                },
            )
            scope.enter_context(self._cluster)
            self.s3 = self._plain_client()
            self.s3.make_bucket(PEER_BUCKET)
            self._scope = scope.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.close()

    # --- who is there --------------------------------------------------------------------------------------------

    @property
    def ingest(self) -> tuple[Service, Service]:
        """The first is the one that assembly asks for receipts."""
        first, second = self._cluster.of_kind("ingest")
        return first, second

    @property
    def assembly(self) -> Service:
        return self._cluster.of_kind("assembly")[0]

    @property
    def both_ingest(self) -> str:
        """One gRPC target for both: streams are spread over them."""
        return self._cluster.target("ingest")

    @property
    def tenant(self) -> str:
        return self._cluster.tenant

    @property
    def store_pid(self) -> int:
        return self._cluster.store.pid

    @property
    def bucket(self) -> str:
        """Sealane's."""
        return self._cluster.store.bucket

    def s3_settings(self, bucket: str, *, max_connections: int) -> S3Settings:
        """For sealane's own adapter."""
        store = self._cluster.store
        return S3Settings(
            store.endpoint,
            bucket,
            REGION,
            access_key=store.access_key,
            secret_key=store.secret_key,
            max_connections=max_connections,
        )

    def _plain_client(self) -> Minio:
        store = self._cluster.store
        return Minio(
            store.endpoint.removeprefix("http://"),
            access_key=store.access_key,
            secret_key=store.secret_key,
            secure=False,
            region=REGION,
            # As the SDK makes its own, but for its retries: a measurement that needed one is no measurement.
            http_client=urllib3.PoolManager(
                maxsize=16, retries=urllib3.Retry(total=False), timeout=urllib3.Timeout(connect=5.0, read=300.0)
            ),
        )

    # --- disk ----------------------------------------------------------------------------------------------------

    def store_bytes(self) -> int:
        """Bytes of disk that the store takes."""
        return sum(_disk_bytes(path) for path in (self.directory / "cluster" / "store").rglob("*"))

    def reclaim(self) -> None:
        """Remove every object and make the store give their disk back: it keeps deleted bytes until a vacuum.

        Waits until the disk is given back, a minute at most: a store that is busy collecting is no peer to measure.
        """
        if self._quick:
            return
        for bucket in (self.bucket, PEER_BUCKET):
            for found in self.s3.list_objects(bucket, recursive=True):
                if found.object_name and (found.size or 0) > 0 and not found.object_name.startswith(".sealane/"):
                    self.s3.remove_object(bucket, found.object_name)
        deadline = time.monotonic() + _RECLAIM_SECONDS
        enough = self._live_bytes() * 2 + (64 << 20)
        while self.store_bytes() > enough and time.monotonic() < deadline:
            self._vacuum()
            time.sleep(_RECLAIM_POLL_SECONDS)

    def _live_bytes(self) -> int:
        return sum(
            found.size or 0
            for bucket in (self.bucket, PEER_BUCKET)
            for found in self.s3.list_objects(bucket, recursive=True)
        )

    def _vacuum(self) -> None:
        master = f"http://{LOOPBACK}:{self._cluster.store.ports.master}"
        with urllib.request.urlopen(f"{master}/vol/vacuum?garbageThreshold={_GARBAGE_THRESHOLD}", timeout=60):
            pass


@contextlib.contextmanager
def random_file(directory: Path, size: int) -> Iterator[Path]:
    """A file of ``size`` random bytes, in the page cache when it is handed out."""
    path = directory / f"random-{size}"
    with open("/dev/urandom", "rb") as source, path.open("wb") as file:
        left = size
        while left:
            left -= file.write(source.read(min(left, 1 << 20)))
    try:
        yield path
    finally:
        path.unlink()


def _disk_bytes(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
