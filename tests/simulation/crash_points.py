"""Every store call of every operation × {crash before it, crash after it, its answer lost}, then recovery.

A clean run counts an operation's calls; then each of them is struck in each way, in a world of its own. After a crash
the process is started anew a second later, empty; the client's SDK goes on by itself (``client stays``), or has died in
the same moment and the sweeper of a fresh replica is all that comes (``client gone``). The model watches every step,
and the end must be what the operation was for, or nothing at all. ``make crash-points``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from sealane.client.errors import SessionNotFound
from sealane.domain.decision import Outcome
from sealane.domain.records import DoneRecord
from tests.simulation.by_hand import store_chunks
from tests.simulation.plans import CHUNK, SessionPlan
from tests.simulation.scenes import (
    EXPIRED,
    FORGOTTEN,
    PATIENT,
    Counting,
    Scene,
    commit_of,
    plan,
    ready,
    session_of,
    sweep,
)
from tests.simulation.world import Violation

KINDS = ("crash_before", "crash_after", "lost")
_SIZE = 2 * CHUNK + 100


@dataclass(frozen=True, slots=True)
class Operation:
    """``act`` makes ready, then calls ``scene.begin()``, and does the operation; ``ends`` are how it may end.

    "committed" (an object), "gone" (nothing is left). With a client that stays only the first of them will do.
    """

    name: str
    act: Callable[[Scene, bool], Coroutine[Any, Any, None]]
    ends: tuple[str, ...]
    sessions: tuple[SessionPlan, ...] = (session_of(_SIZE),)
    dialect: str = "seaweedfs"


def _begin(scene: Scene) -> None:
    scene.faults.counts = True


async def _do(scene: Scene, actor: Any, work: Coroutine[Any, Any, Any], stays: bool) -> None:
    """The operation: to its end, or until its client dies with the crash."""
    task = asyncio.ensure_future(scene.run_as(actor, work))
    if not stays:
        while not task.done() and len(scene.faults.calls) < scene.faults.nth:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        actor.process.crash()
        task.cancel()
        return
    answer = await task
    if isinstance(answer, BaseException):
        scene.violate("I14", f"the client stayed, and got {type(answer).__name__}: {answer}")


async def _create(scene: Scene, stays: bool) -> None:
    actor = scene.client()
    _begin(scene)
    await _do(scene, actor, actor.create(), stays)


async def _upload(scene: Scene, stays: bool) -> None:
    """All of it: create, chunks, commit, as ``client.upload`` does it."""
    actor = scene.client()

    async def whole() -> None:
        await actor.send(await actor.create())

    _begin(scene)
    await _do(scene, actor, whole(), stays)


async def _chunks(scene: Scene, stays: bool) -> None:
    """The chunks alone; a client that stays sends them again."""
    actor, session_id = await ready(scene, chunks=[])

    async def again() -> None:
        for _ in range(8):
            try:
                await store_chunks(actor, session_id, [0, 1, 2])
            except Exception:  # noqa: BLE001 - whatever it is, the same again
                await asyncio.sleep(0.7)
            else:
                await commit_of(actor, session_id)
                return

    _begin(scene)
    await _do(scene, actor, again(), stays)


async def _commit(scene: Scene, stays: bool) -> None:
    actor, session_id = await ready(scene)
    _begin(scene)
    await _do(scene, actor, commit_of(actor, session_id), stays)


async def _commit_two_receipts(scene: Scene, stays: bool) -> None:
    """A chunk was stored twice, by two replicas, under two ETags."""
    actor, session_id = await ready(scene, chunks=[])
    scene.replicas("ingest-1")
    both = [actor.process.spawn(store_chunks(actor, session_id, [index % 3])) for index in range(6)]
    await asyncio.wait(both)
    _begin(scene)
    await _do(scene, actor, commit_of(actor, session_id), stays)


async def _abort(scene: Scene, stays: bool) -> None:
    actor, session_id = await ready(scene)
    _begin(scene)
    await _do(scene, actor, actor.client.abort_session(session_id, timeout=100.0), stays)


async def _passes(scene: Scene, times: int, pause: float) -> None:
    """Passes of a sweeper that may crash; another one goes on."""
    for _ in range(times):
        task = sweep(scene, "assembly-0")
        await asyncio.wait([task], timeout=30.0)
        await asyncio.sleep(pause)


async def _expire(scene: Scene, stays: bool) -> None:
    await ready(scene)
    await asyncio.sleep(EXPIRED)
    _begin(scene)
    await _passes(scene, 2 + stays, 2.0)


async def _purge(scene: Scene, stays: bool) -> None:
    actor, session_id = await ready(scene)
    await actor.process.spawn(actor.client.abort_session(session_id, timeout=100.0))
    await asyncio.sleep(FORGOTTEN)
    _begin(scene)
    await _passes(scene, 2 + stays, 2.0)


async def _roll_forward(scene: Scene, stays: bool) -> None:
    """A committer has died behind its decision: the sweeper finishes."""
    actor, session_id = await ready(scene)
    scene.faults.nth, kept, scene.faults.kind = 0, (scene.faults.nth, scene.faults.kind), ""
    dying = _DiesAtCmu()
    scene.faults, counting = dying, scene.faults
    task = asyncio.ensure_future(scene.run_as(actor, commit_of(actor, session_id)))
    while not dying.fired:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)
    actor.process.crash()
    task.cancel()
    await asyncio.sleep(5.0)
    scene.faults = counting
    scene.faults.nth, scene.faults.kind = kept
    _begin(scene)
    await _passes(scene, 2 + stays, 2.0)


class _DiesAtCmu(Counting):
    def of(self, who: str, op: str, key: str, now: float) -> Any:
        if op == "complete_multipart" and not self.fired:
            self.fired["crash_before"] = 1
            self.nth, self.kind, self.counts = 1, "crash_before", True
            return super().of(who, op, key, now)
        return None


async def _replace(scene: Scene, stays: bool) -> None:
    """Generation 2 of a key, while generation 1 is there."""
    first, first_id = await ready(scene)
    await first.process.spawn(commit_of(first, first_id))
    actor, session_id = await ready(scene, 1)
    _begin(scene)
    await _do(scene, actor, commit_of(actor, session_id), stays)


async def _delete(scene: Scene, stays: bool) -> None:
    actor, session_id = await ready(scene)
    await actor.process.spawn(commit_of(actor, session_id))
    scene.model.sessions[session_id].delete_asked = True

    async def delete() -> None:
        """Until nothing is left: NOT_FOUND is what a repeat may say."""
        with contextlib.suppress(SessionNotFound):
            await actor.client.delete_session(session_id, timeout=PATIENT)

    _begin(scene)
    await _do(scene, actor, delete(), stays)


_KEYED = (session_of(_SIZE, key="a/b"), session_of(CHUNK, stock=1, key="a/b", match=1))

OPERATIONS = (
    Operation("create", _create, ("gone",)),
    Operation("upload", _upload, ("committed", "gone")),
    Operation("upload, size untold", _upload, ("committed", "gone"), (session_of(_SIZE, told=False),)),
    Operation("chunks", _chunks, ("committed", "gone")),
    Operation("commit", _commit, ("committed", "gone")),
    Operation("commit, AWS's dialect", _commit, ("committed", "gone"), dialect="aws-kms"),
    Operation("commit of an empty object", _commit, ("committed", "gone"), (session_of(0),)),
    Operation("commit, two receipts of a chunk", _commit_two_receipts, ("committed", "gone"), dialect="seaweedfs-kms"),
    Operation("abort", _abort, ("gone",)),
    Operation("expire", _expire, ("gone",)),
    Operation("purge", _purge, ("gone",)),
    Operation("roll forward", _roll_forward, ("committed",)),
    Operation("commit at a chosen key", _commit, ("committed", "gone"), _KEYED[:1]),
    Operation("replace", _replace, ("committed", "gone"), _KEYED),
    Operation("delete", _delete, ("gone", "committed")),
    Operation("delete at a chosen key", _delete, ("gone", "committed"), _KEYED[:1]),
)


def stage(operation: Operation, nth: int, kind: str, stays: bool, *, trace: bool = False) -> Scene:
    """Run it with that call struck (0: none)."""

    async def act(scene: Scene) -> None:
        scene.faults = Counting(nth, kind)
        scene.replicas("ingest-0", "assembly-0")
        await operation.act(scene, stays)
        scene.faults.counts = False

    scene = Scene(plan(*operation.sessions, dialect=operation.dialect), act, trace=trace)
    scene.play()
    return scene


def _end_of(scene: Scene) -> set[str]:
    """How its sessions have ended."""
    ends = set()
    for facts in scene.model.sessions.values():
        if facts.record.tombstone:
            continue
        if facts.alive and isinstance(facts.done, DoneRecord) and facts.outcome is Outcome.COMMIT:
            ends.add("committed")
        elif not facts.alive:
            ends.add("gone")
        else:
            ends.add("left")
    return ends or {"gone"}


def judge(operation: Operation, scene: Scene, stays: bool) -> list[Violation]:
    """What is wrong with how it ended."""
    if scene.violations:
        return scene.violations
    ends = _end_of(scene)
    # A session.json whose answer was lost is left to W1, beside the one that was answered.
    wanted = operation.ends[:1] if stays else operation.ends
    if not ends & set(wanted) or not ends <= {*operation.ends, "gone"}:
        return [Violation("END", f"it ended as {ends}; expected {wanted}", 0.0)]
    return []


@dataclass(frozen=True, slots=True)
class Case:
    """One point: its operation, which call, how struck, and whether its client stays."""

    operation: Operation
    nth: int
    kind: str
    stays: bool
    call: str

    def __str__(self) -> str:
        who = "client stays" if self.stays else "client gone"
        return f"{self.operation.name}: {self.kind} call {self.nth} ({self.call}), {who}"


def calls_of(operation: Operation) -> list[str]:
    """The store calls of a clean run."""
    scene = stage(operation, 0, "", True)
    wrong = judge(operation, scene, True)
    if wrong:
        raise AssertionError(f"{operation.name}, undisturbed: {wrong[0]}")
    calls: list[str] = scene.faults.calls
    return calls


def cases(operation: Operation) -> Iterator[Case]:
    """All points of an operation."""
    for nth, call in enumerate(calls_of(operation), start=1):
        for kind in KINDS:
            for stays in (True, False):
                yield Case(operation, nth, kind, stays, " ".join(call.split()[:2]))


def strike(case: Case, *, trace: bool = False) -> tuple[list[Violation], Scene]:
    """Run one point."""
    scene = stage(case.operation, case.nth, case.kind, case.stays, trace=trace)
    return judge(case.operation, scene, case.stays), scene
