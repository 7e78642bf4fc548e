"""``make model``: every instance, then every mutation.

``python -m tests.model trace TEXT`` shows how it breaks without the rules that contain the text.
"""

from __future__ import annotations

import sys

from tests.model.checker import Verdict
from tests.model.mutations import INSTANCES, NOT_EXPRESSED, RULES, STORE, Mutation

_ROW = "{:38} {:>7} {:>11} {:>12} {:>8}  {}"
_MUTATION = "{:>2}  {:56} {:36} {:4} {:>5}  {}"


def prove() -> bool:
    """Every instance with its answers lost. True if all of them hold."""
    print(_ROW.format("instance", "losses", "states", "transitions", "CPU s", "properties"))
    total = Verdict()
    holds = True
    for instance in INSTANCES.values():
        verdict = instance.run()
        said = f"{instance.properties} hold: {instance.says}"
        print(_row(instance.name, instance.losses, verdict, verdict.violation or said), flush=True)
        for line in verdict.trace:
            print("      ", line)
        holds &= not verdict.violation
        total.states += verdict.states
        total.transitions += verdict.transitions
        total.seconds += verdict.seconds
    print(_row(f"{len(INSTANCES)} instances", "", total, ""))
    return holds


def _row(name: str, losses: object, verdict: Verdict, said: str) -> str:
    states, transitions = f"{verdict.states:,}", f"{verdict.transitions:,}"
    return _ROW.format(name, losses, states, transitions, f"{verdict.seconds:.1f}", said)


def mutate(mutations: tuple[Mutation, ...]) -> bool:
    """Each rule removed. True if each is noticed, by the invariant that is expected."""
    print(_MUTATION.format("§", "without", "instance", "", "calls", "breaks"))
    noticed = True
    for mutation in mutations:
        verdict = mutation.run()
        fine = verdict.violation.startswith(f"{mutation.breaks}:")
        said = verdict.violation or "NOT NOTICED"
        rule = mutation.rule + (" (and what backs it)" if mutation.also else "")
        lost = f"+{mutation.losses}" if mutation.losses else ""
        print(_MUTATION.format(mutation.where, rule, mutation.instance, lost, verdict.calls, said), flush=True)
        noticed &= fine
    return noticed


def trace(text: str) -> None:
    """The shortest way to a violation without each rule that contains ``text``."""
    for mutation in (*RULES, *STORE):
        if text in mutation.rule:
            verdict = mutation.run()
            print(f"{mutation.instance}, without {mutation.rule!r}: {verdict.violation}")
            for line in verdict.trace:
                print("   ", line)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["trace"]:
        trace(" ".join(arguments[1:]))
        return 0
    holds = True
    if arguments[:1] != ["mutations"]:
        holds = prove()
        print()
    print("A rule removed (calls: the length of the shortest way; +1: with one call without an answer)")
    noticed = mutate(RULES)
    print("\nA guarantee of the store removed")
    noticed &= mutate(STORE)
    print("\nRules that the model does not express, and where they are tested")
    for rule, why in NOT_EXPRESSED:
        print(f"    {rule}: {why}")
    print(
        f"\n{'every instance holds' if holds else 'AN INSTANCE IS VIOLATED'}, "
        f"{'every removed rule is noticed' if noticed else 'A REMOVED RULE IS NOT NOTICED'}"
    )
    return 0 if holds and noticed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
