"""ExplainSession: a session's history in order, from records, receipts and the object, with the store's times."""

from __future__ import annotations

from datetime import timedelta

import pytest
from assembly_faults import Fault, first
from assembly_time import run, wait
from assembly_world import (
    CHUNK,
    EXPIRED_AFTER,
    OUTCOME_AFTER,
    RETENTION,
    TENANT,
    Replica,
    Session,
    World,
    chunk_receipt,
    content_of,
)

from assembly_service.explain_receipts import MAX_BURSTS, MAX_RANGES, Event, bursts, tell
from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.claims import ANY
from sealane.domain.errors import BadRecord, PeerUnavailable, SessionLost, SessionNotFound
from sealane.domain.records import DeletedRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.simulated import EPOCH


async def explain(replica: Replica, session: Session) -> list[Event]:
    return await replica.assembly.explainer.explain(TENANT, session.id, Deadline.after(60))


def names(events: list[Event]) -> list[str]:
    return [event.event for event in events]


async def slow_upload(world: World) -> Session:
    """Chunks 0 and 1, a pause, chunk 2, a pause, chunk 3."""
    session = await world.open_session(content_of(3 * CHUNK + 100))
    for index, pause in enumerate((2, 60, 1, 0)):
        await wait(1)
        await world.store_chunk(session, index)
        await wait(pause)
    return session


def test_the_history_of_a_committed_session_is_told_in_order_and_what_comes_next() -> None:
    async def main() -> None:
        world = World()
        session = await slow_upload(world)
        await wait(5)
        answer = await world.replica().commit(session)
        events = await explain(world.replica(), session)
        assert names(events) == [
            "created",
            "upload_started",
            "chunks_stored",
            "chunks_stored",
            "decided",
            "committed",
            "object",
            "next",
        ]
        created, started, one, two, decided, committed, there, coming = events
        assert created.fields["filename"] == "data.bin"
        assert "token" not in str(events)
        assert session.upload_id not in str(events)
        assert (one.chunks, two.chunks) == ((ChunkRange(0, 1),), (ChunkRange(2, 3),))
        assert (one.fields["count"], two.fields["bytes"]) == ("2", str(CHUNK + 100))
        assert one.time is not None
        assert two.time is not None
        assert two.time - one.time > timedelta(seconds=60)
        assert started.time == one.time
        assert (decided.fields["outcome"], decided.fields["blake3"]) == ("COMMIT", answer.blake3.hex())
        assert committed.fields["etag"] == answer.etag
        assert (there.fields["ours"], there.fields["size"]) == ("true", str(answer.size))
        assert coming.fields["state"] == "COMMITTED"
        assert committed.time is not None
        assert coming.time == committed.time + RETENTION.receipts
        times = [event.time for event in events[:-1] if event.time is not None]
        assert times == sorted(times)

    run(main())


def test_chunks_that_came_twice_and_chunks_in_conflict_are_told_apart() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(3 * CHUNK))
        await wait(3)
        again = chunk_receipt(session.chunk(0), 0, "another-etag")
        await world.plain.put(keys.receipt(TENANT, session.id, again), b"", timeout=30)
        other = chunk_receipt(b"x" * CHUNK, 2, "other-bytes")
        await world.plain.put(keys.receipt(TENANT, session.id, other), b"", timeout=30)
        events = {event.event: event for event in await explain(world.replica(), session)}
        assert events["chunks_stored"].chunks == (ChunkRange(0, 2),)
        assert events["chunks_stored_again"].chunks == (ChunkRange(0, 0),)
        assert events["chunks_conflict"].chunks == (ChunkRange(2, 2),)
        assert events["chunks_conflict"].time == events["chunks_stored_again"].time

    run(main())


@pytest.mark.parametrize("ending", ["open", "committing", "aborted", "expired", "lost", "deleted", "swept"])
def test_each_state_says_what_comes_next_and_when(ending) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        created = world.bucket.object(keys.record(TENANT, session.id, keys.SESSION))
        assert created is not None
        begin = created.head.last_modified
        expiry = begin + timedelta(seconds=session.record.ttl) + RETENTION.grace
        match ending:
            case "committing":
                await world.decide(session)
            case "aborted":
                await world.replica().abort(session)
            case "expired":
                await wait(EXPIRED_AFTER)
                await world.replica().sweep(session)
            case "lost":
                await world.decide(session)
                world.bucket.lose_upload(session.upload_id)
                with pytest.raises(SessionLost):
                    await world.replica().commit(session)
            case "deleted" | "swept":
                await world.replica().commit(session)
                if ending == "deleted":
                    await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
                else:
                    await wait(OUTCOME_AFTER)
                    await world.replica().sweep_all()
        events = await explain(world.replica(), session)
        coming = events[-1]
        state = {"swept": "COMMITTED"}.get(ending, ending.upper())
        assert (coming.event, coming.fields["state"]) == ("next", state)
        decided = next((event.time for event in events if event.event == "decided"), None)
        if ending in ("open", "committing"):
            assert coming.time == expiry
        elif ending in ("aborted", "expired"):
            assert decided is not None
            assert coming.time == decided + RETENTION.outcome
        elif ending == "lost":
            assert next(event for event in events if event.event == "lost").fields["why"]
        else:
            assert coming.time is None
        assert ("object" in names(events)) is True
        assert (
            next(event for event in events if event.event == "object").fields["present"]
            == str(ending in ("deleted", "swept")).lower()
        )

    run(main())


