"""VerifyObject on the simulated store: the proof at rest."""

from __future__ import annotations

import pytest
from assembly_faults import Fault, first
from assembly_time import run
from assembly_world import CHUNK, TENANT, Replica, Session, World, content_of

from assembly_service.verify_object import Progress
from sealane.domain.errors import ObjectCorrupt, SessionLost, SessionNotCommitted, SessionNotFound
from sealane.domain.records import DeletedRecord, LostRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline


async def verify(replica: Replica, session: Session) -> list[Progress]:
    progress = replica.assembly.object_verifier.verify(TENANT, session.id, Deadline.after(300))
    return [told async for told in progress]


@pytest.mark.parametrize("size", [0, 1, 5 * CHUNK + 3])
def test_an_object_as_committed_is_proven_with_progress(size) -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(size))
        replica = world.replica()
        await replica.commit(session)
        told = await verify(replica, session)
        assert told[0] == Progress(0, size)
        assert told[-1] == Progress(size, size, session.parameters.blake3)
        assert all(t.blake3 is None for t in told[:-1])

    run(main())


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:9] + b"?" + b[10:]])
def test_other_bytes_at_rest_are_told_with_an_alarm(damage) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        await world.plain.put(session.record.key, damage(session.content), timeout=30)
        with pytest.raises(ObjectCorrupt) as caught:
            await verify(replica, session)
        assert caught.value.expected == session.parameters.blake3
        assert caught.value.actual != session.parameters.blake3
        assert len(replica.events.alarms) == 1

    run(main())


def test_an_object_that_is_not_there_is_lost_with_an_alarm() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        await world.plain.delete(session.record.key, timeout=30)
        with pytest.raises(SessionLost):
            await verify(replica, session)
        assert len(replica.events.alarms) == 1

    run(main())


def test_an_object_deleted_by_request_under_the_reader_is_not_found_and_no_alarm() -> None:
    """Before a negative answer the records are asked again."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)

        async def delete() -> None:
            await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
            await world.plain.delete(session.record.key, timeout=30)

        replica = world.replica(faults=Fault("read", session.record.key, first(delete)))
        with pytest.raises(SessionNotFound):
            await verify(replica, session)
        assert replica.events.alarms == []

    run(main())


def test_what_is_not_committed_can_not_be_verified() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        with pytest.raises(SessionNotCommitted) as caught:
            await verify(world.replica(), session)
        assert caught.value.state is SessionState.OPEN
        await world.decide(session)
        with pytest.raises(SessionNotCommitted):
            await verify(world.replica(), session)
        await world.put_record(session, keys.DONE, LostRecord(session.id, "x").encode())
        with pytest.raises(SessionLost):
            await verify(world.replica(), session)
        aborted = await world.session()
        await world.replica().abort(aborted)
        with pytest.raises(SessionNotCommitted) as caught:
            await verify(world.replica(), aborted)
        assert caught.value.state is SessionState.ABORTED

    run(main())
