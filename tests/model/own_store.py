"""What the store holds of one session at a key of its own, and requests still under way.

One chunk is enough: a part *version* is its bytes and its ETag, "a1" and "a2" being the same bytes, "b1" others. Time
is not a number: every age that the protocol waits for may have passed at any moment. Only the limit of the give-up rule
is a fact of its own, for what came before it and what after it matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

COMMIT, ABORT, EXPIRE = "COMMIT", "ABORT", "EXPIRE"
DONE, LOST = "DONE", "LOST"
Decision = tuple[str, ...]
"""(COMMIT, parameters, upload, part version), (ABORT,), (EXPIRE,), or () where there is none."""
Request = tuple[object, ...]


class Own(NamedTuple):
    """The store, and behind the bar what only the checker knows."""

    session: bool = True
    multipart: str = ""
    """The upload that it names."""
    uploads: frozenset[tuple[str, str]] = frozenset()
    """Uploads that live: (id, newest version of the part or "")."""
    receipts: frozenset[str] = frozenset()
    decision: Decision = ()
    done: str = ""
    deleted: bool = False
    object: str = ""
    """The version that is visible."""
    late: frozenset[Request] = frozenset()
    """Requests whose answer was lost: each may land, any number of times, at any moment."""
    limit: bool = False
    """decision.json's Last-Modified + ttl + grace is over."""
    # --- history ---
    decided: Decision = ()
    """The first decision that counted."""
    ever: frozenset[str] = frozenset()
    """What has been: "session", "object", "delete asked", "upload lost", "overwritten at the limit"."""
    covered: frozenset[str] = frozenset()
    """Bytes that had a receipt while the session was open."""
    acked: frozenset[str] = frozenset()
    """Versions that were acknowledged."""
    answers: frozenset[str] = frozenset()
    broken: str = ""
    """An invariant that a call broke."""


@dataclass(frozen=True)
class World:
    """An instance's constants. ``without``: rules that a mutation removed; ``losses``: calls of unknown outcome."""

    without: frozenset[str] = frozenset()
    losses: int = 0
    losable: frozenset[str] = frozenset()
    spurious: bool = False
    """The store may say NoSuchUpload of an upload that lives."""
    lossy: bool = False
    """The store may lose the upload."""

    def has(self, rule: str) -> bool:
        return rule not in self.without


def upload_of(store: Own, upload: str) -> tuple[str, str] | None:
    return next((u for u in store.uploads if u[0] == upload), None)


def see(store: Own) -> Own:
    """Keep the history: what is so now."""
    ever, covered = store.ever, store.covered
    if store.object and "object" not in ever:
        ever |= {"object"}
    if store.session and "session" not in ever:
        ever |= {"session"}
    if store.session and not store.decided:
        covered |= {version[0] for version in store.receipts}
    if store.limit and store.decided[:1] == (COMMIT,):
        named = upload_of(store, store.decided[2])
        if named is not None and named[1][:1] != store.decided[3][0]:
            ever |= {"overwritten at the limit"}
    if ever is store.ever and covered == store.covered:
        return store
    return store._replace(ever=ever, covered=covered)


# --- writes: each is what happens when the request lands ---


def land(world: World, store: Own, request: Request) -> Own:
    """What a request does when it arrives; the late ones the same as the prompt."""
    return see(_land(world, store, request))


def _land(world: World, store: Own, request: Request) -> Own:
    kind, *what = request
    match kind, *what:
        case "create", *_:
            if "session" in store.ever and not store.session:
                return store._replace(broken="I9: session.json came back behind its purge")
            return store._replace(session=True, late=store.late - {request})
        case "decision", *decision:
            return _put_decision(world, store, tuple(map(str, decision)))
        case "multipart", str(upload):
            return store if store.multipart and world.has("R2") else store._replace(multipart=upload)
        case "done", str(done):
            return store if store.done else store._replace(done=done)
        case "deleted", *_:
            return store._replace(deleted=True, ever=store.ever | {"delete asked"})
        case "part", str(upload), str(version):
            old = upload_of(store, upload)
            return store if old is None else store._replace(uploads=(store.uploads - {old}) | {(upload, version)})
        case "receipt", str(version):
            return store._replace(receipts=store.receipts | {version})
        case "cmu", str(upload), str(version):
            return _complete(world, store, upload, version)
        case "abort", str(upload), str(why):
            return _abort(store, upload, why)
        case "delete", str(name):
            return _delete(store, name)
    raise AssertionError(request)


def _put_decision(world: World, store: Own, decision: Decision) -> Own:
    if store.decision and world.has("R2"):
        return store
    store = store._replace(decision=decision)
    if store.session:
        if store.decided not in ((), decision):
            return store._replace(broken="I1: a second decision, while session.json is there")
        store = store._replace(decided=decision)
    return store


def _complete(world: World, store: Own, upload: str, version: str) -> Own:
    living = upload_of(store, upload)
    if living is None:
        again = not world.has("R5") and "object" in store.ever
        return store._replace(object=version) if again else store
    if living[1] != version and world.has("R3"):
        return store
    return store._replace(uploads=store.uploads - {living}, object=living[1])


def _abort(store: Own, upload: str, why: str) -> Own:
    living = upload_of(store, upload)
    if living is None:
        return store
    named = store.decided[:1] == (COMMIT,) and store.decided[2] == upload
    if named and store.session and store.done != LOST and why != "give up":
        return store._replace(broken="I10: the upload of a decision to COMMIT was aborted")
    return store._replace(uploads=store.uploads - {living})


def _delete(store: Own, name: str) -> Own:
    kept = store.decided[:1] == (COMMIT,) and store.done != LOST and not store.deleted
    match name:
        case "session":
            if store.session and kept:
                return store._replace(broken="I10: session.json of a decision to COMMIT was deleted")
            return store._replace(session=False)
        case "object":
            if store.object and not store.deleted:
                return store._replace(broken="I10: an object was deleted that nobody asked to delete")
            return store._replace(object="")
        case "decision":
            if store.session and store.decision:
                return store._replace(broken="I11: decision.json was deleted, and session.json is there")
            return store._replace(decision=())
        case "receipts":
            return store._replace(receipts=frozenset())
        case "multipart":
            return store._replace(multipart="")
        case "done":
            return store._replace(done="")
        case "deleted":
            return store._replace(deleted=False)
    raise AssertionError(name)


def send(world: World, store: Own, request: Request) -> Iterator[tuple[str, Own, bool]]:
    """The ways a write can go: (how it reads, the store after it, was it answered). Unknown: it may land, or never."""
    yield "", land(world, store, request), True
    kind = str(request[0])
    if world.losses and kind in world.losable:
        if request in store.late:
            yield ", answer lost", store, False
        elif len(store.late) < world.losses:
            yield ", answer lost", store._replace(late=store.late | {request}), False


def by_itself(world: World, store: Own) -> Iterator[tuple[str, Own]]:
    """What no actor does: requests under way land, time passes, a store loses an upload."""
    for request in store.late:
        after = land(world, store, request)
        if after != store:
            yield f"late landing: {' '.join(map(str, request))}", after
    if store.decision[:1] == (COMMIT,) and not store.limit and not store.done and store.session:
        yield "the time to mend is over", see(store._replace(limit=True))
    if world.lossy:
        for upload in store.uploads:
            yield (
                f"the store loses upload {upload[0]}",
                store._replace(uploads=store.uploads - {upload}, ever=store.ever | {"upload lost"}),
            )
