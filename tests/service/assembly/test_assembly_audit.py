"""AuditStore on the simulated store: a clean bucket has no findings, each kind of ghost is found, repairs are few."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from assembly_faults import Fault, first, refuses
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Replica, Session, World, content_of

from assembly_service.audit import Message
from assembly_service.audit_findings import AuditKind, Finding, Progress, Summary
from assembly_service.audit_walk import OutOfOrder
from sealane.domain.decision import Decision, Outcome
from sealane.domain.ids import SessionId
from sealane.domain.records import DeletedRecord, MultipartRecord
from sealane.store import keys, port
from sealane.store.deadline import Deadline

QUARTER = timedelta(minutes=15)
LATER = QUARTER.total_seconds() + 2


async def audit(
    replica: Replica, *, min_age: timedelta = QUARTER, repair: bool = False
) -> tuple[list[Finding], Summary, list[Message]]:
    walk = replica.assembly.auditor.audit(TENANT, Deadline.after(3000), min_age=min_age, repair=repair)
    messages = [message async for message in walk]
    assert isinstance(messages[-1], Summary)
    findings = [message for message in messages if isinstance(message, Finding)]
    return findings, messages[-1], messages


def kinds(findings: list[Finding]) -> list[AuditKind]:
    return [finding.kind for finding in findings]


async def every_state(world: World) -> dict[str, Session]:
    """A session in each state that a living service has."""
    made = {name: await world.session(content_of(2 * CHUNK + 5, seed)) for seed, name in enumerate(STATES, start=1)}
    made["fresh"] = await world.open_session(b"")
    for name in ("committed", "deleted", "swept"):
        await world.replica().commit(made[name])
    await world.replica().abort(made["aborted"])
    await world.decide(made["committing"])
    await world.replica().assembly.deleter.delete(TENANT, made["deleted"].id, Deadline.after(60))
    return made


STATES = ("open", "committed", "aborted", "committing", "deleted", "swept")


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


# --- ghosts ---


async def ghosts(world: World) -> dict[AuditKind, set[str]]:
    """One of each, put straight into the bucket; answers the keys that must be named."""
    expected: dict[AuditKind, set[str]] = {}
    store = world.plain
    missing = await world.session(content_of(CHUNK + 1, 21))
    await world.replica().commit(missing)
    await store.delete(missing.record.key, timeout=30)
    replaced = await world.session(content_of(CHUNK + 1, 22))
    await world.replica().commit(replaced)
    await store.put(replaced.record.key, b"another's", timeout=30)
    expected[AuditKind.OBJECT_MISSING] = {missing.record.key, replaced.record.key}

    stray = SessionId("f" * 32)
    of_nobody = keys.object_key(TENANT, stray, "ghost.bin")
    await store.put(of_nobody, b"boo", timeout=30)
    odd = f"{TENANT}/by-session/odd"
    await store.put(odd, b"boo", timeout=30)
    chosen = f"{TENANT}/reports/ghost.pdf"
    await store.put(chosen, b"boo", timeout=30)
    still_open = await world.session(content_of(CHUNK, 23))
    await store.put(still_open.record.key, b"boo", timeout=30)
    expected[AuditKind.OBJECT_WITHOUT_RECORDS] = {of_nobody, odd, chosen, still_open.record.key}

    torn = await world.session(content_of(3 * CHUNK, 24))
    await store.delete(keys.record(TENANT, torn.id, keys.SESSION), timeout=30)
    expected[AuditKind.RECORD_WITHOUT_SESSION] = {keys.record(TENANT, torn.id, keys.MULTIPART)}
    expected[AuditKind.RECEIPT_WITHOUT_SESSION] = {min(world.bucket.keys(keys.receipts_prefix(TENANT, torn.id)))}

    second = await world.session(content_of(CHUNK, 25))
    await world.start_upload(second)
    lone = await store.create_multipart(f"{TENANT}/reports/lone", timeout=30, metadata={})
    await store.upload_part(
        f"{TENANT}/reports/lone", lone, 1, b"xyz", sha256=hashlib.sha256(b"xyz").digest(), timeout=30
    )
    expected[AuditKind.UPLOAD_WITHOUT_SESSION] = {torn.record.key, second.record.key, f"{TENANT}/reports/lone"}

    half = await world.session(content_of(CHUNK, 26))
    await world.replica().commit(half)
    await world.put_record(half, keys.DELETED, DeletedRecord(half.id).encode())
    expected[AuditKind.SESSION_OVERDUE] = {keys.session_prefix(TENANT, half.id)}

    forged = await world.open_session(b"")
    await store.put(keys.record(TENANT, forged.id, keys.DONE), b'{"version": 7}', timeout=30)
    bad_receipt = await world.session(content_of(CHUNK, 27))
    await store.put(keys.receipts_prefix(TENANT, bad_receipt.id) + "00000001.x", b"", timeout=30)
    expected[AuditKind.BAD_RECORD] = {
        keys.session_prefix(TENANT, forged.id),
        keys.receipts_prefix(TENANT, bad_receipt.id) + "00000001.x",
    }

    unknown = {
        f".sealane/{TENANT}/sessions/not-a-session",
        f".sealane/{TENANT}/sessions/{second.id}/future.json",
        f".sealane/{TENANT}/who/knows",
        f".sealane/{TENANT}/requests/short.json",
        f".sealane/{TENANT}/claims/{'0' * 64}/1.json",
    }
    for key in unknown:
        await store.put(key, b"?", timeout=30)
    expected[AuditKind.UNKNOWN_KEY] = unknown
    return expected


@DIALECTS
def test_every_kind_of_ghost_is_found_and_nothing_else(dialect) -> None:
    """Issue 3: records without objects, objects without records, uploads and receipts of no session; with bytes."""

    async def main() -> None:
        world = World(dialect)
        await every_state(world)
        await world.replica().sweep_all()
        expected = await ghosts(world)
        await wait(LATER)
        findings, summary, _ = await audit(world.replica())
        found: dict[AuditKind, set[str]] = {}
        for finding in findings:
            assert finding.age >= QUARTER
            assert finding.text.endswith((".", ")", "log).")), finding
            assert not finding.repaired
            found.setdefault(finding.kind, set()).add(finding.key)
        assert found == expected
        assert {kind: tally.findings for kind, tally in summary.by_kind.items()} == {
            kind: len(named) for kind, named in expected.items()
        }
        receipts = summary.by_kind[AuditKind.RECEIPT_WITHOUT_SESSION]
        assert (receipts.findings, receipts.count) == (1, 3)  # receipts of one session are one finding
        uploads = summary.by_kind[AuditKind.UPLOAD_WITHOUT_SESSION]
        assert uploads.size == 3 * CHUNK + 3  # the parts' bytes

    run(main())


def test_repair_removes_what_the_sweeper_may_remove_and_never_an_object() -> None:
    """Objects, bad records and unknown keys are for an operator; a second audit shows them, and only them."""

    async def main() -> None:
        world = World()
        await ghosts(world)
        await wait(LATER)
        objects = world.bucket.keys(f"{TENANT}/")
        half = next(f.session for f in (await audit(world.replica()))[0] if f.kind is AuditKind.SESSION_OVERDUE)
        findings, summary, _ = await audit(world.replica(), repair=True)
        repairable = {
            AuditKind.RECORD_WITHOUT_SESSION,
            AuditKind.RECEIPT_WITHOUT_SESSION,
            AuditKind.UPLOAD_WITHOUT_SESSION,
            AuditKind.SESSION_OVERDUE,
        }
        assert {finding.kind for finding in findings if finding.repaired} == repairable
        assert {kind for kind, tally in summary.by_kind.items() if tally.repaired == tally.findings} == repairable
        own = keys.own_object_prefix(TENANT, SessionId(half))
        assert world.bucket.keys(f"{TENANT}/") == [key for key in objects if not key.startswith(own)]
        again, _, _ = await audit(world.replica())
        assert set(kinds(again)) == set(AuditKind) - repairable
        assert all(session in open_keys(world) for session in world.bucket.open_uploads())

    run(main())


def open_keys(world: World) -> set[str]:
    """Keys that a living session names."""
    return {key.rsplit("/", 1)[0] + "/data.bin" for key in world.bucket.keys(f"{TENANT}/by-session/")} | {
        keys.object_key(TENANT, SessionId(key.split("/")[3]), "data.bin")
        for key in world.bucket.keys(f".sealane/{TENANT}/sessions/")
        if key.endswith(keys.SESSION)
    }


def test_another_tenants_part_is_neither_seen_nor_touched() -> None:
    """I12."""

    async def main() -> None:
        world = World()
        await world.plain.put("other/by-session/zzz", b"x", timeout=30)
        await world.plain.put(f"{TENANT}-two/x", b"x", timeout=30)
        await world.plain.put(".sealane/other/sessions/zzz", b"x", timeout=30)
        await world.plain.create_multipart("other/a", timeout=30, metadata={})
        await wait(LATER)
        replica = world.replica()
        findings, summary, _ = await audit(replica, repair=True)
        assert findings == []
        assert summary.keys == 0
        assert all(call.key.startswith((f"{TENANT}/", f".sealane/{TENANT}/")) for call in replica.store.calls)

    run(main())


# --- the living are no ghosts, whatever happens while the audit walks ---


@pytest.mark.parametrize("happening", ["commit", "delete", "abort and purge", "upload begins"])
def test_what_happens_while_the_audit_walks_is_no_finding(happening) -> None:
    """The LIST is a hint, never a proof: what is found is read again, in the protocol's order."""
    works: dict[str, Callable[[World, Session], Coroutine[Any, Any, Any]]] = {
        "commit": lambda world, session: world.replica().commit(session),
        "delete": lambda world, session: world.replica().assembly.deleter.delete(
            TENANT, session.id, Deadline.after(60)
        ),
        "abort and purge": lambda world, session: purge(world, session),
        "upload begins": lambda world, session: world.store_chunk(session, 0),
    }

    async def purge(world: World, session: Session) -> None:
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World()
            kept = await world.session(content_of(CHUNK + 9, 2))
            if happening == "upload begins":
                session = await world.open_session(content_of(CHUNK))
            else:
                session = await world.session(content_of(CHUNK + 9))
            if happening == "delete":
                await world.replica().commit(session)
            await world.replica().commit(kept)

            class Between:
                calls = 0

                async def around(
                    self, op: str, key: str, effect: Callable[[], Any], nth=nth, world=world, session=session
                ) -> Any:
                    Between.calls += 1
                    if Between.calls == nth:
                        await works[happening](world, session)
                    return effect()

            findings, _, _ = await audit(world.replica(faults=Between()), min_age=timedelta(0))
            assert findings == [], (nth, findings)
            if Between.calls < nth:
                assert nth > 6
                return

    run(main())


def test_w6_an_upload_at_a_chosen_key_whose_session_has_no_multipart_json_yet_is_spared() -> None:
    """⚠ W6: absent proves nothing; another session of the key with another upload does not make it a ghost."""

    async def main() -> None:
        world = World()
        session = await world.session(content_of(CHUNK))
        upload = await world.start_upload(session)
        await world.plain.delete(keys.record(TENANT, session.id, keys.MULTIPART), timeout=30)
        await wait(LATER)
        findings, _, _ = await audit(world.replica(), repair=True)
        assert findings == []
        assert len(world.bucket.open_uploads()) == 2
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, upload).encode())
        findings, _, _ = await audit(world.replica(), repair=True)
        assert kinds(findings) == [AuditKind.UPLOAD_WITHOUT_SESSION]
        assert len(world.bucket.open_uploads()) == 1

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
