"""Commit at a key that the caller chose, with its claim (protocol.md section 8), and the deletion there, likewise."""

from __future__ import annotations

from tests.model.checker import Local, Step
from tests.model.key_finish import GONE, KeyProgram, Steps, whose
from tests.model.key_store import (
    ABORT,
    ANY,
    COMMIT,
    DONE,
    EXPIRE,
    LOST,
    Key,
    World,
    answered,
    delete_object,
    opened,
    touch,
)
from tests.model.program import END, there


class Committer(KeyProgram):
    """CommitSession of session ``i``, or DeleteSession where ``i`` is a tombstone. ``opens``: ingest comes first."""

    def __init__(self, world: World, name: str, session: int, *, opens: bool = False) -> None:
        super().__init__(world, name)
        self.start = ("open" if opens else "c1_session", session)

    # --- what ingest does first ---

    def at_open(self, store: Key, i: int) -> Steps:
        yield Step(f"PUT session {i}", opened(store, i, session=True), ("open_upload", i))

    def at_open_upload(self, store: Key, i: int) -> Steps:
        yield Step(f"CreateMultipartUpload of {i}", opened(store, i, upload=True), ("open_multipart", i))

    def at_open_multipart(self, store: Key, i: int) -> Steps:
        yield Step(f"PUT multipart of {i}", opened(store, i, multipart=True), ("c1_session", i))

    # --- C1 ---

    def at_c1_session(self, store: Key, i: int) -> Steps:
        found = store.sessions[i].session
        yield self.read(
            f"GET session {i}: {there(found)}", store, ("c1_deleted", i) if found else ("say", i, "NOT_FOUND")
        )

    def at_c1_deleted(self, store: Key, i: int) -> Steps:
        found = store.sessions[i].deleted
        yield self.read(f"GET deleted {i}: {there(found)}", store, ("say", i, "NOT_FOUND") if found else ("c1_done", i))

    def at_c1_done(self, store: Key, i: int) -> Steps:
        done = store.sessions[i].done
        then: Local = ("say", i, "OK" if done == DONE else "LOST") if done else ("c1_decision", i)
        yield self.read(f"GET done {i}: {done or 'absent'}", store, then)

    def at_c1_decision(self, store: Key, i: int) -> Steps:
        decision = store.sessions[i].decision
        then: Local = ("c5", i, decision) if decision else ("list", i)
        yield self.read(f"GET decision {i}: {decision or 'absent'}", store, then)

    # --- section 8: the claim ---

    def at_list(self, store: Key, i: int) -> Steps:
        """Step 1: LIST the claims, with their bodies."""
        if self.world.specs[i].tombstone >= 0 and not self.has("a deletion at a chosen key is a tombstone"):
            found = store.holds == self.world.specs[i].tombstone
            yield self.read(f"HEAD: {whose(store)}", store, ("plain_delete", i) if found else END)
            return
        count = len(store.claims)
        what = f"LIST claims: {','.join(map(str, store.claims)) or 'none'}"
        if i in store.claims and self.has("a session never claims twice"):
            yield self.read(what, store, ("decide", i))
        else:
            yield self.read(what, store, self._examine(store, i, count, count))

    def at_plain_delete(self, store: Key, i: int) -> Steps:
        """Only where the rule was removed: as at a key of its own."""
        target = self.world.specs[i].tombstone
        yield Step(f"DELETE object of {target}", delete_object(store, i, target), END)

    def _examine(self, store: Key, i: int, count: int, number: int) -> Local:
        """Look at claim ``number`` of ``count``, from the newest down; 0: the key is vacant."""
        return ("h_session", i, count, number, store.claims[number - 1]) if number else ("claim", i, count, 0)

    def at_h_session(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        """Step 2, in C1's order; a claim of a session that is gone is void."""
        found = store.sessions[holder].session
        then: Local = ("h_done", i, count, number, holder)
        if not found and self.has("void: session.json is gone"):
            then = self._examine(store, i, count, number - 1)
        yield self.read(f"GET session {holder}: {there(found)}", store, then)

    def at_h_done(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        done = store.sessions[holder].done
        then: Local = ("h_decision", i, count, number, holder)
        if done == DONE:
            then = ("holder", i, count, number, holder)
        elif done == LOST:
            then = self._void_or(store, "void: done.json says LOST", i, count, number, holder)
        yield self.read(f"GET done {holder}: {done or 'absent'}", store, then)

    def _void_or(self, store: Key, rule: str, i: int, count: int, number: int, holder: int) -> Local:
        if self.has(rule):
            return self._examine(store, i, count, number - 1)
        return ("holder", i, count, number, holder)

    def at_h_decision(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        decision = store.sessions[holder].decision
        then: Local
        if not decision:
            then = ("help", i, count, number, holder)
            if not self.has("help the undecided"):
                then = self._examine(store, i, count, number - 1)
        elif decision == COMMIT:
            then = ("h_again", i, count, number, holder)
            if not self.has("roll the holder forward first"):
                then = ("holder", i, count, number, holder)
        else:
            then = self._void_or(store, "void: the decision is not COMMIT", i, count, number, holder)
        yield self.read(f"GET decision {holder}: {decision or 'absent'}", store, then)

    def at_help(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        """The claim's body is its session's proposed decision; what stands then is obeyed."""
        again: Local = ("h_decision", i, count, number, holder)
        yield from self.write(
            f"PUT decision {holder} COMMIT (help)", store, "decision", ("decision", holder, COMMIT), again, again
        )

    def at_h_again(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        """A decision counts only if session.json is read after it. Step 3: roll the holder forward first."""
        found = store.sessions[holder].session
        then: Local = self.finish(holder, ("h_rolled", i, count, number, holder))
        if not found and self.has("void: session.json is gone"):
            then = self._examine(store, i, count, number - 1)
        yield self.read(f"GET session {holder}: {there(found)}", store, then)

    def at_h_rolled(self, store: Key, i: int, count: int, number: int, holder: int, outcome: str) -> Steps:
        then: Local = ("holder", i, count, number, holder)
        if outcome == LOST:
            then = self._void_or(store, "void: done.json says LOST", i, count, number, holder)
        elif outcome == GONE:
            then = self._void_or(store, "void: session.json is gone", i, count, number, holder)
        yield from self.steps(store, then)  # no call between

    def at_holder(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        """Step 4: the precondition; identical bytes; a tombstone means vacant, once it has cooled."""
        mine, theirs = self.world.specs[i], self.world.specs[holder]
        holds = mine.precondition in (ANY, number) if mine.tombstone < 0 else mine.tombstone == holder
        if theirs.tombstone >= 0:
            if mine.precondition > 0 or mine.tombstone >= 0:
                yield from self.at_moved(store, i, count, ("refuse", i, holder))
            elif store.sessions[holder].cooled or not self.has("wait until a tombstone has cooled"):
                yield Step(f"the tombstone {holder} has cooled: vacant", store, ("claim", i, count, number))
            elif not store.sessions[holder].session:  # superseded: what was listed is no longer the end
                yield Step("KEY_COOLING: from the start", store, ("list", i))
            return
        if mine.content and mine.content == theirs.content:
            yield from self.at_moved(store, i, count, ("duplicate", i, holder))
        elif holds:
            yield from self.at_claim(store, i, count, number)
        else:
            yield from self.at_moved(store, i, count, ("refuse", i, holder))

    def at_moved(self, store: Key, i: int, count: int, then: Local) -> Steps:
        """An answer, and no claim, follows: only if the log is still as it was listed."""
        if self.has("LIST the claims again before an answer"):
            grown = len(store.claims) > count
            yield self.read(
                f"LIST claims behind {count}: {'more' if grown else 'none'}", store, ("list", i) if grown else then
            )
        else:
            yield from self.steps(store, then)

    def at_duplicate(self, store: Key, i: int, holder: int) -> Steps:
        if not self.has("identical bytes are decided DUPLICATE"):
            yield from self.at_say(store, i, f"OK: DUPLICATE of {holder}")
            return
        obey: Local = ("obey", i)
        what, request = f"PUT decision {i} DUPLICATE of {holder}", ("decision", i, f"DUPLICATE of {holder}")
        yield from self.write(what, store, "decision", request, obey, obey)

    def at_refuse(self, store: Key, i: int, holder: int) -> Steps:
        """Before any negative answer: decision.json again, then session.json."""
        if not self.has("before a negative answer: decision.json, session.json"):
            yield from self.at_refuse_session(store, i, holder)
            return
        decision = store.sessions[i].decision
        then: Local = ("c5", i, decision) if decision else ("refuse_session", i, holder)
        yield self.read(f"GET decision {i}: {decision or 'absent'}", store, then)

    def at_refuse_session(self, store: Key, i: int, holder: int) -> Steps:
        found = store.sessions[i].session
        if found and holder >= 0 and holder not in store.applied:
            store = store._replace(broken=f"I16: GENERATION_MISMATCH names session {holder}, which never held the key")
        elif found and holder < 0 and self.world.held and not self._ever_vacant(store):
            store = store._replace(broken=f"I16: GENERATION_MISMATCH tells session {i} of a vacancy that never was")
        elif found and store.decided[i] == COMMIT:
            store = store._replace(broken=f"I16: GENERATION_MISMATCH is answered of session {i}, which is committed")
        then: Local = END if found else ("say", i, "NOT_FOUND")
        yield self.read(f"GET session {i}: {there(found)}" + (", GENERATION_MISMATCH" if found else ""), store, then)

    def _ever_vacant(self, store: Key) -> bool:
        return any(self.world.specs[i].tombstone >= 0 for i in store.applied)

    def at_claim(self, store: Key, i: int, count: int, holder: int) -> Steps:
        """Step 5: the highest number + 1, void or not; after 412 or an unknown outcome from the start."""
        mine = self.world.specs[i]
        if not holder and (mine.precondition > 0 or mine.tombstone >= 0):
            yield from self.at_moved(store, i, count, ("refuse", i, -1))
            return
        number = (count if self.has("claim the highest number + 1") else holder) + 1
        what = f"PUT claim {number} of {i}"
        won = len(store.claims) == number - 1
        yield from self.write(
            what + ("" if won else ": 412"),
            store,
            "claim",
            ("claim", number, i),
            ("decide", i) if won else ("list", i),
            ("list", i),
        )

    def at_decide(self, store: Key, i: int) -> Steps:
        yield from self.write(
            f"PUT decision {i} COMMIT", store, "decision", ("decision", i, COMMIT), ("obey", i), ("obey", i)
        )

    def at_obey(self, store: Key, i: int) -> Steps:
        decision = store.sessions[i].decision
        then: Local = ("c5", i, decision) if decision else ("c1_session", i)
        yield self.read(f"GET decision {i}: {decision or 'absent'}", store, then)

    def at_c5(self, store: Key, i: int, decision: str) -> Steps:
        found = store.sessions[i].session
        then: Local
        if not found and self.has("a decision counts only before session.json"):
            then = ("say", i, "NOT_FOUND")
        elif decision == COMMIT:
            then = self.finish(i, ("rolled", i))
        else:
            then = ("say", i, {ABORT: "ABORTED", EXPIRE: "EXPIRED"}.get(decision, f"OK: {decision}"))
        yield self.read(f"GET session {i}: {there(found)}", store, then)

    def at_rolled(self, store: Key, i: int, outcome: str) -> Steps:
        if outcome == DONE and not self.has("C8: no tags, no copies"):
            yield Step(f"tag the object of {i}", touch(store, i), ("say", i, "OK"))
            return
        yield from self.at_say(store, i, {DONE: "OK", LOST: "LOST", GONE: "NOT_FOUND"}[outcome])

    def at_say(self, store: Key, i: int, answer: str) -> Steps:
        one = store.sessions[i]
        if answer == "OK":
            if one.session and one.done != DONE:
                store = store._replace(broken=f"I7: success of session {i} before its done.json")
            answer = f"OK: generation {store.generations[i]}"
        yield Step(f"answer of {i}: {answer}", answered(store, i, answer), END)
