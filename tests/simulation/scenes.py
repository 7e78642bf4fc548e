"""Small scenes for enumeration: one session made ready, then one operation, run by hand and not by a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation import ending
from tests.simulation.actor import Actor
from tests.simulation.by_hand import store_chunks
from tests.simulation.faults import StoreFault
from tests.simulation.plans import CHUNK, Deed, Plan, SessionPlan
from tests.simulation.world import World

PATIENT = 400.0
EXPIRED = 60.0 + 15.0 + 3.0
"""Seconds: ttl and grace are over."""
FORGOTTEN = 155.0
"""Seconds: the outcome retention is over, too."""


def plan(*sessions: SessionPlan, dialect: str = "seaweedfs") -> Plan:
    """These sessions; nothing happens by itself."""
    return Plan(0, dialect, 1000, 1e6, sessions, ())


def session_of(size: int, *, told: bool = True, stock: int = 0, key: str = "", match: int | None = None) -> SessionPlan:
    return SessionPlan(size, told, 60, stock, key, match)


class Counting:
    """In place of a book of faults: counts the calls of the operation, and does one thing at one of them."""

    def __init__(self, nth: int = 0, kind: str = "") -> None:
        self.nth = nth
        self.kind = kind
        self.calls: list[str] = []
        self.counts = False
        self.off = False
        self.fired: dict[str, int] = {}

    def note(self, kind: str) -> None:
        """Nobody asks."""

    def of(self, who: str, op: str, key: str, now: float) -> StoreFault | None:
        if not self.counts or self.off:
            return None
        self.calls.append(f"{who} {op} {key}")
        if len(self.calls) != self.nth:
            return None
        return StoreFault("", "", "", 1, 1, self.kind, 1.0)


class Scene(World):
    """A world without a plan of its own: :meth:`act` is what happens, then the recovery, then the last look."""

    def __init__(self, given: Plan, act: Callable[[Scene], Coroutine[Any, Any, None]], *, trace: bool = False) -> None:
        super().__init__(given, trace=trace)
        self._act_out = act
        self.faults: Any = Counting()
        self.actors = 0

    async def _main(self) -> None:
        await self._act_out(self)
        await ending.recover(self)
        ending.last_look(self)

    def replicas(self, *names: str) -> None:
        """Start these; their sweepers sleep."""
        for name in names:
            self.boot(name, 0)

    def client(self, session: int = 0, *, name: str = "") -> Actor:
        """A client process, for one of the sessions."""
        self.actors += 1
        name = name or f"client-{self.actors}"
        process = self.loop.process(name)
        return process.context.run(Actor, self, process, Deed("", session, 0.0, PATIENT), name, 0)

    async def run_as(self, actor: Actor, work: Coroutine[Any, Any, Any]) -> Any:
        """What ``work``, which is the actor's, answers, or the error that it ends with."""
        task = actor.process.spawn(work)
        await asyncio.wait([task])
        error = task.exception()
        if error is not None:
            return error
        return task.result()

    def _again(self, name: str, life: int) -> None:
        if not name.startswith("client-"):
            super()._again(name, life)


async def ready(scene: Scene, session: int = 0, *, chunks: list[int] | None = None) -> tuple[Actor, str]:
    """A session, with all of its chunks stored, or these."""
    actor = scene.client(session)
    session_id = await actor.process.spawn(actor.create())
    wanted = list(range(-(-len(actor.content) // CHUNK))) if chunks is None else chunks
    if wanted:
        await actor.process.spawn(store_chunks(actor, session_id, wanted))
    return actor, session_id


def commit_of(actor: Actor, session_id: str) -> Coroutine[Any, Any, Any]:
    parameters = actor.parameters
    return actor.client.commit_session(
        session_id,
        chunk_count=parameters.chunk_count,
        size=parameters.size,
        blake3=parameters.blake3,
        timeout=PATIENT,
    )


def sweep(scene: Scene, name: str) -> asyncio.Task[None]:
    """A full pass by that replica."""
    process, assembly = scene.assemblies[name]
    task: asyncio.Task[None] = process.spawn(assembly.patrol.sweep(full=True))
    return task
