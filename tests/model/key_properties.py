"""The invariants at a chosen key, each as a predicate on one state (protocol.md section 9)."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.key_store import ANY, COMMIT, DONE, LOST, Key, World

_NEGATIVE = ("NOT_FOUND", "LOST", "ABORTED", "EXPIRED")


def invariants(world: World) -> Callable[[Key], str]:
    """I1, I2, I6, I7, I8, I9, I10, I16. The calls themselves report I1, I7, I10 and parts of I16."""

    def violated(store: Key) -> str:
        return (
            store.broken
            or _outcomes(world, store)
            or _order(world, store)
            or _answers(store)
            or _deletions(world, store)
        )

    return violated


def _outcomes(world: World, store: Key) -> str:
    for i, one in enumerate(store.sessions):
        if i in store.applied and store.decided[i] != COMMIT and world.specs[i].tombstone < 0:
            return f"I2: the object of session {i} was visible without a decision to COMMIT"
        if i in store.applied and one.done == LOST:
            return f"I8: LOST is the record of session {i}, which was applied"
    return ""


def _order(world: World, store: Key) -> str:
    """Generations in order, each on the one that its precondition names; the object is the last one's."""
    for i in store.claims:
        if store.claims.count(i) > 1 and store.decided[i] == COMMIT:
            return f"I16: session {i} has two generations"
    last, vacant = 0, True
    for i in store.applied:
        spec, number = world.specs[i], store.generations[i]
        if spec.tombstone >= 0 and not number:  # a plain DELETE, where the tombstone's rule was removed
            vacant = True
            continue
        if number <= last:
            return f"I16: session {i} (generation {number}) was applied behind generation {last}"
        if spec.tombstone >= 0 and (vacant or store.generations[spec.tombstone] != last):
            return f"I16: the tombstone {i} was applied behind generation {last}, which is not its target's"
        if spec.tombstone < 0 and spec.precondition != ANY and spec.precondition != (0 if vacant else last):
            return f"I16: session {i} was applied behind generation {last} against its precondition"
        last, vacant = number, spec.tombstone >= 0
    holder = -1 if vacant else store.applied[-1]
    if store.holds != holder:
        return f"I16: the key holds {store.holds}, and {holder} was applied last"
    return ""


def _answers(store: Key) -> str:
    successes: dict[int, str] = {}
    for i, answer in store.answers:
        if answer.startswith("OK") and successes.setdefault(i, answer) != answer:
            return f"I6: two successful answers for session {i}: {answer!r}, {successes[i]!r}"
        if answer in _NEGATIVE and store.holds == i:
            return f"I8: {answer} was answered for session {i}, and its object is there"
        if answer in _NEGATIVE and answer != "NOT_FOUND" and i in store.applied:
            return f"I8: {answer} was answered for session {i}, which was applied"
    return ""


def _deletions(world: World, store: Key) -> str:
    for i, spec in enumerate(world.specs):
        if spec.tombstone >= 0 and store.sessions[i].done == DONE and store.holds == spec.tombstone:
            return f"I9: the deletion {i} is done, and the object is there"
    return ""


def settled(world: World, fresh: int) -> Callable[[Key], str]:
    """What fresh replicas must be able to reach: all is finished, and ``fresh`` can take the key (I3, I9, I16)."""

    def unsettled(store: Key) -> str:
        for i, one in enumerate(store.sessions):
            if one.session and one.decision == COMMIT and not one.done:
                return f"I3: session {i} is decided COMMIT and can't be finished"
            if not one.session and (one.upload or one.multipart or one.decision or one.done or one.deleted):
                return f"I9: something of session {i} is left for ever"
            if one.session and i in store.applied and i != fresh:
                return f"I9: session {i}, replaced or deleted, is left for ever"
        if fresh not in store.applied:
            return "I16: the key is wedged: a new session can't take it"
        return ""

    return unsettled
