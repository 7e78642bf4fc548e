"""Several times the load that fits, on real processes: nothing fails, memory keeps its bound, every tenant gets on.

How fast is not judged here: ``make overload`` does that.
"""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from bench.offered_load import Clients, Offer, offer
from bench.overload import Rss, allowed, overloadable
from sealane.client import Client
from sealane.dev.cluster import Cluster
from sealane.domain.limits import MiB

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STREAMS, BUDGET = 6, 152 * MiB
OFFERS = (Offer("greedy", 14), Offer("few", 3), Offer("one", 1))


async def test_overload_costs_bounded_memory_and_starves_nobody(tmp_path: Path) -> None:
    clients = Clients()
    with overloadable(
        tmp_path,
        [each.tenant for each in OFFERS],
        SEALANE_PROBE_PAGE_KEYS="20",
        SEALANE_INGEST_MAX_STREAMS=str(STREAMS),
        SEALANE_INGEST_MEMORY_BUDGET=str(BUDGET),
    ) as cluster:
        ingest, assembly = cluster.target("ingest"), cluster.target("assembly")
        rss = Rss(cluster.of_kind("ingest")[0].pid)
        rss.settle()
        with rss.watched():
            await offer(ingest, assembly, OFFERS, size=24 * MiB, clients=clients, uploads_each=1)
        async with Client(ingest, assembly, metadata=clients.metadata("one")) as client:
            refused = (await client.get_server_info()).statistics.errors_by_reason
    assert clients.failures == []
    assert clients.uploads == {each.tenant: each.streams for each in OFFERS}
    assert refused.get("OVERLOADED", 0) > 0, "it was no overload"
    assert set(refused) <= {"OVERLOADED"}
    assert rss.most - rss.idle <= allowed(budget=BUDGET, streams=STREAMS)
    # Of tenants that were served side by side, none waits for the other's last upload: the order tells.
    assert clients.order.index("one") < len(clients.order) - 1


async def test_a_compressed_bomb_is_refused_before_it_is_unpacked(cluster: Cluster) -> None:
    """128 MiB of zeros are 128 KiB on the wire, and no more than that in the process, by the real one's memory."""
    service = cluster.of_kind("ingest")[0]
    rss = Rss(service.pid)
    rss.settle()
    with rss.watched(), grpc.insecure_channel(service.address) as channel:
        for method in ("CreateSession", "GetSession"):
            call = channel.unary_unary(f"/sealane.v1.IngestService/{method}")
            with pytest.raises(grpc.RpcError) as refused:
                call(bytes(128 * MiB), timeout=60, compression=grpc.Compression.Gzip)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert rss.most - rss.idle < 32 * MiB
