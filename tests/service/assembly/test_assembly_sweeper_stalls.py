"""A replica that stalls past everything and wakes brings nothing back (I8, I9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, OUTCOME_AFTER, TENANT, Session, World, content_of

from sealane.domain.errors import SealaneError, SessionExpired, SessionNotFound
from sealane.domain.records import DoneRecord
from sealane.domain.views import CommittedObject
from sealane.store import port
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS, SEAWEEDFS


class StopAt:
    """The process stands still at its ``nth`` call for as long as ``meanwhile`` takes, deaf to its own timers."""

    def __init__(self, nth: int, meanwhile: Callable[[], Coroutine[Any, Any, None]], *, lands: bool) -> None:
        self.nth, self.meanwhile, self.lands = nth, meanwhile, lands
        self.calls = 0

    async def around(self, op: str, key: str, effect: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls != self.nth:
            return effect()
        world_goes_on = asyncio.ensure_future(self.meanwhile())
        late = False
        while not world_goes_on.done():
            try:
                await asyncio.shield(world_goes_on)
            except asyncio.CancelledError:
                late = True
        if late and not self.lands:
            raise asyncio.CancelledError
        answer = effect()
        if late:
            raise asyncio.CancelledError
        return answer


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "never lands"])
@pytest.mark.parametrize("work", ["commit", "abort", "sweep"])
@pytest.mark.parametrize("size", [0, 2500])
def test_i8_i9_a_replica_that_stalls_past_everything_and_wakes_brings_nothing_back(work, lands, size) -> None:
    """Section 12: SIGSTOP at each call in turn, past ttl + grace + outcome retention; the call lands or not."""

    async def main() -> None:
        nth = 0
        while True:
            nth += 1
            world = World(AWS if nth % 2 else SEAWEEDFS, seed=nth)
            session = await world.session(content_of(size))
            if work == "sweep":
                await wait(EXPIRED_AFTER)

            async def meanwhile(world: World = world) -> None:
                other = world.replica()
                await wait(EXPIRED_AFTER)
                await other.sweep_all(full=True)
                await wait(OUTCOME_AFTER)
                await other.sweep_all(full=True)
                await other.sweep_all(full=True)

            stop = StopAt(nth, meanwhile, lands=lands)
            replica = world.replica(faults=stop)
            told = await _told(getattr(replica.assembly, OWNER[work]), work, session)
            if stop.calls < nth:
                break
            await world.replica().sweep_all(full=True)
            if world.object(session) is None:
                assert world.leftovers(session) == [], (nth, told)
                assert not isinstance(told, CommittedObject)
            else:
                assert world.object(session) == session.content
                assert told not in (SessionNotFound, SessionExpired)  # I8
                assert isinstance(world.done(session), DoneRecord)
            assert replica.events.alarms == []
        assert nth > 5

    run(main())


OWNER = {"commit": "committer", "abort": "aborter", "sweep": "sweep"}


async def _told(owner: Any, work: str, session: Session) -> object:
    deadline = Deadline.after(20 * OUTCOME_AFTER)
    try:
        if work == "commit":
            return await owner.commit(TENANT, session.id, session.parameters, deadline)
        return await getattr(owner, "session" if work == "sweep" else work)(TENANT, session.id, deadline)
    except (SealaneError, port.StoreError) as error:
        return type(error)
