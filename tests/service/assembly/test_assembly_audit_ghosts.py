"""AuditStore finds what belongs to nothing, and never what is alive, whatever happens while it walks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, IMPATIENT, TENANT, Session, World, content_of
from audited import LATER, QUARTER, audit, every_state, ghosts, kinds

from assembly_service.audit_findings import AuditKind
from sealane.domain.ids import SessionId
from sealane.domain.records import MultipartRecord
from sealane.store import keys
from sealane.store.deadline import Deadline


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


def test_a_session_that_is_expired_and_purged_between_two_reads_is_not_overdue() -> None:
    """⚠ session.json is read last: "no decision" means OPEN only while it is there."""

    async def main() -> None:
        world = World()
        session = await world.session(content_of(CHUNK + 9))
        await wait(EXPIRED_AFTER)

        async def purge() -> None:
            await world.replica().sweep_all()
            await wait(2)  # within the deadline of the read that waits for it
            await world.replica(retention=IMPATIENT).sweep(session)
            assert world.names(session) == []

        faults = Fault("get", f"{session.id}/decision.json", first(purge))
        findings, _, _ = await audit(world.replica(faults=faults), min_age=timedelta(0))
        assert findings == []

    run(main())


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
        await wait(2)
        await world.replica(retention=IMPATIENT).sweep(session)
        assert world.names(session) == []

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
        session = await world.open_session(content_of(CHUNK))
        _, upload = [await world.start_upload(session) for _ in range(2)]
        await wait(LATER)
        findings, _, _ = await audit(world.replica(), repair=True)
        assert findings == []
        assert len(world.bucket.open_uploads()) == 2
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, upload).encode())
        findings, _, _ = await audit(world.replica(), repair=True)
        assert kinds(findings) == [AuditKind.UPLOAD_WITHOUT_SESSION]
        assert len(world.bucket.open_uploads()) == 1

    run(main())
