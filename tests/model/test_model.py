"""The model in short: every removed rule is noticed, two instances are walked to their end, and the checker checks.

``make model`` walks all instances, with answers lost.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.model.checker import Actor, Local, Model, Step, check
from tests.model.mutations import INSTANCES, RULES, STORE, Mutation


@pytest.mark.parametrize("mutation", [*RULES, *STORE], ids=lambda m: f"{m.rule} [{m.instance}]")
def test_without_a_rule_the_model_breaks_the_invariant_that_it_guards(mutation: Mutation) -> None:
    verdict = mutation.run()
    assert verdict.violation.startswith(f"{mutation.breaks}: ")
    assert verdict.trace


@pytest.mark.parametrize("name", ["commit ‖ late chunk", "delete ‖ commit retry at a chosen key"])
def test_an_instance_holds_with_an_answer_lost(name: str) -> None:
    """I1 to I11 at a key of its own; I1, I2, I3, I6 to I10 and I16 with a tombstone at a chosen key."""
    verdict = INSTANCES[name].run(losses=1)
    assert verdict.violation == ""
    assert verdict.states > 50_000


def test_every_mutation_is_of_an_instance_that_holds_with_all_rules() -> None:
    """The smallest ones: the others are walked by ``make model``."""
    small = ("create ‖ sweep", "commit ‖ abort", "delete ‖ commit", "commit ‖ expire ‖ create", "identical bytes")
    assert {name: INSTANCES[name].run(losses=0).violation for name in small} == dict.fromkeys(small, "")


def test_what_must_hold_is_named_for_the_races_that_must_be_walked() -> None:
    races = (
        "commit ‖ commit",
        "commit ‖ abort",
        "commit ‖ expire",
        "commit ‖ late chunk",
        "replace ‖ replace",
        "delete ‖ commit retry",
        "multipart.json race ‖ commit",
    )
    assert set(races) <= set(INSTANCES)


class Counter(NamedTuple):
    value: int = 0


def _increment(store: Counter, me: Local) -> list[Step[Counter]]:
    """Read, then write what was read + 1: two of them lose an update."""
    if me[0] == "read":
        return [Step("read", store, ("write", store.value))]
    if me[0] == "write":
        return [Step("write", Counter(int(str(me[1])) + 1), ("end",))]
    return []


def test_the_checker_finds_a_shortest_way_to_what_must_not_be() -> None:
    actors = [Actor(name, ("read",), _increment) for name in ("A", "B", "C")]
    verdict = check(Model(Counter(), actors, lambda store: "three" if store.value == 3 else ""))
    assert (verdict.violation, verdict.calls) == ("three", 6)
    assert [line.split()[-1] for line in verdict.trace[:6]] == ["read", "write"] * 3


def test_the_checker_walks_every_interleaving_and_each_state_once() -> None:
    actors = [Actor(name, ("read",), _increment) for name in ("A", "B")]
    verdict = check(Model(Counter(), actors, lambda _: ""))
    # A and B each before, between and behind their calls, with what they read.
    assert (verdict.violation, verdict.states, verdict.stores) == ("", 12, 3)


def test_the_checker_finds_what_fresh_replicas_cannot_settle() -> None:
    def settled(store: Counter) -> str:
        return "" if store.value == 2 else "stuck"

    def only_from_one(store: Counter, me: Local) -> list[Step[Counter]]:
        return [Step("finish", Counter(2), ("end",))] if store.value == 1 and me == ("fresh",) else []

    one = [Actor("A", ("read",), _increment)]
    recovery = [Actor("fresh", ("fresh",), only_from_one)]
    stuck = check(Model(Counter(), one, lambda _: "", recovery, settled))
    assert stuck.violation == "stuck"
    fine = check(Model(Counter(1), one, lambda _: "", recovery, settled))
    assert fine.violation == ""
