"""CommitSession at a key of its own: C1 to C8 with the table of protocol.md section 6, and AbortSession.

``then`` is where a roll-forward goes on, with its outcome appended: DONE, LOST, GONE or NEEDED.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.checker import Local, Step
from tests.model.own_store import (
    ABORT,
    COMMIT,
    DONE,
    EXPIRE,
    LOST,
    Decision,
    Own,
    Request,
    World,
    send,
    upload_of,
)
from tests.model.program import END, Program, there

GONE, NEEDED = "GONE", "NEEDED"
_REFUSED = {COMMIT: "SEALED", ABORT: "ABORTED", EXPIRE: "EXPIRED"}
Steps = Iterator[Step[Own]]


class OwnProgram(Program[Own]):
    """Calls that all of them make, and the roll-forward, which any of them may run."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def has(self, rule: str) -> bool:
        return self.world.has(rule)

    def write(self, store: Own, request: Request, known: Local, not_known: Local | None = None, note: str = "") -> Steps:
        for how, after, told in send(self.world, store, request):
            local = known if told or not_known is None else not_known
            yield Step(f"{_verb(request)}{note}{how}", after, local)

    def say(self, store: Own, answer: str, note: str, *, sure: bool = False, after_delete: bool = False) -> Step[Own]:
        """The answer goes out. ``sure``: the chunk was covered when the call began."""
        broken = ""
        if answer.startswith("OK"):
            if store.session and store.done != DONE:
                broken = "I7: success before done.json is durable"
            elif after_delete:
                broken = "I9: a commit that began after the deletion was answered says success"
        elif answer == "INCOMPLETE" and sure:
            broken = "I5: holes are answered of a session whose chunks are all stored"
        return Step(
            f"{note} -> answer {answer}",
            store._replace(answers=store.answers | {answer}, broken=store.broken or broken),
            END,
        )

    # --- C6, C7 ---

    def finish(self, decision: Decision, then: Local) -> Local:
        return ("cmu", decision, decision[3], then)

    def at_cmu(self, store: Own, decision: Decision, version: str, then: Local) -> Steps:
        """``version``: what the part list names; at first the decision's own."""
        upload = decision[2]
        living = upload_of(store, upload)
        no_such: Local = ("head", decision, "NoSuchUpload", then)
        if living is None:
            answer = "again" if not self.has("R5") else "NoSuchUpload"
            yield from self.write(store, ("cmu", upload, version), no_such, no_such, note=f": {answer}")
            return
        if self.world.spurious:
            yield Step(f"CMU {upload}: NoSuchUpload, though it lives", store, no_such)
        if living[1] != version and self.has("R3"):
            yield Step(f"CMU {upload} {version}: InvalidPart", store, ("head", decision, "InvalidPart", then))
        else:
            ok: Local = ("head", decision, "200", then)
            yield from self.write(store, ("cmu", upload, version), ok, ("head", decision, "unknown", then))

    def at_head(self, store: Own, decision: Decision, refused: str, then: Local) -> Steps:
        """CMU's answer alone is no proof."""
        go: Local
        if store.object:
            go = ("put_done", DONE, then)
        elif refused == "NoSuchUpload":
            go = ("gone", decision, then)
            if not self.has("LOST: ListParts must agree"):
                go = ("lost_done", decision, then)
        elif refused == "InvalidPart":
            go = ("parts", decision, store.limit, then)
        else:
            go = self.finish(decision, then)
        yield Step(f"HEAD: {there(store.object)}", store, go)

    def at_gone(self, store: Own, decision: Decision, then: Local) -> Steps:
        lives = upload_of(store, decision[2]) is not None
        go: Local = ("parts", decision, store.limit, then)
        if not lives:
            go = ("head_gone", decision, then) if self.has("LOST: gone, then HEAD") else ("lost_done", decision, then)
        yield Step(f"ListParts {decision[2]}: {'lives' if lives else 'NoSuchUpload'}", store, go)

    def at_head_gone(self, store: Own, decision: Decision, then: Local) -> Steps:
        go: Local = ("put_done", DONE, then) if store.object else ("lost_done", decision, then)
        yield Step(f"HEAD: {there(store.object)}", store, go)

    def at_parts(self, store: Own, decision: Decision, over: bool, then: Local) -> Steps:
        """InvalidPart: the newest row. ``over``: the time to mend was over before this was asked."""
        living = upload_of(store, decision[2])
        go: Local
        if living is None or living[1] == decision[3]:
            go = self.finish(decision, then)
        elif living[1][:1] == decision[3][0] and self.has("InvalidPart: the same bytes under another ETag"):
            go = ("cmu", decision, living[1], then)
        elif not self.has("give up: the clock is read before the parts"):
            go = ("clock", decision, then)
        else:
            go = ("give_up", decision, then) if over else ("needed", then)
        yield Step(f"ListParts {decision[2]}: {living[1] if living else 'NoSuchUpload'}", store, go)

    def at_clock(self, store: Own, decision: Decision, then: Local) -> Steps:
        """Only where the rule was removed: the clock is read behind the listing, after any stall."""
        go: Local = ("give_up", decision, then) if store.limit else ("needed", then)
        yield Step(f"the time to mend is {'over' if store.limit else 'not over'}", store, go)

    def at_needed(self, store: Own, then: Local) -> Steps:
        """CHUNK_NEEDED is a negative answer, too: done.json and session.json first."""
        go: Local = (*then, store.done) if store.done else (*then, NEEDED) if store.session else (*then, GONE)
        yield Step(f"GET done: {there(store.done)}, GET session: {there(store.session)}", store, go)

    def at_give_up(self, store: Own, decision: Decision, then: Local) -> Steps:
        """Abort until gone, **then** HEAD."""
        if not self.has("give up: abort until gone"):
            yield from self.at_lost_done(store, decision, then)
            return
        after: Local = ("gave_up", decision, then)
        if not self.has("give up: then HEAD"):
            after = ("lost_done", decision, then)
        yield from self.write(store, ("abort", decision[2], "give up"), after, ("give_up", decision, then))

    def at_gave_up(self, store: Own, decision: Decision, then: Local) -> Steps:
        go: Local = ("put_done", DONE, then) if store.object else ("lost_done", decision, then)
        yield Step(f"HEAD: {there(store.object)}", store, go)

    def at_lost_done(self, store: Own, decision: Decision, then: Local) -> Steps:
        """Before LOST: done.json, then session.json."""
        if not self.has("LOST: done.json first"):
            yield from self.at_lost_session(store, decision, then)
            return
        go: Local = (*then, store.done) if store.done else ("lost_session", decision, then)
        yield Step(f"GET done: {there(store.done)}", store, go)

    def at_lost_session(self, store: Own, decision: Decision, then: Local) -> Steps:
        if not self.has("LOST: then session.json"):
            yield from self.at_put_done(store, LOST, then)
            return
        go: Local = ("put_done", LOST, then) if store.session else (*then, GONE)
        yield Step(f"GET session: {there(store.session)}", store, go)

    def at_put_done(self, store: Own, done: str, then: Local) -> Steps:
        read: Local = ("read_done", done, then)
        yield from self.write(store, ("done", done), (*then, done) if not store.done else read, read)

    def at_read_done(self, store: Own, ours: str, then: Local) -> Steps:
        go: Local = (*then, store.done) if store.done else ("put_done", ours, then)
        yield Step(f"GET done: {there(store.done)}", store, go)


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


def _verb(request: Request) -> str:
    kind, *what = request
    text = " ".join(map(str, what))
    names = {"cmu": "CMU", "abort": "abort upload", "delete": "DELETE", "part": "UploadPart"}
    return f"{names.get(str(kind), f'PUT {kind}')} {text}".rstrip()
