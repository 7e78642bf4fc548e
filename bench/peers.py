"""The ways to move a file that are compared: sealane's SDK, and the plain S3 SDK straight to the same store."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bench.cluster import PEER_BUCKET, BenchCluster
from sealane.client import Client, Phase, Progress, UploadResult
from sealane.domain.limits import MiB
from sealane.store.port import Part
from sealane.store.s3 import S3Store

T = TypeVar("T")

CHUNK = 8 * MiB
PLAIN_PARALLEL = 4
_PART_SECONDS = 60.0


class Sealane:
    """The SDK, with connections that last. ``ingest`` is a gRPC target (None: the first ingest alone)."""

    def __init__(self, cluster: BenchCluster, ingest: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._ingest = ingest or cluster.ingest[0].address
        self._assembly = cluster.assembly.address
        self._state = cluster.directory / "client-state"

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self.client = self.run(_opened(self._ingest, self._assembly, self._state))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self.client.close())
        finally:
            self._runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    def upload(
        self,
        path: Path,
        *,
        streams: int,
        at_commit: Callable[[], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> UploadResult:
        """Upload and commit ``path``. ``at_commit`` is called when all is sent and the commit begins."""

        def progress(now: Progress) -> None:
            if on_progress is not None:
                on_progress(now)
            if at_commit is not None and now.phase is Phase.COMMITTING:
                at_commit()

        return self.run(self.client.upload(path, parallel=streams, chunk_size=CHUNK, progress=progress))

    def upload_all(self, paths: Sequence[Path], *, streams: int) -> None:
        """Upload and commit each of ``paths``, all at once."""

        async def upload() -> None:
            async with asyncio.TaskGroup() as group:
                for path in paths:
                    group.create_task(self.client.upload(path, parallel=streams, chunk_size=CHUNK))

        self.run(upload())


async def _opened(ingest: str, assembly: str, state: Path) -> Client:
    """Made inside the loop that it will run in. Its journals stay in the benchmark's own folder."""
    return Client(ingest, assembly, environment={"XDG_STATE_HOME": str(state)})


class PlainS3:
    """minio-py's `fput_object` with the same parts: what everyone would do without sealane."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._s3 = cluster.s3
        self._objects = 0

    def upload(self, path: Path) -> None:
        self._objects += 1
        self._put(path, f"object-{self._objects}")

    def upload_all(self, paths: Sequence[Path]) -> None:
        """A thread for each of ``paths``."""
        names = [f"object-{self._objects + number}" for number in range(1, len(paths) + 1)]
        self._objects += len(paths)
        with ThreadPoolExecutor(len(paths)) as pool:
            list(pool.map(self._put, paths, names))

    def _put(self, path: Path, name: str) -> None:
        self._s3.fput_object(PEER_BUCKET, name, str(path), part_size=CHUNK, num_parallel_uploads=PLAIN_PARALLEL)


class CheckedS3:
    """The same parts straight to the store by sealane's own adapter, four at once, each with its SHA-256 as part
    checksum: what an upload without ingest would cost if the store is to check every part."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._settings = cluster.s3_settings(PEER_BUCKET, max_connections=PLAIN_PARALLEL)
        self._objects = 0

    def upload(self, path: Path) -> None:
        self._objects += 1
        with path.open("rb") as file:
            descriptor = file.fileno()
            asyncio.run(self._upload(descriptor, os.fstat(descriptor).st_size, f"checked-{self._objects}"))

    async def _upload(self, descriptor: int, size: int, key: str) -> None:
        store = S3Store(self._settings)
        numbers = iter(range(-(-size // CHUNK)))
        parts: list[Part] = []

        async def worker() -> None:
            buffer = memoryview(bytearray(CHUNK))
            for number in numbers:
                length = await asyncio.to_thread(os.preadv, descriptor, [buffer], number * CHUNK)
                data = buffer[:length]
                sha256 = (await asyncio.to_thread(hashlib.sha256, data)).digest()
                etag = await store.upload_part(key, upload, number + 1, data, sha256=sha256, timeout=_PART_SECONDS)
                parts.append(Part(number + 1, etag, sha256))

        try:
            upload = await store.create_multipart(key, timeout=_PART_SECONDS, metadata={})
            async with asyncio.TaskGroup() as group:
                for _ in range(PLAIN_PARALLEL):
                    group.create_task(worker())
            parts.sort(key=lambda part: part.number)
            await store.complete_multipart(key, upload, parts, timeout=_PART_SECONDS)
        finally:
            await store.aclose()
