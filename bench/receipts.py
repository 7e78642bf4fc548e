"""The largest object: 10,000 receipts put straight into the store, then VerifySession; and its whole commit on the
simulated store, where no store's slowness is in the figure."""

from __future__ import annotations

import asyncio
import random
import time

from bench.cluster import BenchCluster
from bench.largest_commit import commit_seconds
from bench.peers import Sealane
from bench.table import Report, Row, at_most
from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.chunks import Receipt
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import MiB
from sealane.store import keys
from sealane.store.s3 import S3Store

VERIFY = at_most(3.0)
_CHUNK = 8 * MiB
_WRITERS = 8
_PUT_SECONDS = 30.0


def run(cluster: BenchCluster, *, chunks: int, rounds: int) -> Report:
    receipts = synthetic_receipts(chunks, _CHUNK, random.Random(1))
    digest = object_digest([ChunkHash(receipt.blake3, receipt.chaining_value) for receipt in receipts])
    size = chunks * _CHUNK
    with Sealane(cluster) as sealane:
        session = sealane.run(
            sealane.client.create_session(size=size, chunk_size=_CHUNK, filename="largest")
        ).session_id
        begin = time.perf_counter()
        sealane.run(_put(cluster, SessionId(session), receipts))
        put_seconds = time.perf_counter() - begin
        seconds: list[float] = []
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            found = sealane.run(sealane.client.verify_session(session, chunk_count=chunks, size=size, blake3=digest))
            seconds.append(time.perf_counter() - begin)
            if found.blake3 != digest:
                raise AssertionError("VerifySession answered another digest")
        sealane.run(sealane.client.abort_session(session))
    return Report(
        "receipts",
        f"an object of {chunks:,} chunks: {size / 2**30:,.1f} GiB by its receipts",
        [
            Row.worst("VerifySession", seconds[1:], "s", VERIFY),
            Row.of("the very first", seconds[0], "s"),
            Row.of("commit on the simulated store", [commit_seconds(chunks) for _ in range(rounds)], "s"),
            Row.of("receipts put into the store", chunks / put_seconds, "1/s"),
        ],
        (
            "No data was uploaded: the receipts are synthetic, at the keys that ingest would have written.",
            "The simulated store answers at once: that figure is assembly's own work for C1 to C8.",
        ),
    )


def synthetic_receipts(count: int, length: int, rng: random.Random) -> list[Receipt]:
    """Receipts as a client of random bytes would cause them; their chaining values merge into a digest of no file."""
    return [
        Receipt(index, length, rng.randbytes(32), rng.randbytes(32), rng.randbytes(32), rng.randbytes(16).hex())
        for index in range(count)
    ]


async def _put(cluster: BenchCluster, session: SessionId, receipts: list[Receipt]) -> None:
    store = S3Store(cluster.s3_settings(cluster.bucket, max_connections=_WRITERS))
    left = iter(receipts)

    async def writer() -> None:
        for receipt in left:
            await store.put(keys.receipt(Tenant(cluster.tenant), session, receipt), b"", timeout=_PUT_SECONDS)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(writer())
    finally:
        await store.aclose()
