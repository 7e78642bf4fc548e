"""What ingest counts of each chunk, and what it tells of waits: once a chunk, and nothing a frame."""

from __future__ import annotations

import asyncio
import random

from assembly_acts import commit
from ingest_replica import KIB, chunk, chunks_of, header, refused, running, until
from prometheus_client import CollectorRegistry

from ingest_service import receive
from ingest_service.admission import MemoryBudget
from ingest_service.metrics import expose, statistics_for
from ingest_service.statistics import Statistics
from sealane.domain.errors import ChunkConflict, ChunkCorrupt, Overloaded
from sealane.metrics.shared import SharedMetrics
from sealane.slots import Slots
from sealane.store.deadline import Deadline
from sealane.store.simulated import SimulatedStore

DATA = random.Random(5).randbytes(4 * KIB)
PIECES = chunks_of(DATA)


class Told(Statistics):
    """Counts, and the durations that were told."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.part: list[float] = []
        self.took: list[float] = []
        super().__init__(memory_wait=self.memory.append, part_wait=self.part.append, chunk_took=self.took.append)

    def chunks(self) -> dict[str, int]:
        names = ("stored", "duplicate", "mended", "corrupt", "conflict", "failed")
        return {name: n for name in names if (n := getattr(self, f"chunks_{name}"))}


async def test_each_chunk_is_counted_by_what_became_of_it() -> None:
    told = Told()
    async with running(statistics=told) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        assert told.chunks() == {"stored": 4}
        assert told.bytes_received == told.bytes_stored == len(DATA)
        assert len(told.took) == len(told.part) == 4
        await replica.upload(session, PIECES[:1])
        assert told.chunks() == {"stored": 4, "duplicate": 1}
        other = bytes(KIB)
        assert isinstance(await refused(replica.upload(session, [other])), ChunkConflict)
        wrong = [header(session), *chunk(1, PIECES[1], digest=bytes(32))]
        assert isinstance(await refused(replica.send(wrong)), ChunkCorrupt)
        assert told.chunks() == {"stored": 4, "duplicate": 1, "conflict": 1, "corrupt": 1}
        assert told.bytes_received == len(DATA) + 3 * KIB
        assert told.bytes_stored == len(DATA)
        assert len(told.took) == 4  # of chunks that were stored
        await commit(replica, session, DATA)
        await replica.upload(session, {2: PIECES[2]})
        assert told.chunks()["mended"] == 1


async def test_a_chunk_that_the_store_does_not_take_is_counted_as_failed() -> None:
    told = Told()
    store = SimulatedStore()
    async with running(store, statistics=told, chunk_store_seconds=0.2) as replica:
        session = (await replica.create(size=len(DATA))).session_id

        async def garbled(*_: object, **__: object) -> str:
            raise ConnectionError("away")

        store.upload_part = garbled  # type: ignore[method-assign]  # a store that is broken in a new way
        await refused(replica.upload(session, PIECES[:1]))
        await until(lambda: told.chunks() == {"failed": 1}, what="the failed chunk is counted")


async def test_a_wait_for_memory_is_told_granted_or_not() -> None:
    waits: list[float] = []
    memory = MemoryBudget(2 * KIB, max_wait=0.05, waited=waits.append)
    first = await memory.lease(2 * KIB, Deadline.after(10))
    assert waits == [0.0]
    second = asyncio.create_task(memory.lease(KIB, Deadline.after(10)))
    assert isinstance(await refused(second), Overloaded)
    assert waits[1] > 0
    first.release()
    (await memory.lease(KIB, Deadline.after(10))).release()
    assert len(waits) == 3


async def test_nothing_is_counted_or_traced_a_frame(monkeypatch) -> None:
    """The same chunk in eight times as many frames makes the same calls to whoever watches."""
    from sealane import spans

    calls: list[str] = []

    class Ear:
        def span(self, name: str, attributes: object, kind: str) -> object:
            calls.append(name)
            return spans.NOTHING

        def serving(self, method: str, metadata: object) -> object:
            calls.append("served")
            return spans.NOTHING

        def headers(self) -> tuple[()]:
            return ()

    counts = []
    for frame_bytes in (KIB, KIB // 8):
        told, before = Told(), len(calls)
        async with running(statistics=told) as replica:
            session = (await replica.create(size=KIB)).session_id
            monkeypatch.setattr(spans, "_tracer", Ear())
            await replica.upload(session, PIECES[:1], frame_bytes=frame_bytes)
            monkeypatch.setattr(spans, "_tracer", None)
            counts.append((len(calls) - before, len(told.memory), len(told.part), len(told.took)))
    assert counts[0] == counts[1]
    assert counts[0][0] > 0
    assert not hasattr(receive, "spans")


def test_a_scrape_reads_what_the_replica_holds() -> None:
    registry = CollectorRegistry()
    metrics = SharedMetrics(registry, "ingest")
    counted = statistics_for(metrics)
    memory, streams, watchers = MemoryBudget(4096, max_wait=1), Slots(7, "streams"), Slots(9, "watchers")
    expose(metrics, memory, streams, watchers)
    counted.chunks_corrupt += 1
    counted.errors_by_reason["OVERLOADED"] += 2
    counted.memory_wait(0.2)

    async def held() -> None:
        lease = await memory.lease(1024, Deadline.after(5))
        with streams.hold(lambda: None):
            value = registry.get_sample_value
            assert value("sealane_memory_in_use_bytes") == 1024
            assert value("sealane_memory_budget_bytes") == 4096
            assert value("sealane_memory_waiters") == 0
            assert value("sealane_upload_streams") == 1
            assert value("sealane_upload_streams_limit") == 7
            assert value("sealane_watchers_limit") == 9
            assert value("sealane_chunks_total", {"result": "corrupt"}) == 1
            assert value("sealane_rpc_errors_total", {"reason": "OVERLOADED"}) == 2
            assert value("sealane_queue_wait_seconds_sum", {"queue": "memory"}) == 0.2
        lease.release()

    asyncio.run(held())
