"""Where some seeds lean: situations in which one guard of the protocol is the last, and which chance seldom makes.

Each takes a plan and gives it the deeds and faults that lead there; what else goes wrong in it stays, or a part of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.simulation.faults import SHOWS_WITHIN, StoreFault
from tests.simulation.plans import CHUNK, Deed, Plan, SessionPlan

SHARE = 0.3
"""How many seeds lean anywhere."""


def _deed(rng: random.Random, kind: str, start: float = 0.0, seconds: float = 400.0) -> Deed:
    return Deed(kind, 0, start + 0.2 * rng.random(), seconds, rng.choice((1, 2)), rng.choice((1, 2, 4)))


def _own(rng: random.Random, plan: Plan, *, chunks: int = 2) -> Plan:
    """One session at a key of its own, of that many chunks."""
    size = max(0, chunks - 1) * CHUNK + rng.choice((1, 100, CHUNK)) if chunks else 0
    return replace(plan, sessions=(SessionPlan(size, rng.random() < 0.5, 60, rng.randrange(3)),), deeds=())


def _fault(
    op: str, part: str, kind: str, seconds: float = 0.0, *, nth: int = 1, times: int = 1, who: str = ""
) -> StoreFault:
    return StoreFault(who, op, part, nth, times, kind, seconds)


def purged_meanwhile(rng: random.Random, plan: Plan) -> Plan:
    """Somebody stands still, or a write is late, until others have given the session up and purged it."""
    plan = replace(_own(rng, plan, chunks=rng.choice((0, 1, 2))), pace=rng.choice((20.0, 60.0)))
    op, part = rng.choice(
        (
            *(("put", "/decision.json"), ("put", "/decision.json"), ("put", "/done.json"), ("put", "/multipart.json")),
            *(("complete_multipart", ""), ("get", "/session.json"), ("get", "/decision.json"), ("upload_part", "")),
        )
    )
    kind = "pause_before" if op == "get" else rng.choice(("late", "pause_before", "slow"))
    nth, who = rng.choice((1, 1, 2, 3)), rng.choice(("", "assembly-0", "assembly-1"))
    return replace(
        plan,
        deeds=(
            _deed(rng, "create_and_upload"),
            _deed(rng, "abort", rng.choice((0.3, 1.0, 20.0))),
            _deed(rng, "commit", rng.choice((0.1, 1.0))),
            *(_deed(rng, kind, 260.0 * rng.random()) for kind in rng.sample(("poll", "commit", "watch"), 2)),
        ),
        faults=(_fault(op, part, kind, rng.uniform(150.0, 890.0), nth=nth, who=who), *plan.faults[:2]),
        storms=(),
    )


def done_unheard(rng: random.Random, plan: Plan) -> Plan:
    """CompleteMultipartUpload has its effect and nobody hears of it, or it comes after somebody has looked."""
    plan = _own(rng, plan)
    kind = rng.choice(("shows_late", "shows_late", "lost", "error200", "late", "slow_answer"))
    seconds = rng.uniform(0.05, SHOWS_WITHIN) if kind == "shows_late" else rng.choice((0.05, 0.5, 2.0, 8.0))
    faults = [
        _fault("complete_multipart", "", kind, seconds, times=rng.choice((1, 2))),
        _fault(
            "head",
            "/by-session/",
            rng.choice(("refused", "slow", "slow_answer", "throttled")),
            rng.uniform(0.1, 3.0),
            nth=rng.choice((1, 2, 3)),
            times=rng.choice((1, 2)),
        ),
    ]
    if rng.random() < 0.5:
        faults.append(
            _fault("complete_multipart", "", rng.choice(("crash_after", "slow")), rng.choice((0.2, 2.0)), nth=2)
        )
    commits = tuple(_deed(rng, "commit", rng.choice((0.1, 0.3, 0.4, 1.0))) for _ in range(rng.choice((1, 2, 3))))
    return replace(
        plan, deeds=(_deed(rng, "create_and_upload"), *commits), faults=(*faults, *plan.faults[:1]), storms=()
    )


def finished_by_another(rng: random.Random, plan: Plan) -> Plan:
    """A committer is told that the upload is gone, which it is not, and another completes it, and dies."""
    plan = replace(_own(rng, plan, chunks=1), page=1000)
    twins = [_deed(rng, rng.choice(("twin", "commit")), 0.2 + 0.4 * rng.random()) for _ in range(rng.choice((2, 3)))]
    dies = _fault("complete_multipart", "", "crash_after", rng.choice((2.0, 30.0)), nth=2)
    return replace(
        plan,
        deeds=(_deed(rng, "create_and_upload"), *twins),
        faults=(_fault("complete_multipart", "", "says_gone"), dies),
        storms=(),
        cuts=(),
        fates=plan.fates[:1],
    )


def sealed_slowly(rng: random.Random, plan: Plan) -> Plan:
    """The decision is there and the object not yet, while somebody sends other bytes."""
    plan = _own(rng, plan)
    slow = _fault(
        "complete_multipart",
        "",
        rng.choice(("slow", "refused", "throttled", "late")),
        rng.uniform(2.0, 40.0),
        times=rng.choice((1, 3, 5)),
    )
    starts = [rng.choice((0.2, 0.5, 1.0, 3.0)) for _ in range(rng.choice((1, 2, 3)))]
    rogues = tuple(_deed(rng, rng.choice(("rogue", "intrude", "intrude")), start) for start in starts)
    return replace(
        plan,
        deeds=(_deed(rng, "create_and_upload"), *rogues, _deed(rng, "commit", rng.choice((0.5, 3.0, 20.0)))),
        faults=(slow, *plan.faults[:1]),
        storms=(),
    )


def risen(rng: random.Random, plan: Plan) -> Plan:
    """The first PUT of session.json is unknown, and lands when the session may long be gone."""
    plan = replace(_own(rng, plan, chunks=rng.choice((0, 1))), pace=20.0)
    return replace(
        plan,
        deeds=(_deed(rng, "create_and_upload"), _deed(rng, "abort", rng.choice((0.2, 0.6, 2.0)))),
        faults=(_fault("put", "/session.json", "late", rng.uniform(300.0, 890.0)), *plan.faults[:1]),
        storms=(),
        fates=plan.fates[:1],
    )


def aborted_early(rng: random.Random, plan: Plan) -> Plan:
    """All chunks are there, an abort is quicker than the commit, and the upload's own is answered long before it is."""
    plan = replace(_own(rng, plan, chunks=rng.choice((1, 2, 3))), pace=20.0)
    slow = _fault("put", "/decision.json", "slow", rng.uniform(5.0, 20.0))
    early = _fault("abort_multipart", "", "early_abort", rng.uniform(150.0, 600.0), times=rng.choice((1, 3, 20)))
    return replace(
        plan,
        deeds=(
            _deed(rng, "create_and_upload"),
            _deed(rng, rng.choice(("abort", "abort", "remove")), rng.uniform(0.6, 3.0)),
            _deed(rng, rng.choice(("poll", "watch")), 0.5),
        ),
        faults=(slow, early, *plan.faults[:1]),
        storms=(),
        fates=plan.fates[:1],
    )


