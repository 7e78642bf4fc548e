"""One chosen key whose object is deleted, and taken again by the next; a world that can sleep for hours."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from assembly_time import wait
from assembly_world import TENANT, Replica, Session, World, content_of

from sealane.domain.claims import COOLING, VACANT, Precondition
from sealane.domain.errors import (
    GenerationMismatch,
    KeyCooling,
    SealaneError,
)
from sealane.domain.views import CommittedObject
from sealane.store import port
from sealane.store.simulated import loop_time_clock

KEY = "reports/november.bin"
ONE, TWO = content_of(1500, 1), content_of(1600, 2)
COOLED = COOLING.total_seconds() + 2


class Suspending(World):
    """A world in which hours pass in no time of a process's own: as for one under SIGSTOP, or on a suspended machine.

    :func:`wait` would let the deadlines of a stalled call pass, and end the stall.
    """

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.slept = timedelta(0)
        self.plain._clock = self._clock  # type: ignore[attr-defined]

    def replica(self, **given: Any) -> Replica:
        made = super().replica(**given)
        made.store._clock = self._clock
        return made

    def _clock(self) -> datetime:
        return loop_time_clock() + self.slept


async def rest(world: World, seconds: float) -> None:
    if isinstance(world, Suspending):
        world.slept += timedelta(seconds=seconds)
    else:
        await wait(seconds)


async def held(world: World, content: bytes = ONE, precondition: Precondition = VACANT) -> Session:
    session = await world.session(content, object_key=KEY, precondition=precondition)
    await world.replica().commit(session)
    return session


def at_key(world: World) -> bytes | None:
    stored = world.bucket.object(f"{TENANT}/{KEY}")
    return None if stored is None else b"".join(stored.read())


def sessions_left(world: World) -> set[str]:
    return {key.split("/")[3] for key in world.bucket.keys(f".sealane/{TENANT}/sessions/")}


async def taken_again(world: World, content: bytes = TWO, precondition: Precondition = VACANT) -> Session:
    """I16: the key is not wedged; the next one has it, an hour after the deletion that it may have to finish itself."""
    session = await world.session(content, object_key=KEY, precondition=precondition, ttl=10 * 3600)
    with contextlib.suppress(KeyCooling, GenerationMismatch):
        await world.replica().commit(session)
    await rest(world, COOLED)
    answer = await world.replica().commit(session)
    assert isinstance(answer, CommittedObject)
    assert at_key(world) == content
    return session


async def outcome_of(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SealaneError, port.StoreError) as error:
        return type(error)
