"""CommitSession at a key of its own, C1 to C8, and AbortSession (protocol.md section 5)."""

from __future__ import annotations

from tests.model.checker import Local, Step
from tests.model.own_finish import GONE, NEEDED, OwnProgram, Steps
from tests.model.own_store import ABORT, COMMIT, DONE, EXPIRE, LOST, Decision, Own, World, upload_of
from tests.model.program import there

_REFUSED = {COMMIT: "SEALED", ABORT: "ABORTED", EXPIRE: "EXPIRED"}


class Commit(OwnProgram):
    """CommitSession with ``parameters``; any two are taken as fitting what is stored, which is more than can be."""

    def __init__(self, world: World, name: str, parameters: str = "p") -> None:
        super().__init__(world, name)
        self.parameters = parameters
        self.start = ("c1",)

    def at_c1(self, store: Own) -> Steps:
        sure, after_delete = bool(store.covered), "DELETED" in store.answers
        if not self.has("C1: session, deleted, done, decision"):
            yield from self.at_done(store, sure, after_delete)
        elif not store.session:
            yield self.say(store, "NOT_FOUND", "GET session: absent")
        else:
            yield Step("GET session: there", store, ("deleted", sure, after_delete))

    def at_deleted(self, store: Own, sure: bool, after_delete: bool) -> Steps:
        if store.deleted:
            yield self.say(store, "NOT_FOUND", "GET deleted: there")
        else:
            yield Step("GET deleted: absent", store, ("done", sure, after_delete))

    def at_done(self, store: Own, sure: bool, after_delete: bool) -> Steps:
        note = f"GET done: {there(store.done)}"
        if not self.has("C1: session, deleted, done, decision"):
            then: Local = ("deleted_last", store.done, sure, after_delete)
            yield Step(note, store, then)
        elif store.done == LOST:
            yield self.say(store, "LOST", note)
        elif store.done:
            yield self._success(store, note, after_delete)
        else:
            yield Step(note, store, ("decision", sure))

    def at_deleted_last(self, store: Own, done: str, sure: bool, after_delete: bool) -> Steps:
        """Only where C1's order was removed: done.json was read first."""
        note = f"GET deleted: {there(store.deleted)}"
        if store.deleted:
            yield self.say(store, "NOT_FOUND", note)
        elif done == DONE:
            yield self._success(store, note, after_delete)
        elif done:
            yield self.say(store, "LOST", note)
        else:
            yield Step(note, store, ("decision", sure))

    def _success(self, store: Own, note: str, after_delete: bool) -> Step[Own]:
        """From done.json: the parameters first; and it counts only if session.json is read after it."""
        if self.has("C1: session.json again behind done.json"):
            return Step(note, store, ("done_again", after_delete))
        return self._answer(store, note, after_delete)

    def _answer(self, store: Own, note: str, after_delete: bool) -> Step[Own]:
        if store.decided[1:2] != (self.parameters,):
            return self.say(store, "SEALED", note)
        return self.say(store, f"OK {self.parameters}", note, after_delete=after_delete)

    def at_done_again(self, store: Own, after_delete: bool) -> Steps:
        note = f"GET session: {there(store.session)}"
        yield self._answer(store, note, after_delete) if store.session else self.say(store, "NOT_FOUND", note)

    def at_decision(self, store: Own, sure: bool) -> Steps:
        then: Local = ("c5", store.decision) if store.decision else ("receipts", sure)
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    # --- C2 to C5 ---

    def at_receipts(self, store: Own, sure: bool) -> Steps:
        note = f"LIST receipts: {there(' '.join(sorted(store.receipts)))}"
        bytes_ = {version[0] for version in store.receipts}
        if not store.receipts:
            yield Step(note, store, ("refuse", "INCOMPLETE", sure))
        elif len(bytes_) > 1:
            yield Step(note, store, ("refuse", "CONFLICT", sure))
        else:
            yield Step(note, store, ("multipart", tuple(sorted(store.receipts))))

    def at_refuse(self, store: Own, answer: str, sure: bool) -> Steps:
        """Before any negative answer: decision.json again, then session.json."""
        if not self.has("before a negative answer: decision.json, session.json"):
            yield self.say(store, answer, "", sure=sure)
            return
        then: Local = ("c5", store.decision) if store.decision else ("refuse_session", answer, sure)
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    def at_refuse_session(self, store: Own, answer: str, sure: bool) -> Steps:
        if store.session:
            yield self.say(store, answer, "GET session: there", sure=sure)
        else:
            yield self.say(store, "NOT_FOUND", "GET session: absent")

    def at_multipart(self, store: Own, versions: tuple[str, ...]) -> Steps:
        """C3: of several ETags the newest row's; the last receipt's if the listing says nothing."""
        note = f"GET multipart: {there(store.multipart)}"
        if not store.multipart:
            yield Step(note, store, ("refuse", "INTERNAL", False))
            return
        then: Local = ("decide", store.multipart, versions[-1])
        if len(versions) > 1:
            then = ("choose", store.multipart, versions)
        yield Step(note, store, then)

    def at_choose(self, store: Own, upload: str, versions: tuple[str, ...]) -> Steps:
        living = upload_of(store, upload)
        newest = living[1] if living is not None and living[1] in versions else versions[-1]
        yield Step(f"ListParts {upload}: {newest}", store, ("decide", upload, newest))

    def at_decide(self, store: Own, upload: str, version: str) -> Steps:
        read: Local = ("obey", upload, version)
        request = ("decision", COMMIT, self.parameters, upload, version)
        ours: Local = read if store.decision else ("c5", request[1:])
        yield from self.write(store, request, ours, read, note=": 412" if store.decision else "")

    def at_obey(self, store: Own, upload: str, version: str) -> Steps:
        """GET: present is obeyed; 404 is not final."""
        then: Local = ("c5", store.decision) if store.decision else ("decide", upload, version)
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    def at_c5(self, store: Own, decision: Decision) -> Steps:
        """A decision counts only if session.json is read after it."""
        note = f"GET session: {there(store.session)}"
        if not store.session and self.has("a decision counts only before session.json"):
            yield self.say(store, "NOT_FOUND", note)
        elif decision[0] != COMMIT:
            yield self.say(store, _REFUSED[decision[0]], note)
        elif decision[1] != self.parameters:
            yield self.say(store, "SEALED", note)
        else:
            yield Step(note, store, self.finish(decision, ("c8",)))

    def at_c8(self, store: Own, outcome: str) -> Steps:
        answer = {DONE: f"OK {self.parameters}", LOST: "LOST", GONE: "NOT_FOUND", NEEDED: "NEEDED"}[outcome]
        yield self.say(store, answer, "C8")


