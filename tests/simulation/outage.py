"""``python -m tests.simulation.outage``: clients upload while the store is away for ten minutes of virtual time."""

from __future__ import annotations

import sys

from sealane.client import BackoffPolicy
from tests.simulation import actor
from tests.simulation.faults import Storm
from tests.simulation.plans import CHUNK, Deed, Plan, SessionPlan
from tests.simulation.run import play, prepare

TEN_MINUTES = 600.0
LONGEST_SECONDS = 1200.0
TTL_SECONDS = 720
"""Longer than the outage, and not so long that what a lost answer left open outlives the run."""


def outages() -> list[Plan]:
    """It begins before, in the middle of, and after the chunks; refused or asked for less, by all or by one service."""
    sessions = tuple(SessionPlan(3 * CHUNK - 1, told, TTL_SECONDS, stock) for stock, told in enumerate((True, False)))
    uploads = tuple(Deed("upload", number, 0.0, LONGEST_SECONDS) for number in range(len(sessions)))
    return [
        Plan(number, "seaweedfs", 1000, 250.0, sessions, uploads, storms=(Storm(who, start, TEN_MINUTES, kind),))
        for number, (who, start, kind) in enumerate(
            (who, start, kind)
            for who in ("", "ingest", "assembly")
            for start in (0.0, 0.05, 0.15, 0.3, 0.6)
            for kind in ("refused", "throttled")
        )
    ]


def main() -> int:
    prepare()
    actor.PATIENCE = BackoffPolicy()  # the SDK's own: other runs have no time for it
    struck, wrong = 0, []
    for plan in outages():
        result = play(plan)
        struck += sum(count for kind, count in result.fired.items() if kind.startswith("storm"))
        wrong += [f"{plan.storms[0]}: {violation}" for violation in result.violations]
        # A create whose answer was lost leaves a session behind, which expires.
        if result.outcomes["COMMIT"] != len(plan.sessions) or not set(result.outcomes) <= {"COMMIT", "EXPIRE"}:
            wrong.append(f"{plan.storms[0]}: {dict(result.outcomes)}")
    print(f"outages: {len(outages())}, calls that failed: {struck}, wrong: {len(wrong)}", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
