"""What the sweeper removes of what nobody has any more, and what it leaves: W6 and W7 of protocol.md section 7."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, OUTCOME_AFTER, RETENTION, TENANT, TTL, World, content_of, ops
from audited import audit

from assembly_service.retention import Retention
from sealane.domain.decision import Decision, Outcome
from sealane.domain.records import DeletedRecord, MultipartRecord, RequestRecord
from sealane.store import keys, simulated_bucket

# --- W6 ---


def test_w6_records_without_session_json_go_and_the_decision_goes_last() -> None:
    """⚠ W6: ANY record without a session.json → deleted, decision last; an upload that it names → aborted."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        await world.put_record(session, "deleted.json", b"{}")
        other_upload = await world.start_upload(session)
        stray = keys.session_prefix(TENANT, session.id) + "future.json"
        await world.plain.put(stray, b"?", timeout=30)
        await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert world.names(session) == []
        assert world.bucket.open_uploads() == []
        assert other_upload
        deleted = [call.key.rsplit("/", 1)[-1] for call in replica.store.calls if call.op == "delete"]
        assert deleted[-1] == keys.DECISION
        assert world.object(session) == session.content  # ⚠ an object without records is never deleted

    run(main())


def test_w6_a_multipart_json_written_behind_the_purge_goes_with_the_upload_it_names() -> None:
    """⚠ W6: a stalled ingest made them when session.json was gone."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        upload_id = await world.start_upload(session)
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, upload_id).encode())
        await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []

    run(main())


def test_w6_an_upload_of_a_session_that_is_gone_is_aborted_by_the_full_pass() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        await world.replica().sweep_all()
        await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        assert world.leftovers(session) == []

    run(main())


@DIALECTS
def test_w6_an_upload_beside_the_one_that_multipart_json_names_is_aborted(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        assert world.bucket.open_uploads() == [session.record.key]
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_w6_an_upload_is_left_alone_while_multipart_json_is_absent() -> None:
    """⚠ W6: absent proves nothing - ingest may be about to write it."""

    async def main() -> None:
        world = World()
        session = await world.open_session(content_of(CHUNK))
        session.upload_id = await world.start_upload(session)
        await world.replica().sweep_all(full=True)
        await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, session.upload_id).encode())
        await world.store_chunk(session, 0)
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_w6_objects_without_records_and_keys_that_are_not_ours_are_never_touched() -> None:
    """⚠ W6: an object without records is never deleted."""

    async def main() -> None:
        world = World()
        strange = [f"{TENANT}/by-session/{'0' * 32}/a.bin", "elsewhere/b.bin", ".sealane/notes.txt", "c"]
        for key in strange:
            await world.plain.put(key, b"kept", timeout=30)
        await world.plain.create_multipart("elsewhere/upload", metadata={}, timeout=30)
        await world.replica().sweep_all(full=True)
        assert world.bucket.keys() == sorted(strange)
        assert world.bucket.open_uploads() == ["elsewhere/upload"]

    run(main())


def test_request_ids_are_forgotten_after_their_retention_and_not_before() -> None:
    async def main() -> None:
        world = World()
        for number in range(3):
            key = keys.request_record(TENANT, f"request {number}")
            await world.plain.put(key, RequestRecord("0" * 32, bytes(32)).encode(), timeout=30)
            await wait(RETENTION.requests.total_seconds() / 2 + 5)
        await world.replica().sweep_all(full=False)
        assert len(world.bucket.keys(keys.requests_prefix(TENANT))) == 3
        await world.replica().sweep_all(full=True)
        assert len(world.bucket.keys(keys.requests_prefix(TENANT))) == 1

    run(main())


@pytest.mark.parametrize("by", ["sweeper", "audit"])
def test_w6_uploads_are_judged_on_every_page_of_their_list(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a page shows two; a store's shows a thousand, or fewer."""
    monkeypatch.setattr(simulated_bucket, "_page_limit", lambda limit: min(limit, 2))

    async def main() -> None:
        world = World()
        for object_key in ("", "", "", "a/key", "a/key", "b/key"):
            session = await world.open_session(content_of(CHUNK), object_key=object_key)
            await world.start_upload(session)
            await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)
        await wait(RETENTION.grace.total_seconds() + 2)
        if by == "sweeper":
            await world.replica().sweep_all(full=True)
        else:
            findings, _, _ = await audit(world.replica(), repair=True)
            assert len(findings) == 6
        assert world.bucket.open_uploads() == []

    run(main())


# --- W7 ---


def test_w7_a_committed_session_keeps_its_records_and_its_object_and_loses_its_receipts() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        answer = await world.replica().commit(session)
        await world.replica().sweep_all()
        assert [name for name in world.names(session) if name.startswith("receipts/")]
        await wait(RETENTION.receipts.total_seconds() + 2)
        await world.replica().sweep_all(full=False)
        assert [name for name in world.names(session) if name.startswith("receipts/")]
        await world.replica().sweep_all(full=True)
        await wait(400 * 86400)
        await world.replica().sweep_all(full=True)
        assert world.names(session) == [keys.DECISION, keys.DONE, keys.MULTIPART, keys.SESSION]
        assert world.object(session) == session.content
        again = await world.replica().commit(session)
        assert dataclasses.replace(again, replayed=False) == answer

    run(main())