def test_an_object_that_is_missing_or_anothers_is_said_to_be() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        await world.plain.put(session.record.key, b"another's", timeout=30)
        (seen,) = [event for event in await explain(world.replica(), session) if event.event == "object"]
        assert seen.fields["ours"] == "false"
        await world.plain.delete(session.record.key, timeout=30)
        (seen,) = [event for event in await explain(world.replica(), session) if event.event == "object"]
        assert "audit" in seen.text

    run(main())


def test_an_upload_that_the_store_ended_is_said_to_be_gone_while_the_session_is_open() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        assert "upload_missing" not in names(await explain(world.replica(), session))
        await world.plain.abort_multipart(session.record.key, session.upload_id, timeout=30)
        events = names(await explain(world.replica(), session))
        assert events[:3] == ["created", "upload_started", "upload_missing"]
        await world.replica().abort(session)
        assert "upload_missing" not in names(await explain(world.replica(), session))

    run(main())


@pytest.mark.parametrize(
    ("failure", "event"),
    [(PeerUnavailable.of("ingest"), "receipts_unavailable"), (BadRecord(private="forged"), "receipts_unreadable")],
)
def test_a_history_without_receipts_is_still_told(failure, event) -> None:
    """At three in the morning, half of the house may be down."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        replica.receipts.failure = failure
        told = names(await explain(replica, session))
        assert event in told
        assert "chunks_stored" not in told
        assert told[0] == "created"

    run(main())


def test_a_session_that_is_unknown_or_purged_while_it_is_read_has_no_history() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)

        async def delete() -> None:
            await world.replica().assembly.deleter.delete(TENANT, session.id, Deadline.after(60))

        fault = Fault("head", session.record.key, first(delete))
        for replica in (world.replica(faults=fault), world.replica()):
            with pytest.raises(SessionNotFound):
                await explain(replica, session)

    run(main())


def test_at_a_chosen_key_the_claim_and_the_generation_that_came_after_are_told() -> None:
    async def main() -> None:
        world = World()
        old = await world.session(content_of(CHUNK), object_key="a/key")
        await world.replica().commit(old)
        await wait(2)
        new = await world.session(content_of(CHUNK, 2), object_key="a/key", precondition=ANY)
        await world.replica().commit(new)
        events = await explain(world.replica(), old)
        assert names(events)[-5:] == ["decided", "committed", "replaced", "object", "next"]
        told = {event.event: event for event in events}
        assert told["claimed"].fields == {"generation": "1", "object_key": "a/key"}
        assert all("'a/key'" in told[event].text for event in ("created", "claimed"))
        assert told["replaced"].fields == {"generation": "2", "session_id": new.id}
        assert told["object"].fields["ours"] == "false"
        assert told["replaced"].time is not None
        assert told["next"].time == told["replaced"].time + RETENTION.outcome
        waiting = await world.session(content_of(CHUNK, 3), object_key="a/key", precondition=ANY)
        await world.claim(waiting, 3)
        assert "claimed" in names(await explain(world.replica(), waiting))
        same = await world.session(content_of(CHUNK, 3), object_key="a/key", precondition=ANY)
        await world.replica().commit(same)
        (decided,) = [event for event in await explain(world.replica(), same) if event.event == "decided"]
        assert decided.text.endswith(f"already, as generation 3, of session {waiting.id}.")

    run(main())


def test_explain_writes_nothing() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        replica = world.replica()
        await explain(replica, session)
        assert {call.op for call in replica.store.calls} <= {"get", "head", "list_objects"}

    run(main())


# --- bursts ---


def receipt(index: int, seconds: float) -> Receipt:
    moment = EPOCH + timedelta(seconds=seconds)
    return Receipt(index, CHUNK, bytes(32), bytes(32), bytes(32), "e", moment)


def test_a_trickle_of_thousands_of_chunks_is_told_in_a_few_lines() -> None:
    """Parted at the longest silences."""
    receipts = [receipt(index, index * 40 + (3600 if index >= 500 else 0)) for index in range(1000)]
    told = bursts(receipts)
    assert len(told) == MAX_BURSTS
    assert sum(len(burst) for burst in told) == 1000
    assert any(burst[0].index == 500 for burst in told)


def test_the_ranges_of_one_event_are_capped_and_say_so() -> None:
    (event,) = tell([receipt(index, 0) for index in range(0, 1000, 2)])
    assert len(event.chunks) == MAX_RANGES
    assert event.fields == {**event.fields, "ranges_truncated": "true", "count": "500"}


def test_receipts_without_times_are_one_burst_in_order_of_their_indexes() -> None:
    """Of an ingest of the version before."""
    receipts = [Receipt(index, CHUNK, bytes(32), bytes(32), bytes(32), "e") for index in (2, 0, 1)]
    (event,) = tell(receipts)
    assert (event.time, event.chunks) == (None, (ChunkRange(0, 2),))
