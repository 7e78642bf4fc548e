"""What the store holds around one key that callers chose: sessions, their claims, the object, requests still under way.

Time is not a number here. Every age that the protocol waits for (ttl, grace, retentions) may have passed at any moment;
only R6 and the cooling of a tombstone need an order, and :func:`hour_passes` keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

ANY = -1
"""A precondition: overwrite whatever is there."""
COMMIT, ABORT, EXPIRE, DUPLICATE = "COMMIT", "ABORT", "EXPIRE", "DUPLICATE"
DONE, LOST = "DONE", "LOST"


class Session(NamedTuple):
    """Records and upload of one session. Empty text: not there."""

    session: bool = True
    upload: bool = True
    """The S3 upload lives. CompleteMultipartUpload ends it, or an abort."""
    multipart: bool = True
    decision: str = ""
    done: str = ""
    deleted: bool = False
    cooled: bool = False
    """done.json of a tombstone is an hour old."""


class Key(NamedTuple):
    """The store, and behind the bar what only the checker knows."""

    sessions: tuple[Session, ...]
    claims: tuple[int, ...] = ()
    """Whose claim has number 1, 2, …"""
    holds: int = -1
    """Whose bytes are at the key; -1: none."""
    late: frozenset[tuple[object, ...]] = frozenset()
    """Requests whose answer was lost: each may land, any number of times, at any moment."""
    signed: frozenset[tuple[str, int, frozenset[int]]] = frozenset()
    """DELETEs signed and not sent: (actor, tombstone, tombstones that were done when it was signed)."""
    # --- history ---
    applied: tuple[int, ...] = ()
    """Whose objects, and whose deletions, have taken effect, in order."""
    decided: tuple[str, ...] = ()
    """The first decision of each session that counted."""
    answers: frozenset[tuple[int, str]] = frozenset()
    generations: tuple[int, ...] = ()
    """The number of the claim by which each session was applied."""
    broken: str = ""
    """An invariant that a call broke."""


@dataclass(frozen=True)
class Spec:
    """One session of an instance: ``tombstone`` is the session that it deletes, -1 for an upload."""

    precondition: int = 0
    content: str = ""
    tombstone: int = -1


@dataclass(frozen=True)
class World:
    """An instance's constants. ``without``: the rules that a mutation removed. ``losses``: calls of unknown outcome."""

    specs: tuple[Spec, ...]
    without: frozenset[str] = frozenset()
    losses: int = 0
    losable: frozenset[str] = field(default_factory=lambda: frozenset({"decision", "claim", "done", "cmu", "delete"}))

    held: bool = False
    """The key is held from the beginning."""
    lossy: bool = False
    """The store may lose an upload."""

    def has(self, rule: str) -> bool:
        return rule not in self.without


def initial(*sessions: Session) -> Key:
    count = len(sessions)
    return Key(sessions, decided=("",) * count, generations=(0,) * count)


def change(store: Key, i: int, **fields: object) -> Key:
    """The same with other fields of session ``i``."""
    one = store.sessions[i]._replace(**fields)  # type: ignore[arg-type]
    return store._replace(sessions=(*store.sessions[:i], one, *store.sessions[i + 1 :]))


def opened(store: Key, i: int, **fields: object) -> Key:
    """What ingest made of session ``i``: it has been, from now on."""
    return change(store, i, **fields)


def touch(store: Key, i: int) -> Key:
    """An unfenced write to the object of session ``i`` hits whatever is there (only where C8's rule was removed)."""
    if store.holds in (-1, i):
        return store
    return store._replace(broken=f"I16: a write meant for the object of session {i} hit that of session {store.holds}")


def answered(store: Key, i: int, answer: str) -> Key:
    return store._replace(answers=store.answers | {(i, answer)})


# --- writes: each is what happens when the request lands ---


def put_decision(store: Key, i: int, decision: str) -> Key:
    one = store.sessions[i]
    if one.decision:
        return store
    store = change(store, i, decision=decision)
    if one.session:
        if store.decided[i] not in ("", decision):
            return store._replace(broken=f"I1: a second decision of session {i}")
        decided = (*store.decided[:i], decision, *store.decided[i + 1 :])
        store = store._replace(decided=decided)
    return store


