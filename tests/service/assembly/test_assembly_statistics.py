"""What assembly counts: commits and what became of sessions, the sweeper's work, orphans and their bytes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
from assembly_faults import Fault, refuses
from assembly_time import run, wait
from assembly_world import CHUNK, EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Replica, World, content_of
from prometheus_client import CollectorRegistry

from assembly_service.metrics import statistics_for
from assembly_service.patrol import Pace
from assembly_service.statistics import Phase, Statistics
from sealane.domain.errors import CoverageIncomplete, SessionLost
from sealane.metrics.shared import SharedMetrics
from sealane.store import keys, port
from sealane.store.deadline import Deadline


def counted(world: World, **more: object) -> tuple[Replica, Statistics, list[str]]:
    """A replica, its counts, and the phases of commits that it has told."""
    phases: list[str] = []
    statistics = Statistics(phase_took=lambda phase, seconds: phases.append(phase))
    return world.replica(statistics=statistics, **more), statistics, phases  # type: ignore[arg-type]  # replica's own


def test_a_commit_counts_once_and_tells_its_phases() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica, statistics, phases = counted(world)
        await replica.commit(session)
        assert phases == ["read", "check", "decide", "finish"]
        assert statistics.ended == {"committed": 1}
        await replica.commit(session)
        assert phases[4:] == ["read"]
        assert statistics.ended == {"committed": 1}

    run(main())


def test_a_commit_at_a_chosen_key_claims_and_identical_bytes_are_a_duplicate() -> None:
    async def main() -> None:
        world = World()
        one, two = [await world.session(object_key="a") for _ in range(2)]
        replica, statistics, phases = counted(world)
        await replica.commit(one)
        assert "claim" in phases
        await replica.commit(two)
        await replica.commit(two)
        assert statistics.ended == {"committed": 1, "duplicate": 1}

    run(main())


def test_a_refused_commit_tells_the_phase_that_refused_it_and_ends_nothing() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(without=[1])
        replica, statistics, phases = counted(world)
        with pytest.raises(CoverageIncomplete):
            await replica.commit(session)
        assert phases == ["read", "check"]
        assert not +statistics.ended

    run(main())


def test_sessions_that_end_otherwise_are_counted_by_how() -> None:
    async def main() -> None:
        world = World()
        aborted, expired, lost, deleted = [await world.session() for _ in range(4)]
        replica, statistics, _ = counted(world)
        await replica.abort(aborted)
        await world.decide(lost)
        world.bucket.lose_upload(lost.upload_id)
        with pytest.raises(SessionLost):
            await replica.commit(lost)
        await replica.commit(deleted)
        await replica.assembly.deleter.delete(TENANT, deleted.id, Deadline.after(300))
        await wait(EXPIRED_AFTER)
        await replica.sweep(expired)
        assert +statistics.ended == {"aborted": 1, "lost": 1, "committed": 1, "deleted": 1, "expired": 1}
        assert statistics.swept["expired"] == 1

    run(main())


def test_the_sweeper_counts_what_it_rolled_forward_purged_and_could_not_sweep() -> None:
    async def main() -> None:
        world = World()
        stalled, given_up, forged = [await world.session() for _ in range(3)]
        await world.decide(stalled)
        await world.replica().abort(given_up)
        await world.put_record(forged, keys.DECISION, b"no record")
        await wait(OUTCOME_AFTER)
        replica, statistics, _ = counted(world)
        await replica.sweep_all()
        assert statistics.swept == {"rolled_forward": 1, "purged": 1, "failed": 1}

    run(main())


def test_sessions_are_listed_by_what_their_records_show() -> None:
    async def main() -> None:
        world = World()
        _open, decided, done, gone = [await world.session() for _ in range(4)]
        await world.replica().abort(decided)
        await world.replica().commit(done)
        await world.plain.delete(keys.record(TENANT, gone.id, keys.SESSION), timeout=30)
        replica, statistics, _ = counted(world)
        await replica.sweep_all(full=False)
        assert statistics.listed == {"open": 1, "decided": 1, "done": 1, "deleting": 0, "ownerless": 1}
        await replica.sweep_all(full=False)
        assert statistics.listed["ownerless"] == 0

    run(main())


def test_orphans_are_counted_when_found_and_when_removed_with_their_bytes() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(CHUNK))
        other = await world.start_upload(session)
        await world.plain.upload_part(
            session.record.key, other, 1, bytes(700), sha256=hashlib.sha256(bytes(700)).digest(), timeout=30
        )
        stuck = Fault("abort_multipart", "", refuses(port.AccessDenied()), times=2)
        replica, statistics, _ = counted(world, faults=stuck)
        for _ in range(2):  # what is still there is found again, and not added up
            await replica.sweep_all()
            assert statistics.orphan_bytes == 700
        assert statistics.orphans_found["upload"] == 2
        assert statistics.orphans_removed["upload"] == statistics.orphan_bytes_removed == 0
        await replica.sweep_all()
        assert statistics.orphans_found["upload"] == 3
        assert (statistics.orphans_removed["upload"], statistics.orphan_bytes_removed) == (1, 700)
        assert statistics.orphan_bytes == 0
        await replica.sweep_all()
        assert statistics.orphans_found["upload"] == 3

    run(main())


def test_passes_are_counted_by_kind_and_end_and_the_last_complete_one_is_told_by_the_stores_clock() -> None:
    async def main() -> None:
        world = World()
        away = Fault("list_objects", keys.ROOT, refuses(port.AccessDenied()), times=2)
        replica, statistics, _ = counted(world, faults=away, pace=Pace(interval=600, full_interval=1e9))
        running = asyncio.create_task(replica.assembly.patrol.run())
        await wait(3 * 900)
        assert statistics.passes["frequent", "cut_short"] == 2
        assert "full" not in statistics.last_pass
        complete = statistics.passes["frequent", "complete"]
        assert complete >= 1
        last = statistics.last_pass["frequent"]
        assert (replica.store.now() - last).total_seconds() <= 900
        await wait(900)
        assert statistics.last_pass["frequent"] > last
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    run(main())


def test_a_scrape_reads_the_counts_and_every_series_begins_at_nothing() -> None:
    """A series that began with its first event would have no rate: an alert would miss the first one."""
    registry, started = CollectorRegistry(), datetime(2026, 1, 1, tzinfo=UTC)
    statistics = statistics_for(SharedMetrics(registry, "assembly"), started=started)
    value = registry.get_sample_value
    assert value("sealane_sessions_ended_total", {"outcome": "lost"}) == 0
    assert value("sealane_sweeper_sessions_total", {"deed": "purged"}) == 0
    assert value("sealane_sweeper_last_pass_timestamp_seconds", {"kind": "full"}) == started.timestamp()
    statistics.ended["lost"] += 1
    statistics.passes["full", "complete"] += 1
    statistics.phase_took(Phase.DECIDE, 0.2)
    assert value("sealane_sessions_ended_total", {"outcome": "lost"}) == 1
    assert value("sealane_sweeper_passes_total", {"kind": "full", "result": "complete"}) == 1
    assert value("sealane_commit_phase_duration_seconds_sum", {"phase": "decide"}) == 0.2
