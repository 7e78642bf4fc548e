"""C6 and C7 at a chosen key, which any program may run: the roll-forward of a commit, and of a tombstone's deletion.

``then`` is where it goes on, with the outcome appended: DONE, LOST or GONE.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.checker import Local, Step
from tests.model.key_store import DONE, LOST, Key, World, send, tombstones_done
from tests.model.program import Program, there

GONE = "GONE"
Steps = Iterator[Step[Key]]


class KeyProgram(Program[Key]):
    """Calls that all of them make, and the roll-forward, which any of them may run. The name tells its signatures."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def has(self, rule: str) -> bool:
        return self.world.has(rule)

    def read(self, what: str, store: Key, then: Local) -> Step[Key]:
        return Step(what, store, then)

    def write(
        self, what: str, store: Key, kind: str, request: tuple[object, ...], known: Local, not_known: Local
    ) -> Steps:
        for how, after, told in send(self.world, store, kind, request):
            yield Step(what + how, after, known if told else not_known)

    # --- C6, C7 ---

    def finish(self, i: int, then: Local) -> Local:
        return ("sign", i, then) if self.world.specs[i].tombstone >= 0 else ("cmu", i, then)

    def at_cmu(self, store: Key, i: int, then: Local) -> Steps:
        lives = store.sessions[i].upload
        if lives:
            yield from self.write(
                f"CMU {i}", store, "cmu", ("cmu", i), ("head", i, False, then), ("head", i, True, then)
            )
        else:
            yield Step(f"CMU {i}: NoSuchUpload", store, ("head", i, False, then))

    def at_head(self, store: Key, i: int, unknown: bool, then: Local) -> Steps:
        ours = store.holds == i
        go: Local = ("put_done", i, then) if ours else ("cmu", i, then) if unknown else ("parts", i, then)
        yield self.read(f"HEAD: {whose(store)}", store, go)

    def at_parts(self, store: Key, i: int, then: Local) -> Steps:
        lives = store.sessions[i].upload
        yield self.read(f"ListParts {i}: {there(lives)}", store, ("cmu", i, then) if lives else ("head_gone", i, then))

    def at_head_gone(self, store: Key, i: int, then: Local) -> Steps:
        go: Local = ("put_done", i, then) if store.holds == i else ("lost_done", i, then)
        yield self.read(f"HEAD: {whose(store)}", store, go)

    def at_lost_done(self, store: Key, i: int, then: Local) -> Steps:
        done = store.sessions[i].done
        yield self.read(
            f"GET done {i}: {done or 'absent'}", store, (*then, done) if done else ("lost_session", i, then)
        )

    def at_lost_session(self, store: Key, i: int, then: Local) -> Steps:
        found = store.sessions[i].session
        yield self.read(f"GET session {i}: {there(found)}", store, ("put_lost", i, then) if found else (*then, GONE))

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
        if self.has("sign the DELETE before HEAD"):
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
        if store.holds == target or (store.holds >= 0 and not self.has("a foreign token is not deleted")):
            go: Local = ("t_send", i, then) if self.has("sign the DELETE before HEAD") else ("t_sign", i, then)
            yield Step(f"HEAD: {whose(store)}", store, go)
        else:
            yield Step(f"HEAD: {whose(store)}", self._unsigned(store), ("put_done", i, then))

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
        if not self.has("HEAD 404 before done.json of a tombstone"):
            again = ("put_done", i, then)
        for how, after, _ in send(self.world, store, "delete", ("delete", i, target, mine[2])):
            yield Step(f"DELETE object of {target}{how}", self._unsigned(after), again)

    def at_t_again(self, store: Key, i: int, then: Local) -> Steps:
        found = store.holds == self.world.specs[i].tombstone
        yield self.read(f"HEAD: {whose(store)}", store, ("sign", i, then) if found else ("put_done", i, then))


def whose(store: Key) -> str:
    return f"object of {store.holds}" if store.holds >= 0 else "404"
