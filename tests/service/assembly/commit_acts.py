"""What tests of a commit do beside it."""

from __future__ import annotations

import dataclasses

from assembly_time import wait
from assembly_world import IMPATIENT, Session, World

from sealane.domain.decision import CommitParameters


def other(parameters: CommitParameters) -> CommitParameters:
    return dataclasses.replace(parameters, blake3=bytes(32))


def aborts_and_purges(world: World, session: Session):
    async def act() -> None:
        replica = world.replica(retention=IMPATIENT)
        await replica.abort(session)
        await wait(2)
        await replica.sweep(session)

    return act
