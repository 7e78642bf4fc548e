"""The sweeper at a key of its own (W1 to W7), DeleteSession, and what happens by itself. Any age may have passed."""

from __future__ import annotations

from tests.model.checker import Actor, Local, Step
from tests.model.own_finish import GONE, OwnProgram, Steps
from tests.model.own_store import COMMIT, DONE, EXPIRE, LOST, Own, World, by_itself, upload_of
from tests.model.program import END, there

IDLE: Local = ("idle",)
_UNDONE = ("receipts", "multipart", "session", "done", "decision")
_DELETED = ("object", "receipts", "multipart", "session", "done", "deleted", "decision")
_ORPHANS = ("receipts", "multipart", "done", "deleted", "decision")
ALL_DUTIES = frozenset({"W1", "W2", "W4", "W5", "W6", "W7"})


class Sweeper(OwnProgram):
    """Does what is due, for ever. ``duties``: what this instance looks at."""

    def __init__(self, world: World, name: str = "sweep", duties: frozenset[str] = ALL_DUTIES) -> None:
        super().__init__(world, name)
        self.duties = duties
        self.start = IDLE

    def steps(self, store: Own, me: Local) -> list[Step[Own]]:
        """Back to the start forgets everything."""
        return [s._replace(local=IDLE) if s.local[0] in ("idle", "end") else s for s in super().steps(store, me)]

    def at_idle(self, store: Own, *_: object) -> Steps:
        if store.session:
            yield Step("GET session: there", store, ("deleted",))
        else:
            yield from self.at_orphans(store)
        if "W6" in self.duties:
            for upload, _version in store.uploads:
                yield Step(f"LIST uploads: {upload}", store, ("orphan", upload))

    def at_deleted(self, store: Own) -> Steps:
        then: Local = ("done",)
        if store.deleted:
            then = ("purge", _DELETED) if "W5" in self.duties else IDLE
        yield Step(f"GET deleted: {there(store.deleted)}", store, then)

    def at_done(self, store: Own) -> Steps:
        then: Local = ("decision",)
        if store.done == LOST:
            then = ("purge_upload",) if "W2" in self.duties else IDLE
        elif store.done:
            then = ("purge_receipts",) if "W7" in self.duties else IDLE
        yield Step(f"GET done: {there(store.done)}", store, then)

    def at_decision(self, store: Own) -> Steps:
        then: Local = ("again", store.decision)
        if not store.decision:
            then = ("expire",) if "W1" in self.duties else IDLE
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    def at_again(self, store: Own, decision: tuple[str, ...]) -> Steps:
        """A decision counts only if session.json is read after it."""
        then: Local = IDLE
        counts = store.session or not self.has("roll-forward: session.json after the decision")
        if counts and decision[0] == COMMIT:
            then = self.finish(decision, IDLE) if "W4" in self.duties else IDLE
            if not self.has("W4: never abort a COMMIT"):
                then = ("purge_upload",)
        elif counts:
            then = ("purge_upload",) if "W2" in self.duties else IDLE
        yield Step(f"GET session: {there(store.session)}", store, then)

    def at_expire(self, store: Own) -> Steps:
        yield from self.write(store, ("decision", EXPIRE), IDLE, note=": 412" if store.decision else "")

    def at_purge_receipts(self, store: Own) -> Steps:
        yield from self.write(store, ("delete", "receipts"), IDLE)

    # --- W2, W3, W5, W6: each step is confirmed before the next ---

    def at_purge_upload(self, store: Own) -> Steps:
        """The upload that multipart.json names, until it is gone."""
        if not store.multipart:
            yield Step("GET multipart: absent", store, ("purge", _UNDONE))
        else:
            yield Step(f"GET multipart: {store.multipart}", store, ("abort_named", store.multipart))

    def at_abort_named(self, store: Own, upload: str) -> Steps:
        yield from self.confirmed(store, ("abort", upload, "W2"), ("purge", _UNDONE), ("abort_named", upload))

    def at_purge(self, store: Own, names: tuple[str, ...]) -> Steps:
        order = names
        if not self.has("W5: this order") and names == _DELETED:
            order = ("deleted", *(n for n in names if n != "deleted"))
        if not self.has("W5: session.json before done.json") and names == _DELETED:
            order = ("object", "receipts", "multipart", "done", "session", "deleted", "decision")
        if not self.has("I11: the decision is deleted last") and names == _UNDONE:
            order = ("receipts", "multipart", "decision", "session", "done")
        if not self.has("W2: session.json before done.json") and names == _UNDONE:
            order = ("receipts", "multipart", "done", "session", "decision")
        name, rest = order[0], order[1:]
        yield from self.confirmed(store, ("delete", name), ("purge", rest) if rest else IDLE, ("purge", order))

    def confirmed(self, store: Own, request: tuple[object, ...], then: Local, again: Local) -> Steps:
        """Until it is gone; where the rule was removed, an answer is enough, and none is taken for one."""
        if not self.has("each step is confirmed before the next"):
            again = then
        yield from self.write(store, request, then, again)

    def at_orphans(self, store: Own) -> Steps:
        """W6: records and uploads without a session.json."""
        if "W6" not in self.duties:
            return
        if store.uploads:
            for upload, _version in store.uploads:
                yield Step(f"GET session: absent, LIST uploads: {upload}", store, ("abort_orphan", upload))
        elif not self.has("W6: any record without a session.json is deleted"):
            return
        elif store.receipts or store.multipart or store.done or store.deleted or store.decision:
            yield Step("GET session: absent", store, ("purge", _ORPHANS))

    def at_abort_orphan(self, store: Own, upload: str) -> Steps:
        yield from self.confirmed(store, ("abort", upload, "W6"), IDLE, ("abort_orphan", upload))

    def at_orphan(self, store: Own, upload: str) -> Steps:
        """Only if multipart.json is there and names another: absent proves nothing."""
        named = store.multipart
        other = bool(named) and named != upload
        if not named and not self.has("W6: an absent multipart.json proves nothing"):
            other = True
        yield Step(f"GET multipart: {there(named)}", store, ("abort_orphan", upload) if other else IDLE)


