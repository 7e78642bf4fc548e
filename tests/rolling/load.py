"""Uploads without a pause, while something else goes on: each has its own bytes, and none may fail."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from blake3 import blake3

from sealane.client import BackoffPolicy, Client, SealaneError
from sealane.client.results import UploadResult


@dataclass
class Load:
    """``lanes`` clients, each a loop of uploads of ``size`` bytes over ``streams`` streams, until told to stop."""

    ingest: str
    assembly: str
    lanes: int
    streams: int
    size: int
    seed: int = 1
    uploads: list[UploadResult] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until :meth:`stop`; what is under way then is finished."""
        async with asyncio.TaskGroup() as group:
            for lane in range(self.lanes):
                group.create_task(self._lane(lane))

    def stop(self) -> None:
        self._enough.set()

    async def _lane(self, lane: int) -> None:
        rng = random.Random(f"{self.seed} {lane}")
        patience = BackoffPolicy(cap_seconds=2.0, patience_seconds=90)
        async with Client(self.ingest, self.assembly, backoff=patience) as client:
            while not self._enough.is_set():
                data = rng.randbytes(self.size)
                try:
                    result = await client.upload(data, parallel=self.streams, journal=False)
                except SealaneError as error:
                    self.failures.append(f"{type(error).__name__}: {error} [{error.private}]")
                    continue
                if result.committed_object.blake3 != blake3(data).digest():
                    self.failures.append(f"session {result.session_id} has other bytes than were sent")
                self.uploads.append(result)
