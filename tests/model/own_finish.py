"""C6 and C7 at a key of its own, with the table of protocol.md section 6: any program may run this roll-forward.

``then`` is where it goes on, with the outcome appended: DONE, LOST, GONE or NEEDED.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.checker import Local, Step
from tests.model.own_store import (
    DONE,
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
_RETAGGED = "InvalidPart: the same bytes under another ETag"
Steps = Iterator[Step[Own]]


class OwnProgram(Program[Own]):
    """Calls that all of them make, and the roll-forward, which any of them may run."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def has(self, rule: str) -> bool:
        return self.world.has(rule)

    def write(
        self, store: Own, request: Request, known: Local, not_known: Local | None = None, note: str = ""
    ) -> Steps:
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
        over = store.limit  # the clock is read, and then CMU is asked
        no_such: Local = ("head", decision, "NoSuchUpload", over, then)
        if living is None:
            answer = "again" if not self.has("R5") else "NoSuchUpload"
            yield from self.write(store, ("cmu", upload, version), no_such, no_such, note=f": {answer}")
            return
        if self.world.spurious:
            yield Step(f"CMU {upload}: NoSuchUpload, though it lives", store, no_such)
        if living[1] != version and self.has("R3"):
            yield Step(f"CMU {upload} {version}: InvalidPart", store, ("head", decision, "InvalidPart", over, then))
        else:
            ok: Local = ("head", decision, "200", over, then)
            yield from self.write(store, ("cmu", upload, version), ok, ("head", decision, "unknown", over, then))

    def at_head(self, store: Own, decision: Decision, refused: str, over: bool, then: Local) -> Steps:
        """CMU's answer alone is no proof."""
        go: Local
        if store.object:
            go = ("put_done", DONE, then)
        elif refused == "NoSuchUpload":
            go = ("gone", decision, over, then)
            if not self.has("LOST: ListParts must agree"):
                go = ("lost_done", decision, then)
        elif refused == "InvalidPart":
            go = ("parts", decision, over, then)
        else:
            go = self.finish(decision, then)
        yield Step(f"HEAD: {there(store.object)}", store, go)

    def at_gone(self, store: Own, decision: Decision, over: bool, then: Local) -> Steps:
        lives = upload_of(store, decision[2]) is not None
        go: Local = ("parts", decision, over, then)
        if not lives:
            go = ("head_gone", decision, then) if self.has("LOST: gone, then HEAD") else ("lost_done", decision, then)
        yield Step(f"ListParts {decision[2]}: {'lives' if lives else 'NoSuchUpload'}", store, go)

    def at_head_gone(self, store: Own, decision: Decision, then: Local) -> Steps:
        go: Local = ("put_done", DONE, then) if store.object else ("lost_done", decision, then)
        yield Step(f"HEAD: {there(store.object)}", store, go)

    def at_parts(self, store: Own, decision: Decision, over: bool, then: Local) -> Steps:
        """InvalidPart: the newest row. ``over``: the time to mend was over before CMU was asked."""
        living = upload_of(store, decision[2])
        go: Local
        if living is None or (living[1] == decision[3] and self.has("give up: only if a part differs")):
            go = self.finish(decision, then)
        elif living[1][:1] == decision[3][0] and living[1] != decision[3] and self.has(_RETAGGED):
            go = ("cmu", decision, living[1], then)
        elif not self.has("give up: the clock is read before CMU"):
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


def _verb(request: Request) -> str:
    kind, *what = request
    text = " ".join(map(str, what))
    names = {"cmu": "CMU", "abort": "abort upload", "delete": "DELETE", "part": "UploadPart"}
    return f"{names.get(str(kind), f'PUT {kind}')} {text}".rstrip()
