"""The store goes away under load and comes back: replicas say so, stay alive, and everything goes on by itself.

Ten minutes of it are in tests/simulation/test_outage.py, in virtual time.
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import grpc
import pytest
from blake3 import blake3
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealane.client import BackoffPolicy, Client, Progress
from sealane.client.errors import StoreUnavailable
from sealane.dev.cluster import Cluster
from sealane.dev.service import Service
from sealane.domain.limits import MiB

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVING = health_pb2.HealthCheckResponse.SERVING
CHUNKS = 4


def _health(service: Service, name: str) -> int:
    with grpc.insecure_channel(service.health_address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        asked = health_pb2.HealthCheckRequest(service=name)
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=20)
    return int(answer.status)


async def _all(cluster: Cluster, *, ready: bool) -> None:
    for service in cluster.services:
        while (await asyncio.to_thread(_health, service, "readiness") == SERVING) is not ready:  # noqa: ASYNC110 - not ours
            await asyncio.sleep(0.1)


async def test_a_store_that_goes_away_under_load_costs_time_and_nothing_else(cluster: Cluster) -> None:
    data = random.Random(11).randbytes(CHUNKS * 8 * MiB)
    pids = [service.pid for service in cluster.services]
    halfway = asyncio.Event()

    def progress(now: Progress) -> None:
        if now.bytes_stored + now.bytes_in_flight >= len(data) // 2:
            halfway.set()

    patience = BackoffPolicy(cap_seconds=1.0, patience_seconds=200)
    async with Client(cluster.target("ingest"), cluster.target("assembly"), backoff=patience) as client:
        # Slow enough to be in the middle of it when the store goes.
        uploading = asyncio.create_task(
            client.upload(data, parallel=2, chunks_per_stream=1, max_bytes_per_second=12 * MiB, progress=progress)
        )
        await halfway.wait()
        await asyncio.to_thread(cluster.store.kill)
        try:
            await _all(cluster, ready=False)
            assert {_health(service, "liveness") for service in cluster.services} == {SERVING}
            with pytest.raises(StoreUnavailable) as told:
                await client.create_session(filename="while it is away", timeout=5)
            assert told.value.retry_after > 0
            assert not uploading.done()
        finally:
            await asyncio.to_thread(cluster.store.start)
        await _all(cluster, ready=True)
        result = await uploading
    assert result.committed_object.blake3 == blake3(data).digest()
    assert [service.pid for service in cluster.services] == pids, "somebody was restarted"
    for service in cluster.services:
        assert "store_back" in service.log_path.read_text()


async def _refused(cluster: Cluster) -> None:
    """Both services ask the store for something; what a client is told."""
    async with Client(cluster.target("ingest"), cluster.target("assembly")) as client:
        for ask in (client.get_session, client.get_commit):
            with pytest.raises(StoreUnavailable):
                await ask("0" * 32, timeout=2)


async def test_a_restart_of_the_store_that_no_look_could_see_is_noticed_by_the_calls_that_were_refused(
    tmp_path: Path,
) -> None:
    """SeaweedFS lacks R2 in the second after its start: what was over before two looks were missed must count too."""
    settings = {"SEALANE_PROBE_PAGE_KEYS": "20", "SEALANE_STORE_LOOK_SECONDS": "300"}  # within the test nobody looks
    cluster = Cluster(tmp_path, settings=settings)
    try:
        await asyncio.to_thread(cluster.start)
        await asyncio.to_thread(cluster.store.kill)
        await _refused(cluster)
        await asyncio.to_thread(cluster.store.start)
        await _all(cluster, ready=True)
        for service in cluster.services:
            lines = [json.loads(line) for line in service.log_path.read_text().splitlines()]
            events = [line["event"] for line in lines if line.get("event") in ("store_away", "store_back")]
            assert events == ["store_away", "store_back"]
        async with Client(cluster.target("ingest"), cluster.target("assembly")) as client:
            assert (await client.upload(b"and on it goes")).committed_object.size == 14
    finally:
        cluster.kill()
