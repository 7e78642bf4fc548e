"""Whoever stalls, and whatever lands late, brings nothing back of what was deleted (I9)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, EXPIRED_AFTER, TENANT, Replica, Session, World
from deletes import begin, delete, gone_for_good, outcome_of

from assembly_service.delete import Deletion
from sealane.domain.decision import Decision
from sealane.domain.errors import (
    SessionAborted,
    SessionNotFound,
)
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord, MultipartRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.store import keys, port

T = TypeVar("T")


class StallAt:
    """The process stands still before its ``nth`` call until ``other`` has happened; ``calls`` counts."""

    def __init__(self, nth: int, other: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.nth, self.other, self.calls = nth, other, 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.nth:
            await self.other()
        return effect()


@DIALECTS
@pytest.mark.parametrize("stalled", ["commit", "abort", "sweep", "delete"])
@pytest.mark.parametrize("beginning", ["open", "committing", "committed"])
def test_i9_whoever_stalls_at_any_call_and_wakes_behind_a_delete_brings_nothing_back(
    dialect, stalled, beginning
) -> None:
    """I1, I2, I9: a committer, aborter, sweeper or deleter sleeps through a whole delete, before each of its calls."""
    works: dict[str, Callable[[Replica, Session], Coroutine[Any, Any, Any]]] = {
        "commit": lambda replica, session: replica.commit(session),
        "abort": lambda replica, session: replica.abort(session),
        "sweep": lambda replica, session: replica.sweep(session),
        "delete": delete,
    }

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(dialect)
            session = await begin(world, beginning, CHUNK + 5)
            if stalled == "sweep":
                await wait(EXPIRED_AFTER)
            deletions: list[Deletion] = []

            async def in_between(world=world, session=session, deletions=deletions) -> None:
                with contextlib.suppress(SessionNotFound):  # the one that stalls had almost ended
                    deletions.append(await delete(world.replica(), session))
                assert world.leftovers(session) == []

            faults = StallAt(nth, in_between)
            answer = await outcome_of(works[stalled](world.replica(faults=faults), session))
            if faults.calls < nth:
                assert nth > 2
                return
            assert world.object(session) is None, nth
            if isinstance(answer, CommittedObject):  # it was committed before it was deleted
                assert deletions[0].state is SessionState.DELETED
            elif stalled == "commit":
                assert answer in (SessionNotFound, SessionAborted), nth
            await world.replica().sweep_all(full=True)
            await gone_for_good(world, session)

    run(main())


LATE = {
    "a part": "upload_part",
    "a receipt": "receipt",
    "multipart.json": "multipart",
    "an upload": "create",
    "decision.json": "decision",
    "done.json": "done",
    "LOST": "lost",
    "deleted.json": "deleted",
    "the CMU": "complete",
}


@DIALECTS
@pytest.mark.parametrize("beginning", ["open", "committed"])
@pytest.mark.parametrize("late", LATE)
def test_i9_what_lands_behind_a_delete_means_nothing_and_is_swept(dialect, beginning, late) -> None:
    """I9, and "a decision counts only if session.json is read after it": each write of a stalled writer, alone."""

    async def land(world: World, session: Session, decision: Decision) -> None:
        store = world.plain
        record = session.receipts[0]
        with contextlib.suppress(port.StoreError):
            match late:
                case "a part":
                    await world.store_part(session, 0, session.chunk(0))
                case "a receipt":
                    await store.put(keys.receipt(TENANT, session.id, record), b"", timeout=30)
                case "multipart.json":
                    named = MultipartRecord(session.id, await world.start_upload(session))
                    await world.put_record(session, keys.MULTIPART, named.encode())
                case "an upload":
                    await world.start_upload(session)
                case "decision.json":
                    await world.put_record(session, keys.DECISION, decision.encode())
                case "done.json":
                    done = DoneRecord(session.id, "e-4", len(session.content), bytes(32), store.now())
                    await world.put_record(session, keys.DONE, done.encode())
                case "LOST":
                    await world.put_record(session, keys.DONE, LostRecord(session.id, "why").encode())
                case "deleted.json":
                    await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
                case "the CMU":
                    parts = [port.Part(r.part_number, r.etag, r.sha256) for r in session.receipts]
                    await store.complete_multipart(session.record.key, session.upload_id, parts, timeout=30)

    async def main() -> None:
        world = World(dialect)
        session = await begin(world, beginning)
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)
        await delete(world.replica(), session)
        await land(world, session, decision)
        assert world.object(session) is None
        for ask in (world.replica().commit, world.replica().outcome, world.replica().abort):
            with pytest.raises(SessionNotFound):
                await ask(session)
        await world.replica().sweep_all(full=True)
        await gone_for_good(world, session)

    run(main())
