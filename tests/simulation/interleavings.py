"""Two actors on the real code, and a scheduler that says whose next store call proceeds.

All schedules of up to three preemptions: run one actor for so many calls, then the other for so many, and so on; the
last two segments run to their ends. Each actor has replicas of its own, which share nothing but the bucket. A schedule
in which a segment ends before its time is one of fewer preemptions, and is not counted again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from tests.simulation.plans import CHUNK, SessionPlan
from tests.simulation.scenes import Scene, plan, session_of
from tests.simulation.virtual_loop import Process
from tests.simulation.world import Violation

Work = Coroutine[Any, Any, Any]


class Turns:
    """Lets one store call of one actor pass at a time. ``segments``: calls until each switch; then without end."""

    def __init__(self, first: str, segments: tuple[int, ...]) -> None:
        self.current = first
        self.counts = {"a": 0, "b": 0}
        self.short = False
        """A segment ended before its time."""
        self._segments = list(segments)
        self._left = self._segments.pop(0) if self._segments else None
        self._flying = 0
        self._ended: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, process: Process, op: str, key: str) -> None:
        who = process.name[-1]
        if who not in self.counts:
            return
        while self.current != who or self._left == 0:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self.counts[who] += 1
        self._flying += 1
        if self._left is not None:
            self._left -= 1

    def landed(self, process: Process) -> None:
        if process.name[-1] in self.counts:
            self._flying -= 1
            if self._left == 0 and not self._flying:
                self._switch()

    def ended(self, who: str) -> None:
        """This actor is done."""
        self._ended.add(who)
        if self.current == who:
            self.short = self.short or self._left is not None or bool(self._segments)
            self._segments.clear()
            self._switch()

    def _switch(self) -> None:
        other = "b" if self.current == "a" else "a"
        if other in self._ended:
            self.short = self.short or bool(self._segments)
            self._segments.clear()
        else:
            self.current = other
        self._left = self._segments.pop(0) if self._segments else None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)


class Duel(Scene):
    """Names that end in -a and -b belong to the actors; what they call is their own, too."""

    def peer(self, service: str, who: str) -> str:
        return f"{service}{who[-2:]}" if who.endswith(("-a", "-b")) else f"{service}-0"


@dataclass(frozen=True, slots=True)
class Pair:
    """``prepare`` answers the works of a and b. ``fits(answers)`` says whether their answers go together."""

    name: str
    prepare: Callable[[Duel], Coroutine[Any, Any, tuple[Work, Work]]]
    fits: Callable[[Any, Any], bool]
    sessions: tuple[SessionPlan, ...] = (session_of(CHUNK + 100),)
    dialect: str = "seaweedfs"


def run(pair: Pair, first: str, segments: tuple[int, ...], *, trace: bool = False) -> tuple[Duel, Turns]:
    """One schedule."""
    turns = Turns(first, segments)

    async def act(scene: Scene) -> None:
        assert isinstance(scene, Duel)
        scene.replicas("ingest-0", "assembly-0", "ingest-a", "assembly-a", "ingest-b", "assembly-b")
        works = await pair.prepare(scene)
        scene.gate = turns
        answers = await asyncio.gather(*(_by(scene, turns, who, work) for who, work in zip("ab", works, strict=True)))
        scene.gate = None
        if not pair.fits(*answers):
            scene.violate("END", f"these answers don't go together: {[repr(answer)[:300] for answer in answers]}")

    duel = Duel(plan(*pair.sessions, dialect=pair.dialect), act, trace=trace)
    duel.play()
    return duel, turns


async def _by(duel: Duel, turns: Turns, who: str, work: Work) -> Any:
    process = duel.loop.process(f"work-{who}")
    task = process.spawn(work)
    await asyncio.wait([task])
    turns.ended(who)
    return task.exception() or task.result()


def schedules(pair: Pair, preemptions: int, every: int = 1) -> Iterator[tuple[str, tuple[int, ...], list[Violation]]]:
    """Every schedule of up to so many preemptions, and what it broke. ``every``: segments grow by so many calls."""
    for first in "ab":
        duel, _ = run(pair, first, ())
        yield from _below(pair, first, (), preemptions, every, duel)


def _below(
    pair: Pair, first: str, segments: tuple[int, ...], preemptions: int, every: int, duel: Duel
) -> Iterator[tuple[str, tuple[int, ...], list[Violation]]]:
    """``segments``, which were run as ``duel``, and all schedules that begin with them."""
    yield first, segments, duel.violations
    length = 1
    while len(segments) < preemptions:
        longer = (*segments, length)
        further, turns = run(pair, first, longer)
        if turns.short and not further.violations:
            return
        yield from _below(pair, first, longer, preemptions, every, further)
        length += every
