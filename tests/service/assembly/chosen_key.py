"""One key that a caller chose, and sessions at it."""

from __future__ import annotations

from assembly_world import (
    TENANT,
    Session,
    World,
    content_of,
)

from sealane.domain.claims import VACANT, Precondition
from sealane.domain.decision import Outcome
from sealane.domain.records import DoneRecord
from sealane.store import keys

KEY = "reports/2026/november.bin"
ONE, TWO, THREE = (content_of(2500, seed) for seed in (1, 2, 3))


async def held(world: World, content: bytes = ONE, precondition: Precondition = VACANT, key: str = KEY) -> Session:
    """A session that was committed at the key."""
    session = await world.session(content, object_key=key, precondition=precondition)
    await world.replica().commit(session)
    return session


def at_key(world: World, key: str = KEY) -> bytes | None:
    stored = world.bucket.object(keys.chosen_object_key(TENANT, key))
    return None if stored is None else b"".join(stored.read())


def whole(world: World, session: Session, generation: int) -> None:
    """I2, I4, I7, I16: decided, done, and at the key as this generation."""
    decision, done = world.decision(session), world.done(session)
    assert decision is not None
    assert decision.outcome is Outcome.COMMIT
    assert isinstance(done, DoneRecord)
    assert decision.generation == done.generation == generation
    assert at_key(world, session.record.chosen_key) == session.content
