"""The sweeper at a chosen key (protocol.md section 7, W1 to W7), and time. Any age may have passed at any moment."""

from __future__ import annotations

from tests.model.checker import Actor, Local, Step
from tests.model.key_finish import KeyProgram, Steps
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
    losses,
)
from tests.model.program import there

IDLE: Local = ("idle",)
_PURGE_UNDONE = ("multipart", "session", "done")
_PURGE_DELETED = ("multipart", "session", "done", "deleted")
_EMPTY: dict[str, object] = {"multipart": False, "session": False, "done": "", "deleted": False, "decision": ""}
DUTIES = frozenset({"W1", "W2", "W4", "W6", "W7"})


class Sweeper(KeyProgram):
    """Takes sessions as they come, for ever. ``duties``: what this instance looks at; "uploads": W6's other half."""

    def __init__(self, world: World, name: str, sessions: tuple[int, ...], duties: frozenset[str] = DUTIES) -> None:
        super().__init__(world, name)
        self.sessions = sessions
        self.duties = duties
        self.start = IDLE

    def steps(self, store: Key, me: Local) -> list[Step[Key]]:
        """Back to the start forgets everything."""
        return [s._replace(local=IDLE) if s.local[0] == "idle" else s for s in super().steps(store, me)]

    def at_idle(self, store: Key, *_: object) -> Steps:
        for i in self.sessions:
            one = store.sessions[i]
            if not one.session:
                if "W6" in self.duties and (one.upload or one.multipart or one.done or one.deleted or one.decision):
                    yield Step(f"GET session {i}: gone", store, ("orphan", i))
            elif self.duties != {"uploads"}:
                yield Step(f"GET session {i}: there", store, ("s_deleted", i))
        if "uploads" in self.duties:
            yield from self.at_uploads(store)

    def at_s_deleted(self, store: Key, i: int) -> Steps:
        found = store.sessions[i].deleted
        then: Local = ("s_done", i)
        if found:
            then = ("purge", i, _PURGE_DELETED) if "W7" in self.duties else IDLE
        yield Step(f"GET deleted {i}: {there(found)}", store, then)

    def at_s_done(self, store: Key, i: int) -> Steps:
        done = store.sessions[i].done
        then: Local = ("s_decision", i)
        if done == DONE:
            then = ("s_claims", i) if "W7" in self.duties else IDLE
        elif done == LOST:
            then = ("abort", i) if "W2" in self.duties else IDLE
        yield Step(f"GET done {i}: {there(done)}", store, then)

    def at_s_decision(self, store: Key, i: int) -> Steps:
        decision = store.sessions[i].decision
        then: Local = ("s_again", i, decision)
        if not decision:
            then = ("expire", i) if "W1" in self.duties else IDLE
        yield Step(f"GET decision {i}: {there(decision)}", store, then)

    def at_s_again(self, store: Key, i: int, decision: str) -> Steps:
        """A decision counts only if session.json is read after it."""
        found = store.sessions[i].session
        then: Local = IDLE
        if found and decision == COMMIT:
            then = self.finish(i, IDLE) if "W4" in self.duties else IDLE
        elif found:
            then = ("abort", i) if "W2" in self.duties else IDLE
        yield Step(f"GET session {i}: {there(found)}", store, then)

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

    # --- W6 at a chosen key: the uploads first, then every session that names the key ---

    def at_uploads(self, store: Key) -> Steps:
        naming = tuple(i for i in self.sessions if store.sessions[i].session)
        if not self.has("W6: list the uploads first, then the sessions"):
            yield Step(f"LIST sessions: {naming}", store, ("uploads_last", naming))
            return
        for i in self.sessions:
            if store.sessions[i].upload:
                yield Step(f"LIST uploads: that of {i}", store, ("naming", i))

    def at_uploads_last(self, store: Key, naming: tuple[int, ...]) -> Steps:
        """Only where the rule was removed."""
        for i in self.sessions:
            if store.sessions[i].upload:
                yield Step(f"LIST uploads: that of {i}", store, ("names", i, naming) if naming else ("unnamed", i))

    def at_naming(self, store: Key, upload: int) -> Steps:
        naming = tuple(i for i in self.sessions if store.sessions[i].session)
        then: Local = ("names", upload, naming) if naming else ("unnamed", upload)
        yield Step(f"LIST sessions: {naming}", store, then)

    def at_names(self, store: Key, upload: int, naming: tuple[int, ...]) -> Steps:
        """Each must have a multipart.json naming another, or a decision other than COMMIT."""
        i, rest = naming[0], naming[1:]
        found = store.sessions[i].multipart
        on: Local = ("names", upload, rest) if rest else ("unnamed", upload)
        another = found and i != upload
        if not found and not self.has("W6: an absent multipart.json proves nothing"):
            another = True
        yield Step(f"GET multipart {i}: {there(found)}", store, on if another else ("names_decision", upload, i, on))

    def at_names_decision(self, store: Key, upload: int, i: int, on: Local) -> Steps:
        decision = store.sessions[i].decision
        other = decision not in ("", COMMIT)
        yield Step(f"GET decision {i}: {there(decision)}", store, on if other else IDLE)

    def at_unnamed(self, store: Key, upload: int) -> Steps:
        yield Step(f"abort the upload of {upload}", abort_upload(store, upload), IDLE)

    # --- W7 ---

    def at_s_claims(self, store: Key, i: int) -> Steps:
        mine = store.claims.index(i) + 1 if i in store.claims else len(store.claims)
        later = tuple(store.claims[mine:])
        yield Step(
            f"LIST claims: later than {i} are {later or 'none'}", store, ("s_later", i, later) if later else IDLE
        )

    def at_s_later(self, store: Key, i: int, later: tuple[int, ...]) -> Steps:
        """Deleted only if a later generation is done and not LOST."""
        other, rest = later[0], later[1:]
        done = store.sessions[other].done
        superseded = done == DONE or not self.has("W7: a later generation is done")
        if done == LOST:
            superseded = not self.has("W7: and not LOST")
        then: Local = ("put_deleted", i) if superseded else ("s_later", i, rest) if rest else IDLE
        yield Step(f"GET done {other}: {there(done)}", store, then)

    def at_put_deleted(self, store: Key, i: int) -> Steps:
        yield Step(f"PUT deleted {i}", change(store, i, deleted=True), ("purge", i, _PURGE_DELETED))


def clock(world: World, *, alone: bool = False) -> Actor[Key]:
    """What happens by itself: requests under way land, hours pass, a store loses an upload. ``alone``: only hours."""

    def steps(store: Key, me: Local) -> list[Step[Key]]:
        found = list(hour_passes(world, store))
        if not alone:
            found += [*landings(store), *losses(world, store)]
        return [Step(what, after, me) for what, after in found]

    return Actor("(store)", ("store",), steps)
