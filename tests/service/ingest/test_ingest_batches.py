"""The SHA-256 of several streams' chunks, computed together."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from blake3 import blake3
from ingest_replica import KIB, chunk, chunks_of, header, running

from ingest_service.hashing import FEW, ChunkHasher, by_library
from ingest_service.sha256_batches import Sha256Batches
from sealane.domain.errors import ChunkCorrupt
from sealane.domain.limits import ChunkPlan

CHUNKS = 40
STREAMS = 4


class Hashing:
    """hashlib, with a note of how many it was asked for at a time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.batches = Sha256Batches(self.together, None, lanes=8, fewest=2)

    def together(self, buffers: Sequence[memoryview]) -> list[bytes]:
        self.sizes.append(len(buffers))
        return [hashlib.sha256(buffer).digest() for buffer in buffers]


async def test_every_chunk_of_four_streams_is_stored_under_its_own_sha256_i4() -> None:
    """The simulated store refuses a part whose SHA-256 is not its own, as a real one does."""
    data = random.Random(3).randbytes((CHUNKS - 1) * KIB + 100)
    pieces = chunks_of(data)
    hashing = Hashing()
    async with running(batches=hashing.batches) as replica:
        session = (await replica.create(size=len(data))).session_id
        await asyncio.gather(
            *(
                replica.upload(session, {index: pieces[index] for index in range(stream, CHUNKS, STREAMS)})
                for stream in range(STREAMS)
            )
        )
        receipts = await replica.receipts(session)
        assert [receipt.sha256 for receipt in receipts] == [hashlib.sha256(piece).digest() for piece in pieces]
        assert replica.ingest.memory.in_use == 0
    assert max(hashing.sizes, default=0) > 1, "no two chunks were ever hashed together"


@pytest.mark.parametrize(
    ("count", "index", "waits"), [(40, 7, True), (FEW + 1, 0, True), (40, 39, False), (FEW, 0, False), (None, 7, True)]
)
async def test_none_waits_whose_upload_ends_with_it_or_is_small(count: int | None, index: int, waits: bool) -> None:
    """Latency: someone waits for the whole of a small object, and for the last chunk of a large one."""
    hashing = Hashing()
    hasher = ChunkHasher(by_library(lambda *_: bytes(32)), None, hashing.batches)
    plan = ChunkPlan(KIB, None if count is None else count * KIB)
    data = random.Random(5).randbytes(KIB)
    with ExitStack() as on_their_way:
        for _ in range(3):
            on_their_way.enter_context(hasher.on_its_way())
        verifying = asyncio.create_task(hasher.verify(memoryview(data), index, plan, blake3(data).digest()))
        while not (verifying.done() or hashing.batches._waiting):  # noqa: ASYNC110 - either may come first
            await asyncio.sleep(0.001)
        assert verifying.done() is not waits
    assert (await verifying).sha256 == hashlib.sha256(data).digest()


async def test_a_corrupt_chunk_is_refused_and_the_others_of_its_time_are_stored() -> None:
    data = random.Random(4).randbytes(CHUNKS * KIB)
    pieces = chunks_of(data)
    async with running(batches=Hashing().batches) as replica:
        session = (await replica.create(size=len(data))).session_id
        good = replica.upload(session, dict(enumerate(pieces[:-1])))
        bad = replica.send([header(session), *chunk(CHUNKS - 1, pieces[-1], digest=bytes(32))])
        stored, refused = await asyncio.gather(good, bad, return_exceptions=True)
        assert not isinstance(stored, BaseException)
        assert isinstance(refused, ChunkCorrupt)
        assert {receipt.chunk_index for receipt in await replica.receipts(session)} == set(range(CHUNKS - 1))
        assert replica.ingest.memory.in_use == 0


@pytest.mark.parametrize("seed", range(3))
async def test_clients_that_go_away_leave_no_chunk_waiting_for_company_i13(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(CHUNKS * KIB)
    pieces = chunks_of(data)
    async with running(batches=Hashing().batches) as replica:
        session = (await replica.create(size=len(data))).session_id
        calls = [
            asyncio.create_task(replica.upload(session, {i: pieces[i] for i in range(stream, CHUNKS, STREAMS)}))
            for stream in range(STREAMS)
        ]
        for call in calls[:2]:
            for _ in range(rng.randrange(200)):
                await asyncio.sleep(0)
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await replica.upload(session, pieces)
        assert (await replica.get(session)).coverage.complete
        assert replica.ingest.memory.in_use == 0