def unnamed(rng: random.Random, plan: Plan) -> Plan:
    """An upload is open and multipart.json not there yet, while the sweeper looks at all uploads."""
    plan = replace(_own(rng, plan, chunks=rng.choice((1, 2))), pace=rng.choice((6.0, 12.0)))
    kind = rng.choice(("slow", "late", "pause_before"))
    return replace(
        plan,
        deeds=(_deed(rng, rng.choice(("create_and_upload", "resume_later", "stream"))), _deed(rng, "twin", 1.0)),
        faults=(
            _fault("put", "/multipart.json", kind, rng.uniform(5.0, 50.0), times=rng.choice((1, 2))),
            *plan.faults[:1],
        ),
        storms=(),
        fates=plan.fates[:1],
    )


def deleted_meanwhile(rng: random.Random, plan: Plan) -> Plan:
    """An abort stands still before its decision while the session is committed and deleted; somebody reads across."""
    plan = _own(rng, plan, chunks=rng.choice((0, 1, 2)))
    one, other = rng.sample(("assembly-0", "assembly-1"), 2)
    long = rng.random() < 0.5
    stands = _fault(
        "put", "/decision.json", "pause_before", rng.uniform(150.0, 600.0) if long else rng.uniform(5.0, 15.0), who=one
    )
    across = _fault(
        "get", "/decision.json", "slow", rng.uniform(18.0, 28.0), nth=rng.choice((1, 2, 3, 4, 5, 6)), who=other
    )
    readers = [
        _deed(rng, rng.choice(("poll", "commit", "watch")), 0.2 + 0.6 * rng.random())
        for _ in range(rng.choice((1, 2, 3)))
    ]
    return replace(
        plan,
        deeds=(
            _deed(rng, "create_and_upload"),
            _deed(rng, "abort", 0.1 + 0.4 * rng.random()),
            *readers,
            _deed(rng, "remove", rng.choice((0.8, 1.5))),
        ),
        faults=(stands, across, *plan.faults[:1]),
        storms=(),
        cuts=(),
        fates=(),
    )


LEANINGS: tuple[Callable[[random.Random, Plan], Plan], ...] = (
    purged_meanwhile,
    purged_meanwhile,
    done_unheard,
    finished_by_another,
    sealed_slowly,
    risen,
    aborted_early,
    unnamed,
    deleted_meanwhile,
)


def lean(rng: random.Random, plan: Plan) -> Plan:
    """``plan``, or what it becomes where it leans somewhere."""
    return rng.choice(LEANINGS)(rng, plan) if rng.random() < SHARE else plan
