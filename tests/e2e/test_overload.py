"""Several times the load that fits, on real processes: nothing fails, memory keeps its bound, every tenant gets on.

How fast is not judged here: ``make overload`` does that.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.offered_load import Clients, Offer, offer
from bench.overload import Rss, allowed, overloadable
from sealane.client import Client
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