class AbortCall(OwnProgram):
    """AbortSession."""

    def __init__(self, world: World, name: str = "abort") -> None:
        super().__init__(world, name)
        self.start = ("session",)

    def at_session(self, store: Own) -> Steps:
        if store.session:
            yield Step("GET session: there", store, ("done",))
        else:
            yield self.say(store, "NOT_FOUND", "GET session: absent")

    def at_done(self, store: Own) -> Steps:
        note = f"GET done: {there(store.done)}"
        if store.done:
            yield self.say(store, "LOST" if store.done == LOST else "SEALED", note)
        else:
            yield Step(note, store, ("put",))

    def at_put(self, store: Own) -> Steps:
        ours: Local = ("read",) if store.decision else ("again", ABORT)
        yield from self.write(store, ("decision", ABORT), ours, ("read",), note=": 412" if store.decision else "")

    def at_read(self, store: Own) -> Steps:
        then: Local = ("again", store.decision[0]) if store.decision else ("put",)
        yield Step(f"GET decision: {there(' '.join(store.decision))}", store, then)

    def at_again(self, store: Own, outcome: str) -> Steps:
        """A decision counts only if session.json is read after it: ours may have come behind a purge."""
        note = f"GET session: {there(store.session)}"
        if not store.session and self.has("abort: session.json again"):
            yield self.say(store, "NOT_FOUND", note)
        else:
            yield self.say(store, _REFUSED[outcome], note)
