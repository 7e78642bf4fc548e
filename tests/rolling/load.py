"""Uploads without a pause, while something else goes on: each has its own bytes, and none may fail."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial

from blake3 import blake3

from sealane.client import BackoffPolicy, Client, Phase, Progress, SealaneError
from sealane.client.results import UploadResult

MIB = 1 << 20


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
    _progress: dict[int, Progress] = field(default_factory=dict)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until :meth:`stop`; what is under way then is finished."""
        async with asyncio.TaskGroup() as group:
            for lane in range(self.lanes):
                group.create_task(self._lane(lane))

    @property
    def ended(self) -> int:
        """Uploads that have come to an end, a good one or not."""
        return len(self.uploads) + len(self.failures)

    @property
    def in_full_swing(self) -> bool:
        """Whether half of the clients or more are sending, and have sent half at most: a stream that has sent all it
        has, and waits for the answer, is none that a drain can cut."""
        sending = [
            each
            for each in self._progress.values()
            if each.phase is Phase.SENDING and 0 < each.bytes_stored + each.bytes_in_flight <= self.size / 2
        ]
        return 2 * len(sending) >= self.lanes

    def stop(self) -> None:
        self._enough.set()

    async def _lane(self, lane: int) -> None:
        rng = random.Random(f"{self.seed} {lane}")
        patience = BackoffPolicy(cap_seconds=2.0, patience_seconds=90)
        async with Client(self.ingest, self.assembly, backoff=patience) as client:
            while not self._enough.is_set():
                data = b"".join(rng.randbytes(min(MIB, self.size - start)) for start in range(0, self.size, MIB))
                try:
                    result = await client.upload(
                        data, parallel=self.streams, journal=False, progress=partial(self._progress.__setitem__, lane)
                    )
                except SealaneError as error:
                    self.failures.append(f"{type(error).__name__}: {error} [{error.private}]")
                    continue
                if result.committed_object.blake3 != blake3(data).digest():
                    self.failures.append(f"session {result.session_id} has other bytes than were sent")
                self.uploads.append(result)