class DeleteCall(Sweeper):
    """DeleteSession at a key of its own: deleted.json, the object, and an answer once HEAD says 404."""

    def __init__(self, world: World, name: str = "delete") -> None:
        super().__init__(world, name, frozenset())
        self.start = ("ask",)

    def steps(self, store: Own, me: Local) -> list[Step[Own]]:
        return OwnProgram.steps(self, store, me)

    def at_ask(self, store: Own) -> Steps:
        if not store.session:
            yield self.say(store, "NOT_FOUND", "GET session: absent")
        else:
            yield Step("GET session: there", store, ("ask_deleted",))

    def at_ask_deleted(self, store: Own) -> Steps:
        note = f"GET deleted: {there(store.deleted)}"
        yield Step(note, store, ("remove",) if store.deleted else ("ask_done",))

    def at_ask_done(self, store: Own) -> Steps:
        note = f"GET done: {there(store.done)}"
        if store.done == LOST:
            yield self.say(store, "LOST", note)
        else:
            yield Step(note, store, ("put_deleted",) if store.done else ("ask_decision",))

    def at_ask_decision(self, store: Own) -> Steps:
        """OPEN: as abort, which is another call here. COMMITTING: roll forward first."""
        then: Local = ("ask_again", store.decision) if store.decision[:1] == (COMMIT,) else END
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    def at_ask_again(self, store: Own, decision: tuple[str, ...]) -> Steps:
        note = f"GET session: {there(store.session)}"
        if not self.has("delete: roll a COMMIT forward first"):
            yield Step(note, store, ("put_deleted",))
        elif store.session:
            yield Step(note, store, self.finish(decision, ("rolled",)))
        else:
            yield self.say(store, "NOT_FOUND", note)

    def at_rolled(self, store: Own, outcome: str) -> Steps:
        if outcome == DONE:
            yield from self.at_put_deleted(store)
        else:
            yield self.say(store, {LOST: "LOST", GONE: "NOT_FOUND"}.get(outcome, "NEEDED"), "")

    def at_put_deleted(self, store: Own) -> Steps:
        then: Local = ("remove",) if self.has("delete: the object goes before the answer") else ("removed",)
        yield from self.write(store, ("deleted", "put"), then, ("put_deleted",))

    def at_remove(self, store: Own) -> Steps:
        yield from self.confirmed(store, ("delete", "object"), ("removed",), ("remove",))

    def at_removed(self, store: Own) -> Steps:
        if store.object and self.has("delete: the object goes before the answer"):
            yield Step(f"HEAD: {store.object}", store, ("remove",))
        else:
            yield self.say(store, "DELETED", f"HEAD: {there(store.object)}")


def clock(world: World) -> Actor[Own]:
    """Requests under way land, time passes, a store loses an upload."""

    def steps(store: Own, me: Local) -> list[Step[Own]]:
        return [Step(what, after, me) for what, after in by_itself(world, store)]

    return Actor("(store)", ("store",), steps)


__all__ = ["ALL_DUTIES", "IDLE", "DeleteCall", "Sweeper", "clock", "upload_of"]
