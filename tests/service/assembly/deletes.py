"""Sessions that are deleted: how one begins, what its delete tells, and what it is to be gone for good."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from assembly_world import (
    CHUNK,
    TENANT,
    Replica,
    Session,
    World,
    content_of,
)

from assembly_service.delete import Deletion
from sealane.domain.errors import (
    SealaneError,
    SessionNotFound,
)
from sealane.store.deadline import Deadline


async def delete(replica: Replica, session: Session, seconds: float = 300) -> Deletion:
    return await replica.assembly.deleter.delete(TENANT, session.id, Deadline.after(seconds))


def told(deletion: Deletion) -> dict[str, tuple[int, int]]:
    return {some.kind.value: (some.count, some.size) for some in deletion.removed}


async def begin(world: World, beginning: str, size: int = 3 * CHUNK + 100) -> Session:
    session = await world.session(content_of(size))
    match beginning:
        case "committing":
            await world.decide(session)
        case "committed":
            await world.replica().commit(session)
        case "aborted":
            await world.replica().abort(session)
    return session


async def gone_for_good(world: World, session: Session) -> None:
    """I9: nothing is left, nobody is told otherwise, and a sweeper finds nothing to do."""
    assert world.leftovers(session) == []
    for ask in (world.replica().outcome, world.replica().commit, world.replica().abort):
        with pytest.raises(SessionNotFound):
            await ask(session)
    with pytest.raises(SessionNotFound):
        await delete(world.replica(), session)


async def outcome_of(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except SealaneError as error:
        return type(error)