def test_each_retention_is_that_of_its_own_things() -> None:
    """By default both are a day: receipts of what is committed, and the answer of what came to nothing."""

    async def main() -> None:
        world = World()
        retention = Retention(outcome=timedelta(hours=48), receipts=timedelta(hours=1))
        committed, aborted = await world.session(), await world.session()
        await world.replica().commit(committed)
        await world.replica().abort(aborted)
        await wait(3600 + 2)
        await world.replica(retention=retention).sweep_all()
        assert not [name for name in world.names(committed) if name.startswith("receipts/")]
        await wait(46 * 3600)
        await world.replica(retention=retention).sweep_all()
        assert world.names(aborted) == [keys.DECISION, keys.MULTIPART, keys.SESSION]
        await wait(3600)
        await world.replica(retention=retention).sweep_all()
        assert world.names(aborted) == []

    run(main())


def test_w5_a_delete_that_was_cut_short_is_gone_on_with_in_the_frequent_pass() -> None:
    """A caller was told "repeat": what it asked for does not wait for hours."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
        await world.replica().sweep_all(full=False)
        assert world.leftovers(session) == []

    run(main())


def test_done_sessions_leave_the_frequent_pass_and_cost_one_read_in_the_full_one() -> None:
    async def main() -> None:
        world = World()
        for number in range(5):
            session = await world.session(content_of(CHUNK, number))
            await world.replica().commit(session)
        await wait(RETENTION.receipts.total_seconds() + 2)
        await world.replica().sweep_all(full=True)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert ops(replica) == ["list_objects"]
        replica = world.replica()
        await replica.sweep_all(full=True)
        assert ops(replica).count("get") == 5

    run(main())


def test_an_open_session_is_read_once_and_then_costs_a_place_in_the_list() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(ttl=TTL)
        replica = world.replica()
        await replica.sweep_all(full=False)
        before = len(replica.store.calls)
        await world.store_chunk(session, 0)
        await replica.sweep_all(full=False)
        assert [call.op for call in replica.store.calls[before:]] == ["list_objects"]
        await wait(EXPIRED_AFTER)
        await replica.sweep_all(full=False)
        assert world.decision(session) == Decision(session.id, Outcome.EXPIRE)

    run(main())


def test_a_pass_does_not_page_through_ten_thousand_receipts() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        for number in range(5000):
            receipt = dataclasses.replace(session.receipts[0], index=10 + number)
            await world.plain.put(keys.receipt(TENANT, session.id, receipt), b"", timeout=30)
        behind = await world.session()
        await wait(EXPIRED_AFTER)
        replica = world.replica(retention=dataclasses.replace(RETENTION, grace=timedelta(days=9)))
        await replica.sweep_all(full=False)
        assert ops(replica).count("list_objects") == 2
        await world.replica().sweep_all(full=False)
        assert world.decision(behind) is not None

    run(main())


# --- what a killed probe leaves ---


async def _leave_a_probe(world: World, name: str, objects: int) -> None:
    prefix = keys.probe_prefix(name)
    for number in range(objects):
        await world.plain.put(f"{prefix}r1/{number:04d}", b"x", timeout=30)
    await world.plain.create_multipart(f"{prefix}r3/parts", metadata={}, timeout=30)


def test_w6_what_a_killed_probe_left_goes_with_a_full_pass_after_an_hour_and_not_before() -> None:
    """By the store's clock; a probe that may still run keeps what it wrote, and no session is touched."""

    async def main() -> None:
        world = World()
        await _leave_a_probe(world, "0a" * 8, 1010)
        session = await world.session()
        await wait(RETENTION.probe.total_seconds() - 10)
        await _leave_a_probe(world, "ff" * 8, 3)
        replica = world.replica(skew=timedelta(days=1))
        await replica.sweep_all()
        assert len(world.bucket.keys(keys.PROBE)) == 1013
        await wait(12)
        await replica.sweep_all(full=False)
        assert len(world.bucket.keys(keys.PROBE)) == 1013
        await replica.sweep_all()
        assert all(key.startswith(keys.probe_prefix("ff" * 8)) for key in world.bucket.keys(keys.PROBE))
        assert len(world.bucket.keys(keys.PROBE)) == 3
        assert world.bucket.open_uploads(keys.PROBE) == [keys.probe_prefix("ff" * 8) + "r3/parts"]
        assert replica.events.alarms == []
        await world.replica().commit(session)

    run(main())


def test_a_frequent_pass_does_not_page_through_what_probes_left() -> None:
    """One page shows that there is something; the next begins behind it."""

    async def main() -> None:
        world = World()
        await _leave_a_probe(world, "0a" * 8, 3500)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert ops(replica).count("list_objects") == 2

    run(main())


@DIALECTS
def test_forged_names_behind_every_jump_of_the_listing_make_no_circle(dialect) -> None:
    """Section 11: more than a page of keys that sort behind all receipts; the sessions behind them are swept."""

    async def main() -> None:
        world = World(dialect)
        sessions = [await world.session(content_of(CHUNK)) for _ in range(2)]
        for session in sessions:
            for number in range(1100):
                forged = keys.receipts_prefix(TENANT, session.id) + f"~{number}"
                await world.plain.put(forged, b"", timeout=30)
            await world.decide(session)
        await world.replica().sweep_all(full=False)
        assert [world.object(session) for session in sessions] == [session.content for session in sessions]

    run(main())
