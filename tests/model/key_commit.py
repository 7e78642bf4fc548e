"""Programs at a chosen key: commit with its claim (protocol.md section 8), roll-forward, and the tombstone's deletion.

A local state is ``(place, …)``. ``then`` is where a roll-forward goes on, with its outcome appended: DONE, LOST or GONE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.checker import Local, Step
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
    change,
    delete_object,
    send,
    tombstones_done,
)

GONE = "GONE"
END: Local = ("end",)
Steps = Iterator[Step[Key]]


class Committer:
    """CommitSession of session ``i``, or DeleteSession where ``i`` is a tombstone. ``name`` tells its signatures."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._places: dict[str, Callable[..., Steps]] = {
            place.removeprefix("at_"): getattr(self, place) for place in dir(self) if place.startswith("at_")
        }

    def steps(self, store: Key, me: Local) -> list[Step[Key]]:
        place = self._places.get(str(me[0]))
        return [] if place is None else list(place(store, *me[1:]))

    def read(self, what: str, store: Key, then: Local) -> Step[Key]:
        return Step(what, store, then)

    def write(self, what: str, store: Key, kind: str, request: tuple[object, ...], known: Local, not_known: Local) -> Steps:
        for how, after, told in send(self.world, store, kind, request):
            yield Step(what + how, after, known if told else not_known)

    # --- C1 ---

    def at_c1_session(self, store: Key, i: int) -> Steps:
        there = store.sessions[i].session
        yield self.read(f"GET session {i}: {_is(there)}", store, ("c1_deleted", i) if there else ("say", i, "NOT_FOUND"))

    def at_c1_deleted(self, store: Key, i: int) -> Steps:
        there = store.sessions[i].deleted
        yield self.read(f"GET deleted {i}: {_is(there)}", store, ("say", i, "NOT_FOUND") if there else ("c1_done", i))

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
        count = len(store.claims)
        what = f"LIST claims: {','.join(map(str, store.claims)) or 'none'}"
        if i in store.claims and self.world.has("a session never claims twice"):
            yield self.read(what, store, ("decide", i))
        else:
            yield self.read(what, store, self._examine(store, i, count, count))

    def _examine(self, store: Key, i: int, count: int, number: int) -> Local:
        """Look at claim ``number`` of ``count``, from the newest down; 0: the key is vacant."""
        return ("h_session", i, count, number, store.claims[number - 1]) if number else ("claim", i, count, 0)

    def at_h_session(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        """Step 2, in C1's order; a claim of a session that is gone is void."""
        there = store.sessions[holder].session
        then: Local = ("h_done", i, count, number, holder)
        if not there and self.world.has("void: session.json is gone"):
            then = self._examine(store, i, count, number - 1)
        yield self.read(f"GET session {holder}: {_is(there)}", store, then)

    def at_h_done(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        done = store.sessions[holder].done
        then: Local = ("h_decision", i, count, number, holder)
        if done == DONE:
            then = ("holder", i, count, number, holder)
        elif done == LOST:
            then = self._void_or(store, "void: done.json says LOST", i, count, number, holder)
        yield self.read(f"GET done {holder}: {done or 'absent'}", store, then)

    def _void_or(self, store: Key, rule: str, i: int, count: int, number: int, holder: int) -> Local:
        if self.world.has(rule):
            return self._examine(store, i, count, number - 1)
        return ("holder", i, count, number, holder)

    def at_h_decision(self, store: Key, i: int, count: int, number: int, holder: int) -> Steps:
        decision = store.sessions[holder].decision
        then: Local
        if not decision:
            then = ("help", i, count, number, holder)
            if not self.world.has("help the undecided"):
                then = self._examine(store, i, count, number - 1)
        elif decision == COMMIT:
            then = ("h_again", i, count, number, holder)
            if not self.world.has("roll the holder forward first"):
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
        there = store.sessions[holder].session
        then: Local = self.finish(holder, ("h_rolled", i, count, number, holder))
        if not there and self.world.has("void: session.json is gone"):
            then = self._examine(store, i, count, number - 1)
        yield self.read(f"GET session {holder}: {_is(there)}", store, then)

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
                yield from self.at_refuse(store, i, holder)
            elif store.sessions[holder].cooled or not self.world.has("wait until a tombstone has cooled"):
                yield Step(f"the tombstone {holder} has cooled: vacant", store, ("claim", i, count, number))
            elif not store.sessions[holder].session:  # superseded: what was listed is no longer the end
                yield Step("KEY_COOLING: from the start", store, ("list", i))
            return
        if mine.content and mine.content == theirs.content:
            if self.world.has("identical bytes are decided DUPLICATE"):
                decision = f"DUPLICATE of {holder}"
                yield from self.write(
                    f"PUT decision {i} {decision}", store, "decision", ("decision", i, decision), ("obey", i), ("obey", i)
                )
            else:
                yield from self.at_say(store, i, f"OK: DUPLICATE of {holder}")
        elif holds:
            yield from self.at_claim(store, i, count, number)
        else:
            yield from self.at_refuse(store, i, holder)

    def at_refuse(self, store: Key, i: int, holder: int) -> Steps:
        """Before any negative answer: decision.json again, then session.json."""
        decision = store.sessions[i].decision
        then: Local = ("c5", i, decision) if decision else ("refuse_session", i, holder)
        yield self.read(f"GET decision {i}: {decision or 'absent'}", store, then)

    def at_refuse_session(self, store: Key, i: int, holder: int) -> Steps:
        there = store.sessions[i].session
        if there and holder >= 0 and holder not in store.applied:
            store = store._replace(broken=f"I16: GENERATION_MISMATCH names session {holder}, which never held the key")
        then: Local = END if there else ("say", i, "NOT_FOUND")
        yield self.read(f"GET session {i}: {_is(there)}" + (", GENERATION_MISMATCH" if there else ""), store, then)

    def at_claim(self, store: Key, i: int, count: int, holder: int) -> Steps:
        """Step 5: the highest number + 1, void or not; after 412 or an unknown outcome from the start."""
        mine = self.world.specs[i]
        if not holder and (mine.precondition > 0 or mine.tombstone >= 0):
            yield from self.at_refuse(store, i, -1)
            return
        number = (count if self.world.has("claim the highest number + 1") else holder) + 1
        what = f"PUT claim {number} of {i}"
        won = len(store.claims) == number - 1
        yield from self.write(
            what + ("" if won else ": 412"), store, "claim", ("claim", number, i), ("decide", i) if won else ("list", i), ("list", i)
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
        there = store.sessions[i].session
        then: Local
        if not there and self.world.has("a decision counts only before session.json"):
            then = ("say", i, "NOT_FOUND")
        elif decision == COMMIT:
            then = self.finish(i, ("rolled", i))
        else:
            then = ("say", i, {ABORT: "ABORTED", EXPIRE: "EXPIRED"}.get(decision, f"OK: {decision}"))
        yield self.read(f"GET session {i}: {_is(there)}", store, then)

    def at_rolled(self, store: Key, i: int, outcome: str) -> Steps:
        yield from self.at_say(store, i, {DONE: "OK", LOST: "LOST", GONE: "NOT_FOUND"}[outcome])

    def at_say(self, store: Key, i: int, answer: str) -> Steps:
        one = store.sessions[i]
        if answer == "OK":
            if one.session and one.done != DONE:
                store = store._replace(broken=f"I7: success of session {i} before its done.json")
            answer = f"OK: generation {store.generations[i]}"
        yield Step(f"answer of {i}: {answer}", answered(store, i, answer), END)

    # --- C6, C7 ---

    def finish(self, i: int, then: Local) -> Local:
        return ("sign", i, then) if self.world.specs[i].tombstone >= 0 else ("cmu", i, then)

    def at_cmu(self, store: Key, i: int, then: Local) -> Steps:
        lives = store.sessions[i].upload
        if lives:
            yield from self.write(f"CMU {i}", store, "cmu", ("cmu", i), ("head", i, False, then), ("head", i, True, then))
        else:
            yield Step(f"CMU {i}: NoSuchUpload", store, ("head", i, False, then))

    def at_head(self, store: Key, i: int, unknown: bool, then: Local) -> Steps:
        ours = store.object == i
        go: Local = ("put_done", i, then) if ours else ("cmu", i, then) if unknown else ("parts", i, then)
        yield self.read(f"HEAD: {_whose(store)}", store, go)

    def at_parts(self, store: Key, i: int, then: Local) -> Steps:
        lives = store.sessions[i].upload
        yield self.read(f"ListParts {i}: {_is(lives)}", store, ("cmu", i, then) if lives else ("head_gone", i, then))

    def at_head_gone(self, store: Key, i: int, then: Local) -> Steps:
        go: Local = ("put_done", i, then) if store.object == i else ("lost_done", i, then)
        yield self.read(f"HEAD: {_whose(store)}", store, go)

    def at_lost_done(self, store: Key, i: int, then: Local) -> Steps:
        done = store.sessions[i].done
        yield self.read(f"GET done {i}: {done or 'absent'}", store, (*then, done) if done else ("lost_session", i, then))

    def at_lost_session(self, store: Key, i: int, then: Local) -> Steps:
        there = store.sessions[i].session
        yield self.read(f"GET session {i}: {_is(there)}", store, ("put_lost", i, then) if there else (*then, GONE))

    def at_put_lost(self, store: Key, i: int, then: Local) -> Steps:
        again: Local = ("read_done", i, LOST, then)
        yield from self.write(f"PUT done {i} LOST", store, "done", ("done", i, LOST), again, again)

    def at_put_done(self, store: Key, i: int, then: Local) -> Steps:
        again: Local = ("read_done", i, DONE, then)
        yield from self.write(f"PUT done {i}", store, "done", ("done", i, DONE), again, again)

    def at_read_done(self, store: Key, i: int, ours: str, then: Local) -> Steps:
        done = store.sessions[i].done
        go: Local = (*then, done) if done else ("put_done" if ours == DONE else "put_lost", i, then)
        yield self.read(f"GET done {i}: {done or 'absent'}", store, go)

    # --- a tombstone's C6: sign the DELETE, HEAD, send it, HEAD ---

    def at_sign(self, store: Key, i: int, then: Local) -> Steps:
        if self.world.has("sign the DELETE before HEAD"):
            yield Step(f"sign DELETE {i}", self._sign(store, i), ("t_head", i, then))
        else:
            yield from self.at_t_head(store, i, then)

    def _sign(self, store: Key, i: int) -> Key:
        others = frozenset(s for s in store.signed if s[0] != self.name)
        return store._replace(signed=others | {(self.name, i, tombstones_done(self.world, store))})

    def _unsigned(self, store: Key) -> Key:
        return store._replace(signed=frozenset(s for s in store.signed if s[0] != self.name))

    def at_t_head(self, store: Key, i: int, then: Local) -> Steps:
        target = self.world.specs[i].tombstone
        if store.object == target or (store.object >= 0 and not self.world.has("a foreign token is not deleted")):
            go: Local = ("t_send", i, then) if self.world.has("sign the DELETE before HEAD") else ("t_sign", i, then)
            yield Step(f"HEAD: {_whose(store)}", store, go)
        else:
            yield Step(f"HEAD: {_whose(store)}", self._unsigned(store), ("put_done", i, then))

    def at_t_sign(self, store: Key, i: int, then: Local) -> Steps:
        """Only where the rule was removed: the signature comes after HEAD."""
        yield Step(f"sign DELETE {i}", self._sign(store, i), ("t_send", i, then))

    def at_t_send(self, store: Key, i: int, then: Local) -> Steps:
        target = self.world.specs[i].tombstone
        mine = next((s for s in store.signed if s[0] == self.name and s[1] == i), None)
        if mine is None:
            yield Step(f"DELETE {i}: 403, signed too long ago", store, ("sign", i, then))
            return
        again: Local = ("t_again", i, then)
        if not self.world.has("HEAD 404 before done.json of a tombstone"):
            again = ("put_done", i, then)
        for how, after, _ in send(self.world, store, "delete", ("delete", i, target, mine[2])):
            yield Step(f"DELETE object of {target}{how}", self._unsigned(after), again)

    def at_t_again(self, store: Key, i: int, then: Local) -> Steps:
        there = store.object == self.world.specs[i].tombstone
        yield self.read(f"HEAD: {_whose(store)}", store, ("sign", i, then) if there else ("put_done", i, then))


def _is(there: bool) -> str:
    return "there" if there else "gone"


def _whose(store: Key) -> str:
    return f"object of {store.object}" if store.object >= 0 else "404"


__all__ = ["END", "GONE", "Committer", "change", "delete_object"]
