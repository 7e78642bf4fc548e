"""All that is computed over a chunk's bytes, off the event loop.

BLAKE3 (what the client declared), SHA-256 (what the store checks) and the chaining value (what merges into the
object's digest) all let go of the interpreter lock, so the loop goes on receiving meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from blake3 import blake3

from ingest_service.sha256_batches import Sha256Batches
from sealane.domain.errors import ChunkCorrupt
from sealane.domain.limits import ChunkPlan

Blake3Hashes = Callable[[memoryview, int, int], tuple[bytes, bytes]]
"""(data, index, chunk_size) -> digest and chaining value, 32 bytes each, in one pass over the data:
:func:`sealane.domain.blake3_kernel.digest_and_cv`, or :func:`by_library`."""


@dataclass(frozen=True, slots=True)
class ChunkHashes:
    """32 bytes each."""

    blake3: bytes
    sha256: bytes
    chaining_value: bytes


def by_library(chunk_cv: Callable[[memoryview, int, int], bytes]) -> Blake3Hashes:
    """The digest by the BLAKE3 library, the chaining value, which it does not export, by ``chunk_cv``: a reference."""

    def hashes(data: memoryview, index: int, chunk_size: int) -> tuple[bytes, bytes]:
        return blake3(data).digest(), chunk_cv(data, index, chunk_size)

    return hashes


FEW = 4
"""Chunks of an object of which none is kept waiting for company."""


class ChunkHasher:
    """Verifies chunks. The executor is the caller's to shut down.

    Without ``batches`` SHA-256 is computed at once, in the same trip; with them, several chunks' together.
    """

    def __init__(
        self, blake3_hashes: Blake3Hashes, executor: Executor | None, batches: Sha256Batches | None = None
    ) -> None:
        self._blake3_hashes = blake3_hashes
        self._executor = executor
        self._batches = batches

    async def verify(self, data: memoryview, index: int, plan: ChunkPlan, declared: bytes) -> ChunkHashes:
        """The hashes of ``data``, chunk ``index`` of ``plan``; ChunkCorrupt if its BLAKE3 is not ``declared``.

        When this ends, by cancellation too, nothing looks at ``data`` any more.
        """
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._executor, self._hash, data, index, plan.chunk_size, declared)
        try:
            chaining_value, sha256 = await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])  # milliseconds; the buffer may be someone else's after this
            if not job.cancelled():
                job.exception()
            raise
        if self._batches is not None:
            # Someone waits for a small object, and for the end of a large one; in the midst of a large one nobody does.
            hurry = plan.count is not None and (plan.count <= FEW or index == plan.count - 1)
            sha256 = await self._batches.digest(data, hurry=hurry)
        return ChunkHashes(declared, sha256, chaining_value)

    def on_its_way(self) -> AbstractContextManager[None]:
        """A verified chunk, from here to the store: while others are, the next ones may wait for company."""
        return contextlib.nullcontext() if self._batches is None else self._batches.on_its_way()

    def _hash(self, data: memoryview, index: int, chunk_size: int, declared: bytes) -> tuple[bytes, bytes]:
        """The chaining value and, without batches, the SHA-256."""
        actual, chaining_value = self._blake3_hashes(data, index, chunk_size)
        if actual != declared:
            raise ChunkCorrupt.digest(index, declared=declared, actual=actual)
        return chaining_value, hashlib.sha256(data).digest() if self._batches is None else b""
