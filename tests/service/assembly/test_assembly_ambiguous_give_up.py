"""The give-up rule: a part that nobody mends in time, by the store's clock (protocol.md section 6)."""

from __future__ import annotations

import pytest
from assembly_faults import Fault, first, refuses
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, World, content_of

from assembly_service.mend import part_list
from sealane.domain.errors import (
    ChunkNeeded,
    SessionLost,
)
from sealane.domain.records import DoneRecord, LostRecord
from sealane.store import port
from sealane.store.simulated_traits import AWS


@DIALECTS
@pytest.mark.parametrize("who", ["commit", "sweep"])
def test_i3_i10_a_part_not_mended_in_time_is_given_up_by_the_stores_clock(dialect, who) -> None:
    """⚠ Not mended by decision.json's Last-Modified + ttl + grace: abort until gone, HEAD; else LOST. Not earlier."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER - 60)
        world.bucket._uploads[session.upload_id].rows[2].clear()
        await world.store_part(session, 1, content_of(CHUNK, seed=66))
        replica = world.replica()
        call = getattr(replica, who)
        with pytest.raises(ChunkNeeded):
            await call(session)
        assert world.bucket.open_uploads() == [session.record.key]  # I10
        await wait(120)
        with pytest.raises(SessionLost):
            await call(session)
        assert isinstance(world.done(session), LostRecord)
        assert world.bucket.open_uploads() == []
        assert world.object(session) is None
        assert len(replica.events.alarms) == 1

    run(main())


@pytest.mark.parametrize("finished", [True, False], ids=["done", "completed only"])
def test_i8_the_give_up_looks_for_the_object_once_more_when_the_upload_is_gone(finished) -> None:
    """⚠ Abort until gone, HEAD; ours → success, though its committer has not written done.json (yet)."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        decision = await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER)
        rival = world.replica()

        async def complete() -> None:  # its client mends it after all, and another replica is faster than the abort
            await world.store_part(session, 0, session.chunk(0))
            if finished:
                await rival.commit(session)
            else:
                parts = part_list(decision.parts)
                await world.plain.complete_multipart(session.record.key, session.upload_id, parts, timeout=30)

        fault = Fault("abort_multipart", session.record.key, first(complete))
        replica = world.replica(faults=fault)
        answer = await replica.commit(session)
        assert fault.fired == 1
        assert answer.size == len(session.content)
        assert isinstance(world.done(session), DoneRecord)
        assert replica.events.alarms == []

    run(main())


def test_the_give_up_aborts_until_the_upload_is_confirmed_gone() -> None:
    """⚠ Section 6, "DELETE, Abort: anything → confirm before the next step; repeat"."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER)
        world.bucket._uploads[session.upload_id].rows.clear()

        def forgets(effect) -> None:
            """Answered, and not done: its effect is overtaken."""

        fault = Fault("abort_multipart", session.record.key, forgets, times=3)
        with pytest.raises(SessionLost):
            await world.replica(faults=fault).commit(session)
        assert world.bucket.open_uploads() == []
        assert fault.fired == 3

    run(main())


def test_i3_a_part_that_was_mended_in_time_is_not_given_up_for_a_look_that_came_late() -> None:
    """⚠ Section 6: the clock is read before CMU. Refused in time, mended in time, looked at too late: CMU again."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER - 10)

        async def mend() -> None:
            await world.store_part(session, 0, session.chunk(0))
            await wait(20)

        replica = world.replica(faults=Fault("list_parts", "data.bin", first(mend)))
        assert (await replica.commit(session)).blake3 == session.parameters.blake3
        assert world.object(session) == session.content

    run(main())


def test_i3_a_part_that_is_mended_in_time_behind_the_look_is_not_given_up_either() -> None:
    """⚠ Section 6: the clock is read before CMU. The look shows it overwritten; it is mended; only then is time up."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await world.store_part(session, 0, b"x" * CHUNK)  # a late writer's
        await wait(EXPIRED_AFTER - 10)

        async def looked_at_before(effect):
            rows = effect()
            await world.store_part(session, 0, session.chunk(0))
            await wait(20)
            return rows

        with pytest.raises(ChunkNeeded):
            await world.replica(faults=Fault("list_parts", "data.bin", looked_at_before)).commit(session)
        assert (await world.replica().commit(session)).blake3 == session.parameters.blake3
        assert world.object(session) == session.content

    run(main())


def test_i3_a_no_such_upload_of_a_living_upload_is_no_reason_to_give_up() -> None:
    """⚠ Section 6: given up is only what differs, however late it is."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        await wait(EXPIRED_AFTER)
        wrong = Fault("complete_multipart", "data.bin", refuses(port.NoSuchUpload("it says")), times=3)
        assert (await world.replica(faults=wrong).commit(session)).blake3 == session.parameters.blake3
        assert wrong.fired == 3
        assert world.object(session) == session.content

    run(main())


def test_i3_what_etags_do_not_show_is_asked_for_and_given_up_in_the_end() -> None:
    """Section 6: CMU refuses parts of which none differs, and again: CHUNK_NEEDED for all; LOST once it is too late."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        hidden = Fault("complete_multipart", "data.bin", refuses(port.ChecksumMismatch("BadDigest")), times=1000)
        with pytest.raises(ChunkNeeded) as needed:
            await world.replica(faults=hidden).commit(session)
        assert len(needed.value.chunks) == session.parameters.chunk_count
        await wait(EXPIRED_AFTER)
        with pytest.raises(SessionLost):
            await world.replica(faults=hidden).commit(session)

    run(main())