def put_claim(store: Key, number: int, i: int) -> Key:
    """If-None-Match: nothing if the number is taken. (A number beyond the next can't be asked for.)"""
    return store._replace(claims=(*store.claims, i)) if len(store.claims) == number - 1 else store


def put_done(store: Key, i: int, done: str) -> Key:
    return store if store.sessions[i].done else change(store, i, done=done)


def complete(store: Key, i: int) -> Key:
    """CompleteMultipartUpload: once, while the upload lives (R5)."""
    if not store.sessions[i].upload:
        return store
    store = change(store, i, upload=False)
    return _applied(store._replace(holds=i), i)


def abort_upload(store: Key, i: int) -> Key:
    one = store.sessions[i]
    if not one.upload:
        return store
    if one.session and not store.decided[i]:
        return store._replace(broken=f"I5: the upload of session {i}, which is open, was aborted")
    if one.session and store.decided[i] == COMMIT and one.done != LOST:
        store = store._replace(broken=f"I10: the upload of session {i}, which is decided COMMIT, was aborted")
    return change(store, i, upload=False)


def delete_object(store: Key, tombstone: int, target: int) -> Key:
    """A DELETE has no fence: it hits whatever is there."""
    if store.holds < 0:
        return store
    hit = store.holds
    store = store._replace(holds=-1)
    if hit != target:
        return store._replace(broken=f"I16: a DELETE meant for session {target} hit the object of session {hit}")
    return _applied(store, tombstone)


def _applied(store: Key, i: int) -> Key:
    if i < 0:
        return store
    if i in store.applied:
        return store._replace(broken=f"I16: session {i} was applied twice")
    number = store.claims.index(i) + 1 if i in store.claims else 0
    generations = (*store.generations[:i], number, *store.generations[i + 1 :])
    return store._replace(applied=(*store.applied, i), generations=generations)


# --- unknown outcomes, and time ---


def send(world: World, store: Key, kind: str, request: tuple[object, ...]) -> Iterator[tuple[str, Key, bool]]:
    """The ways a write can go: (how it reads, the store after it, was it answered). Unknown: it may land, or never."""
    yield "", land(store, request), True
    if world.losses and kind in world.losable:
        if request in store.late:
            yield ", answer lost", store, False
        elif len(store.late) < world.losses:
            yield ", answer lost", store._replace(late=store.late | {request}), False


def land(store: Key, request: tuple[object, ...]) -> Key:
    """What a request does when it arrives."""
    match request:
        case ("decision", int(i), str(decision)):
            return put_decision(store, i, decision)
        case ("claim", int(number), int(i)):
            return put_claim(store, number, i)
        case ("done", int(i), str(done)):
            return put_done(store, i, done)
        case ("cmu", int(i)):
            return complete(store, i)
        case ("delete", int(tombstone), int(target), *_):
            return delete_object(store, tombstone, target)
    raise AssertionError(request)


def losses(world: World, store: Key) -> Iterator[tuple[str, Key]]:
    """The store loses an upload; but the last session's, which is there to take the key at the end."""
    if world.lossy:
        for i, one in enumerate(store.sessions[:-1]):
            if one.upload:
                yield f"the store loses the upload of {i}", change(store, i, upload=False)


def landings(store: Key) -> Iterator[tuple[str, Key]]:
    """Each request under way may land now."""
    for request in store.late:
        after = land(store, request)
        if after != store:
            yield f"late landing: {' '.join(map(str, request))}", after


def hour_passes(world: World, store: Key) -> Iterator[tuple[str, Key]]:
    """R6: an hour after done.json of a tombstone, no DELETE that was signed before it is accepted any more."""
    for i, spec in enumerate(world.specs):
        one = store.sessions[i]
        if spec.tombstone < 0 or one.done != DONE or one.cooled:
            continue
        after = change(store, i, cooled=True)
        if world.has("R6"):
            alive = frozenset(s for s in store.signed if i in s[2])
            late = frozenset(r for r in store.late if r[0] != "delete" or i in r[3])  # type: ignore[operator]
            after = after._replace(signed=alive, late=late)
        yield f"an hour passes since done.json of session {i}", after


def tombstones_done(world: World, store: Key) -> frozenset[int]:
    """Which the signature of a request made now outlives."""
    return frozenset(i for i, spec in enumerate(world.specs) if spec.tombstone >= 0 and store.sessions[i].done == DONE)
