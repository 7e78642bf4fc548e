"""A small explicit-state model checker: breadth first, every interleaving, states kept once.

A state is what the store holds, with what the actors remember of it. One step of an actor is **one call to the store**
with all that the actor thinks up to its next call; between any two steps of an actor any others may come, or none ever
again. So a stall without bound needs no step of its own, and neither does a crash: an actor that crashed is one that
never takes its next step. Orders of calls that commute meet in the same state and are walked once from there.

Stores and local states are numbered, and what a step does is remembered by (store, local state): a state of the whole
is then a few bit fields of one integer, and most transitions cost a look-up and two bit operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)
Local = tuple[Hashable, ...]
"""What an actor remembers; the first item says where it is. An actor without steps is at its end, or waits."""

_BITS = 14
_MASK = (1 << _BITS) - 1


class Step(NamedTuple, Generic[S]):
    """One call: how it reads in a trace, what the store holds after it, what the actor remembers then."""

    label: str
    store: S
    local: Local


@dataclass(frozen=True)
class Actor(Generic[S]):
    """A program and where it starts. ``steps`` is pure: every step that may come next."""

    name: str
    start: Local
    steps: Callable[[S, Local], Sequence[Step[S]]]


@dataclass(frozen=True)
class Model(Generic[S]):
    """What is explored, and what must hold.

    ``violated`` names an invariant that a store breaks, or is "". From **every** store that is reached, ``recovery``
    alone (fresh replicas; all ``actors`` stalled for ever) must be able to reach one that is ``settled``.
    """

    initial: S
    actors: Sequence[Actor[S]]
    violated: Callable[[S], str]
    recovery: Sequence[Actor[S]] = ()
    settled: Callable[[S], str] = lambda _: ""
    show: Callable[[S], str] = str


@dataclass
class Verdict:
    """``violation`` is "" if everything holds; else ``trace`` is a shortest way there, one line a call."""

    states: int = 0
    transitions: int = 0
    stores: int = 0
    seconds: float = 0.0
    """Of the processor."""
    violation: str = ""
    trace: list[str] = field(default_factory=list)
    calls: int = 0
    """On that way."""


class _Table(Generic[S]):
    """Numbers stores and local states, and remembers what each step does."""

    def __init__(self, model: Model[S], actors: Sequence[Actor[S]]) -> None:
        self.model = model
        self.actors = actors
        self.top = _BITS * len(actors)
        self.stores: list[S] = []
        self.locals: list[Local] = []
        self.parents: dict[int, int] = {}
        """Each state that was reached, and whence first."""
        self._store_ids: dict[S, int] = {}
        self._local_ids: dict[Local, int] = {}
        self.memo: list[dict[int, tuple[int, ...]]] = [{} for _ in actors]
        # All but the store's field and the actor's own.
        everyone = (1 << self.top) - 1
        self.others = [everyone & ~(_MASK << (_BITS * i)) for i in range(len(actors))]

    def store_id(self, store: S) -> int:
        number = self._store_ids.get(store)
        if number is None:
            number = self._store_ids[store] = len(self.stores)
            self.stores.append(store)
        return number

    def local_id(self, local: Local) -> int:
        number = self._local_ids.get(local)
        if number is None:
            number = self._local_ids[local] = len(self.locals)
            self.locals.append(local)
            if number > _MASK:
                raise OverflowError("more local states than a bit field holds")
        return number

    def start(self, store: S) -> int:
        state = self.store_id(store) << self.top
        for i, actor in enumerate(self.actors):
            state |= self.local_id(actor.start) << (_BITS * i)
        return state

    def local_of(self, state: int, i: int) -> Local:
        return self.locals[(state >> (_BITS * i)) & _MASK]

    def successors(self, i: int, state: int) -> tuple[int, ...]:
        """Of actor ``i``: the store's field and its own, to be joined with the others'."""
        mine = (state >> (_BITS * i)) & _MASK
        sid = state >> self.top
        steps = self.actors[i].steps(self.stores[sid], self.locals[mine])
        return tuple((self.store_id(s.store) << self.top) | (self.local_id(s.local) << (_BITS * i)) for s in steps)

    def label(self, before: int, after: int) -> str:
        """How the step from one state to the next reads."""
        for i, actor in enumerate(self.actors):
            if (before & self.others[i]) != (after & self.others[i]):
                continue
            store, local = self.stores[after >> self.top], self.local_of(after, i)
            for step in actor.steps(self.stores[before >> self.top], self.local_of(before, i)):
                if step.store == store and step.local == local:
                    return f"{actor.name:<12} {step.label}"
        return "?"


def check(model: Model[S], *, limit: int = 30_000_000) -> Verdict:
    """Explore everything; stop at the first violation. ``limit`` bounds the states: beyond it, MemoryError."""
    began = time.process_time()
    verdict = Verdict()
    table = _Table(model, model.actors)
    _explore(table, verdict, limit)
    if not verdict.violation and model.recovery:
        _recover(model, table, verdict)
    verdict.stores = len(table.stores)
    verdict.seconds = time.process_time() - began
    return verdict


def _explore(table: _Table[S], verdict: Verdict, limit: int) -> None:
    model, top, memo, others = table.model, table.top, table.memo, table.others
    first = table.start(model.initial)
    parents = table.parents
    parents[first] = first
    checked = 1
    transitions = 0
    frontier = [first]
    places = [(i, _BITS * i, memo[i], others[i]) for i in range(len(table.actors))]
    while frontier:
        following: list[int] = []
        for state in frontier:
            sid = (state >> top) << _BITS
            for i, shift, known, other in places:
                key = sid | ((state >> shift) & _MASK)
                steps = known.get(key)
                if steps is None:
                    steps = known[key] = table.successors(i, state)
                transitions += len(steps)
                rest = state & other
                for step in steps:
                    after = rest | step
                    if after not in parents:
                        parents[after] = state
                        following.append(after)
            while checked < len(table.stores):
                wrong = model.violated(table.stores[checked])
                if wrong:
                    bad = next(s for s in following if s >> top == checked)
                    verdict.states, verdict.transitions = len(parents), transitions
                    _report(verdict, wrong, table, bad)
                    return
                checked += 1
        if len(parents) > limit:
            raise MemoryError(f"more than {limit} states")
        frontier = following
    verdict.states, verdict.transitions = len(parents), transitions


def _report(verdict: Verdict, wrong: str, table: _Table[S], state: int) -> None:
    verdict.violation, verdict.trace = wrong, _trace(table, table.parents, state)
    verdict.calls = len(verdict.trace)
    verdict.trace.append(f"then the store holds {table.model.show(table.stores[state >> table.top])}")


def _trace(table: _Table[S], parents: dict[int, int], state: int) -> list[str]:
    path = [state]
    while parents[path[-1]] != path[-1]:
        path.append(parents[path[-1]])
    path.reverse()
    return [table.label(before, after) for before, after in pairwise(path)]


def _recover(model: Model[S], reached: _Table[S], verdict: Verdict) -> None:
    """From every store that was reached, fresh replicas alone must be able to settle everything.

    One replica at a time, each from its start to its end: if that way exists, it exists beside others, too.
    """
    stores = reached.stores
    before: dict[tuple[int, int, Local], list[tuple[int, int, Local]]] = {}
    frontier = []

    def reach(node: tuple[int, int, Local]) -> list[tuple[int, int, Local]]:
        known = before.get(node)
        if known is None:
            known = before[node] = []
            frontier.append(node)
        return known

    originals = len(stores)
    for sid in range(originals):
        reach((sid, -1, ()))
    while frontier:
        node = frontier.pop()
        sid, active, local = node
        for i, actor in enumerate(model.recovery) if active < 0 else ((active, model.recovery[active]),):
            steps = actor.steps(stores[sid], actor.start if active < 0 else local)
            if not steps and active >= 0:  # at its end
                reach((sid, -1, ())).append(node)
            for step in steps:
                after = reached.store_id(step.store)
                free = step.local == actor.start
                reach((after, -1, ()) if free else (after, i, step.local)).append(node)
    unsettled = [model.settled(store) for store in stores]
    settled = [node for node in before if not unsettled[node[0]]]
    fine = set(settled)
    while settled:
        for earlier in before[settled.pop()]:
            if earlier not in fine:
                fine.add(earlier)
                settled.append(earlier)
    verdict.transitions += sum(map(len, before.values()))
    wedged = {sid for sid in range(originals) if (sid, -1, ()) not in fine}
    if wedged:
        state = next(s for s in reached.parents if (s >> reached.top) in wedged)
        _report(verdict, unsettled[state >> reached.top], reached, state)
        verdict.trace.append("and fresh replicas alone can never settle it")


def shown(store: tuple[Any, ...]) -> str:
    """A store in a trace: only what is there."""
    fields: dict[str, Any] = store._asdict()  # type: ignore[attr-defined]
    empty: tuple[Any, ...] = (False, "", (), frozenset(), -1)
    return ", ".join(f"{name}={value!r}" for name, value in fields.items() if value not in empty)
