"""Many sessions on real processes: nobody sees another's bytes, given-up ones vanish, and memory stays flat."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import blake3
import psutil
import pytest

from sealane.client import Client, SessionState
from sealane.client.errors import SessionNotFound
from sealane.dev.cluster import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

CHUNK = 8 << 20
MiB = 1 << 20


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One ingest, one assembly, and a sweeper that purges at once what is given up."""
    settings = {
        "SEALANE_ASSEMBLY_SWEEP_INTERVAL": "0.5",
        "SEALANE_ASSEMBLY_FULL_SWEEP_INTERVAL": "2",
        "SEALANE_ASSEMBLY_OUTCOME_RETENTION": "1",
        "SEALANE_LOG_LEVEL": "WARNING",
    }
    running = Cluster(tmp_path_factory.mktemp("tidy"), settings=settings)
    try:
        yield running.start()
    finally:
        running.kill()


def client_of(cluster: Cluster) -> Client:
    return Client(cluster.target("ingest"), cluster.target("assembly"))


def keys_of(cluster: Cluster, plain_client, session: str) -> list[str]:
    s3 = plain_client(cluster.store)
    prefixes = (f"default/by-session/{session}/", f".sealane/default/sessions/{session}/")
    return [o.object_name for p in prefixes for o in s3.list_objects(cluster.store.bucket, prefix=p, recursive=True)]


@pytest.mark.parametrize("count", [10, 64])
async def test_sessions_at_once_of_different_and_of_equal_content_never_mix(
    cluster: Cluster, plain_client, count: int
) -> None:
    """I4: every other session has the same bytes and the same filename; all digests are right."""
    rng = random.Random(count)
    same = rng.randbytes(50_000)
    contents = [same if i % 2 else rng.randbytes(rng.randrange(1, 90_000)) for i in range(count)]
    contents[0] = rng.randbytes(CHUNK + 1)
    async with client_of(cluster) as client:
        results = await asyncio.gather(*(client.upload(c, filename="same.bin", parallel=1) for c in contents))
    s3 = plain_client(cluster.store)
    assert len({result.session_id for result in results}) == count
    for content, result in zip(contents, results, strict=True):
        assert result.committed_object.blake3 == blake3.blake3(content).digest()
        answer = s3.get_object(cluster.store.bucket, result.committed_object.key)
        try:
            assert answer.read() == content
        finally:
            answer.close()
            answer.release_conn()


async def test_an_aborted_session_leaves_nothing_behind(tidy: Cluster, plain_client) -> None:
    """I9: object, parts, receipts and records are gone, and stay gone."""
    async with client_of(tidy) as client:
        session = await client.create_session(filename="gone.bin", size=2 * CHUNK)
        progressed = asyncio.Event()
        content = bytes(2 * CHUNK)
        uploading = asyncio.create_task(
            client.upload(
                content,
                session_id=session.session_id,
                parallel=1,
                chunks_per_stream=1,
                progress=lambda p: progressed.set() if p.chunks_stored else None,
            )
        )
        async with asyncio.timeout(120):
            await progressed.wait()
            uploading.cancel()
            await asyncio.wait([uploading])
            assert await client.abort_session(session.session_id) is SessionState.ABORTED
            # Another process purges: there is nothing here to wait for but the bucket itself.
            while await asyncio.to_thread(keys_of, tidy, plain_client, session.session_id):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            s3 = plain_client(tidy.store)
            uploads = await asyncio.to_thread(
                s3._list_multipart_uploads, tidy.store.bucket, prefix=f"default/by-session/{session.session_id}"
            )
            assert uploads.uploads == []
        with pytest.raises(SessionNotFound):
            await client.get_session(session.session_id)


async def test_memory_of_both_services_does_not_grow_over_2000_small_sessions(cluster: Cluster) -> None:
    processes = [psutil.Process(service.pid) for service in cluster.services]
    content = random.Random(5).randbytes(1000)

    async def upload(client: Client, count: int) -> None:
        remaining = iter(range(count))

        async def one_after_another() -> None:
            for _ in remaining:
                await client.upload(content, filename="small.bin", parallel=1)

        await asyncio.gather(*(one_after_another() for _ in range(8)))

    async with client_of(cluster) as client:
        # Caches are bounded (1,024 sessions): they fill first, in both replicas of ingest.
        await upload(client, 1300)
        before = [process.memory_info().rss for process in processes]
        await upload(client, 700)
        after = [process.memory_info().rss for process in processes]
    growth = [b - a for a, b in zip(before, after, strict=True)]
    # A leak of 16 KiB a session would be 11 MiB; the allocator's own wobble stays below.
    assert max(growth) < 10 * MiB, [f"{g / MiB:.1f} MiB" for g in growth]
