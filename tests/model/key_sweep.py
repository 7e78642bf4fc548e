"""The sweeper at a chosen key (protocol.md section 7, W1 to W7), and time. Any age may have passed at any moment."""

from __future__ import annotations

from tests.model.checker import Local, Step
from tests.model.key_commit import Committer, Steps
from tests.model.key_store import (
    COMMIT,
    DONE,
    EXPIRE,
    LOST,
    Key,
    World,
    abort_upload,
    change,
    hour_passes,
    landings,
)

IDLE: Local = ("idle",)
_PURGE_UNDONE = ("multipart", "session", "done")
_PURGE_DELETED = ("multipart", "session", "done", "deleted")
_EMPTY: dict[str, object] = {"multipart": False, "session": False, "done": "", "deleted": False, "decision": ""}


class Sweeper(Committer):
    """Takes sessions as they come, for ever. ``due``: which of its duties this instance looks at."""

    def __init__(
        self, world: World, name: str, sessions: tuple[int, ...], due: frozenset[str] = frozenset({"W1", "W2", "W4", "W6", "W7"})
    ) -> None:
        super().__init__(world, name)
        self.sessions = sessions
        self.due = due

    def steps(self, store: Key, me: Local) -> list[Step[Key]]:
        """Back to the start forgets everything."""
        found = super().steps(store, me)
        return [step._replace(local=IDLE) if step.local[0] == "idle" else step for step in found]

    def at_idle(self, store: Key, *_: object) -> Steps:
        for i in self.sessions:
            one = store.sessions[i]
            if not one.session:
                if "W6" in self.due and (one.upload or one.multipart or one.done or one.deleted or one.decision):
                    yield Step(f"GET session {i}: gone", store, ("orphan", i))
            else:
                yield Step(f"GET session {i}: there", store, ("s_deleted", i))

    def at_s_deleted(self, store: Key, i: int) -> Steps:
        there = store.sessions[i].deleted
        then: Local = ("s_done", i)
        if there:
            then = ("purge", i, _PURGE_DELETED) if "W7" in self.due else IDLE
        yield Step(f"GET deleted {i}: {'there' if there else 'absent'}", store, then)

    def at_s_done(self, store: Key, i: int) -> Steps:
        done = store.sessions[i].done
        then: Local = ("s_decision", i)
        if done == DONE:
            then = ("s_claims", i) if "W7" in self.due else IDLE
        elif done == LOST:
            then = ("abort", i) if "W2" in self.due else IDLE
        yield Step(f"GET done {i}: {done or 'absent'}", store, then)

    def at_s_decision(self, store: Key, i: int) -> Steps:
        decision = store.sessions[i].decision
        then: Local = ("s_again", i, decision)
        if not decision:
            then = ("expire", i) if "W1" in self.due else IDLE
        yield Step(f"GET decision {i}: {decision or 'absent'}", store, then)

    def at_s_again(self, store: Key, i: int, decision: str) -> Steps:
        """A decision counts only if session.json is read after it."""
        there = store.sessions[i].session
        then: Local = IDLE
        if there and decision == COMMIT:
            then = self.finish(i, IDLE) if "W4" in self.due else IDLE
        elif there:
            then = ("abort", i) if "W2" in self.due else IDLE
        yield Step(f"GET session {i}: {'there' if there else 'gone'}", store, then)

    def at_expire(self, store: Key, i: int) -> Steps:
        yield from self.write(f"PUT decision {i} EXPIRE", store, "decision", ("decision", i, EXPIRE), IDLE, IDLE)

    def at_abort(self, store: Key, i: int) -> Steps:
        """W2: the upload that multipart.json names; then the records, once the retention is over."""
        yield Step(f"abort the upload of {i}", abort_upload(store, i), ("purge", i, _PURGE_UNDONE))

    def at_purge(self, store: Key, i: int, names: tuple[str, ...]) -> Steps:
        """Record after record, the decision last (W3, I11)."""
        name, rest = names[0], names[1:]
        then: Local = ("purge", i, rest) if rest else ("purge", i, ("decision",)) if name != "decision" else IDLE
        yield Step(f"DELETE {name} of {i}", change(store, i, **{name: _EMPTY[name]}), then)

    def at_orphan(self, store: Key, i: int) -> Steps:
        """W6: any record without a session.json, and an upload that it names. Session.json never comes back."""
        yield Step(f"abort the upload of {i}", abort_upload(store, i), ("purge", i, ("multipart", "done", "deleted")))

    # --- W7 ---

    def at_s_claims(self, store: Key, i: int) -> Steps:
        mine = store.claims.index(i) + 1 if i in store.claims else len(store.claims)
        later = tuple(store.claims[mine:])
        yield Step(f"LIST claims: later than {i} are {later or 'none'}", store, ("s_later", i, later) if later else IDLE)

    def at_s_later(self, store: Key, i: int, later: tuple[int, ...]) -> Steps:
        """Deleted only if a later generation is done and not LOST."""
        other, rest = later[0], later[1:]
        done = store.sessions[other].done
        superseded = done == DONE or not self.world.has("W7: a later generation is done")
        if done == LOST:
            superseded = not self.world.has("W7: and not LOST")
        then: Local = ("put_deleted", i) if superseded else ("s_later", i, rest) if rest else IDLE
        yield Step(f"GET done {other}: {done or 'absent'}", store, then)

    def at_put_deleted(self, store: Key, i: int) -> Steps:
        yield Step(f"PUT deleted {i}", change(store, i, deleted=True), ("purge", i, _PURGE_DELETED))


class Clock:
    """What happens by itself: requests under way land, hours pass."""

    def __init__(self, world: World) -> None:
        self.world = world

    def steps(self, store: Key, me: Local) -> list[Step[Key]]:
        return [Step(what, after, me) for what, after in (*landings(store), *hour_passes(self.world, store))]

    def hours(self, store: Key, me: Local) -> list[Step[Key]]:
        return [Step(what, after, me) for what, after in hour_passes(self.world, store)]
