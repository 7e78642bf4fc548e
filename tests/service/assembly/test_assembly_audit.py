"""AuditStore on the simulated store: what fits has no findings, what is overdue has, no store is believed blindly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from assembly_faults import Fault, first, refuses
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, TENANT, World, content_of
from audited import LATER, QUARTER, audit, every_state, ghosts, kinds

from assembly_service.audit_findings import AuditKind, Progress
from assembly_service.audit_walk import OutOfOrder
from sealane.domain.decision import Decision, Outcome
from sealane.domain.records import DeletedRecord
from sealane.store import keys, port

# --- a clean bucket ---


@DIALECTS
@pytest.mark.parametrize("age", [0.0, LATER])
def test_a_bucket_in_which_everything_fits_has_no_findings(dialect, age) -> None:
    async def main() -> None:
        world = World(dialect)
        made = await every_state(world)
        await world.replica().sweep_all()
        await wait(age)
        findings, summary, _ = await audit(world.replica(), min_age=timedelta(0) if not age else QUARTER)
        assert findings == []
        assert summary.by_kind == {}
        assert summary.sessions == 6
        assert summary.objects == 3
        assert summary.object_bytes == sum(len(made[n].content) for n in ("committed", "swept", "committing"))
        assert summary.keys == len(world.bucket.keys())

    run(main())


def test_an_empty_bucket_is_clean() -> None:
    async def main() -> None:
        findings, summary, messages = await audit(World().replica())
        assert findings == []
        assert (summary.keys, summary.sessions, summary.objects) == (0, 0, 0)
        assert len(messages) == 1

    run(main())


def test_the_audit_writes_nothing_unless_it_is_asked_to_repair() -> None:
    async def main() -> None:
        world = World()
        await every_state(world)
        await ghosts(world)
        await wait(LATER)
        replica = world.replica()
        findings, _, _ = await audit(replica)
        assert findings
        assert {call.op for call in replica.store.calls} <= {
            "get",
            "head",
            "list_objects",
            "list_uploads",
            "list_parts",
        }

    run(main())


def test_what_is_just_being_written_is_left_out_by_the_stores_clock() -> None:
    """I15: a replica whose own clock is a day ahead finds nothing that is young."""

    async def main() -> None:
        world = World()
        await ghosts(world)
        for skew in (timedelta(days=1), timedelta(days=-1), timedelta(0)):
            findings, _, _ = await audit(world.replica(skew=skew))
            assert findings == []
        await wait(LATER)
        findings, _, _ = await audit(world.replica(skew=timedelta(days=-1)))
        assert findings

    run(main())


# --- overdue ---


@pytest.mark.parametrize("beginning", ["open", "committing", "aborted", "half deleted"])
def test_a_session_that_no_sweeper_took_further_is_overdue_and_repair_does_it(beginning) -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(CHUNK))
        match beginning:
            case "committing":
                await world.decide(session)
            case "aborted":
                await world.put_record(session, keys.DECISION, Decision(session.id, Outcome.ABORT).encode())
            case "half deleted":
                await world.replica().commit(session)
                await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
        await wait(EXPIRED_AFTER + OUTCOME_AFTER + LATER)
        findings, _, _ = await audit(world.replica(), repair=True)
        assert kinds(findings) == [AuditKind.SESSION_OVERDUE]
        assert findings[0].repaired
        findings, _, _ = await audit(world.replica())
        assert findings == []

    run(main())


def test_an_open_session_that_may_still_be_resumed_is_not_overdue() -> None:
    async def main() -> None:
        world = World()
        await world.session(content_of(CHUNK))
        await wait(EXPIRED_AFTER - 10)
        findings, _, _ = await audit(world.replica(), min_age=timedelta(0))
        assert findings == []

    run(main())


# --- many keys, and a store that does not play along ---


def test_progress_is_told_and_a_page_at_a_time_is_in_memory() -> None:
    async def main() -> None:
        world = World(keep_bytes=False)
        for _ in range(700):
            session = await world.open_session(b"")
            await world.put_record(session, keys.DECISION, Decision(session.id, Outcome.ABORT).encode())
        _, summary, messages = await audit(world.replica())
        told = [message for message in messages if isinstance(message, Progress)]
        assert summary.keys == 1400
        assert told
        assert told == sorted(told, key=lambda progress: progress.keys)

    run(main())


@DIALECTS
def test_forged_names_behind_every_jump_make_no_circle(dialect) -> None:
    """More than a page of keys that sort behind everything of sealane's, in the folders that a walk jumps over."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session(content_of(CHUNK))
        await world.replica().commit(session)
        for number in range(1200):
            await world.plain.put(f"{TENANT}/by-session/~é{number}", b"", timeout=30)
            await world.plain.put(f".sealane/{TENANT}/sessions/~é{number}", b"", timeout=30)
        findings, summary, _ = await audit(world.replica(), min_age=timedelta(0))
        assert len(findings) == 2400
        assert set(kinds(findings)) == {AuditKind.OBJECT_WITHOUT_RECORDS, AuditKind.UNKNOWN_KEY}
        assert summary.keys == len(world.bucket.keys())

    run(main())


def test_an_error_of_the_store_ends_the_audit_and_is_no_clean_bill() -> None:
    async def main() -> None:
        world = World()
        await world.session(content_of(CHUNK))
        fault = Fault("get", keys.SESSION, refuses(port.AccessDenied("no")), times=1000)
        with pytest.raises(port.AccessDenied):
            await audit(world.replica(faults=fault))

    run(main())


def test_a_store_that_lists_sessions_in_no_order_is_not_believed() -> None:
    """The merge of the two listings rests on the order of the ids."""

    async def main() -> None:
        world = World()
        for _ in range(3):
            await world.open_session(b"")

        def backwards(effect: Callable[[], port.ObjectPage]) -> port.ObjectPage:
            page = effect()
            return port.ObjectPage(list(reversed(page.objects)), page.cursor)

        fault = Fault("list_objects", "/sessions/", backwards)
        with pytest.raises(OutOfOrder):
            await audit(world.replica(faults=fault))

    run(main())


def test_a_key_that_is_deleted_while_a_repair_walks_is_no_error() -> None:
    async def main() -> None:
        world = World()
        await ghosts(world)
        await wait(LATER)

        async def sweep() -> None:
            await world.replica().sweep_all(full=True)

        fault = Fault("list_uploads", f"{TENANT}/", first(sweep), nth=2)
        findings, _, _ = await audit(world.replica(faults=fault), repair=True)
        assert findings

    run(main())
