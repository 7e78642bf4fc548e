"""One run's plan, drawn from its seed: the seed alone makes it, so one number tells a run."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.simulation.faults import Storm, store_fault
from tests.simulation.leanings import lean
from tests.simulation.plans import CHUNK, REPLICAS, Cut, Deed, Fate, NetFault, Plan, SessionPlan

LONG_STALLS = (3.0, 50.0, 120.0, 330.0, 880.0)
"""Seconds: within an operation; beyond its deadline; beyond ttl + grace; beyond ttl + grace + outcome retention."""


def _session(rng: random.Random, number: int) -> SessionPlan:
    chunks = rng.choice((0, 1, 1, 1, 2, 2, 3))
    size = 0 if chunks == 0 else (chunks - 1) * CHUNK + rng.choice((1, 100, CHUNK - 1, CHUNK, CHUNK))
    return SessionPlan(size, rng.random() < 0.7, rng.choice((60, 60, 90)), 3 * rng.randrange(3) + number)


def _at_one_key(rng: random.Random) -> tuple[SessionPlan, ...]:
    """Sessions that want the same key; some have the same bytes."""
    made: list[SessionPlan] = []
    for number in range(rng.choice((1, 2, 2))):
        session = replace(_session(rng, number), key="docs/report", match=rng.choice((0, 0, None, None, 1)))
        if number and rng.random() < 0.3:
            session = replace(session, size=made[0].size, stock=made[0].stock)
        made.append(session)
    return tuple(made)


def _deeds(rng: random.Random, session: int) -> list[Deed]:
    later = 3700.0 if session and rng.random() < 0.08 else 0.0
    """Beyond the hour that a key cools."""

    def deed(kind: str, latest: float = 1.0) -> Deed:
        seconds = rng.choice((20.0, 120.0, 400.0))
        return Deed(kind, session, later + rng.random() * latest, seconds, rng.choice((1, 2, 3)), rng.choice((1, 2, 4)))

    first = rng.choices(("upload", "create_and_upload", "stream", "leave", "resume_later"), (5, 5, 2, 2, 2))[0]
    deeds = [deed(first, 0.2)]
    for kind, share in (
        ("commit", 0.3),
        ("abort", 0.25),
        ("twin", 0.15),
        ("poll", 0.15),
        ("watch", 0.12),
        ("prove", 0.12),
        ("wrong", 0.1),
        ("rogue", 0.1),
        ("intrude", 0.06),
        ("remove", 0.2),
    ):
        if rng.random() < share:
            latest = rng.choice((0.5, 0.5, 2.0, 100.0))
            deeds.append(deed(kind, latest))
    return deeds


def _net_fault(rng: random.Random) -> NetFault:
    method = rng.choice(
        (
            *("CreateSession", "UploadChunks", "UploadChunks", "CommitSession", "CommitSession", "AbortSession"),
            *("GetSession", "StreamReceipts", "StreamReceipts", "GetCommit", "WatchSession", "VerifyObject"),
        )
    )
    kind = rng.choice(("lose_request", "lose_answer", "lose_answer", "delay", "delay_answer", "cut"))
    if method == "UploadChunks" and rng.random() < 0.4:
        kind = "corrupt"
    seconds = rng.random() * 0.3 if kind == "cut" else rng.choice((0.1, 2.0, 40.0, 150.0)) * rng.random()
    return NetFault("", method, rng.choice((1, 1, 2, 3)), kind, seconds)


def _fate(rng: random.Random, actors: list[str]) -> Fate:
    who = rng.choice([f"ingest-{n}" for n in range(REPLICAS)] + [f"assembly-{n}" for n in range(REPLICAS)] * 2 + actors)
    kind = rng.choice(("crash", "crash", "pause", "pause", "stop"))
    step = int(2 ** rng.uniform(2.0, 9.5))
    if kind == "crash":
        seconds = rng.choice((0.2, 2.0, 30.0, 200.0))
    else:
        seconds = rng.choice(LONG_STALLS) * rng.uniform(0.8, 1.0)
    return Fate(who, rng.choice((0, 0, 0, 1)), step, kind, seconds)


def make(seed: int) -> Plan:
    """The plan of ``seed``."""
    return _with_onlookers(_drawn(seed))


def _with_onlookers(plan: Plan) -> Plan:
    """Who walks all of it, who asks for keys, and who has written beside sealane: drawn apart, by dice of their own."""
    rng = random.Random(f"onlookers of {plan.seed}")
    deeds = list(plan.deeds)
    keyed = bool(plan.sessions[0].key)
    if rng.random() < 0.15:
        deeds.append(Deed("audit", 0, rng.choice((0.3, 1.0, 3.0, 100.0, 300.0)) * rng.random(), 400.0))
    if keyed and rng.random() < 0.3:
        deeds.append(Deed("look", 0, rng.random(), 120.0))
    if rng.random() < 0.05:  # walks, one after the other, while something goes
        deeds.append(Deed("patrol", 0, rng.choice((0.2, 0.6)), 120.0))
        deeds.append(Deed("remove", len(plan.sessions) - 1, rng.choice((0.3, 0.7, 1.5)), 60.0))
        standing = [Fate(f"assembly-{n % REPLICAS}", 0, rng.randrange(20, 300), "pause", 4.0) for n in range(6)]
        plan = replace(plan, fates=(*plan.fates, *standing))
    sessions = plan.sessions
    if rng.random() < 0.08:  # another tenant, with the same names for everything
        twin = replace(sessions[0], neighbour=True, stock=sessions[0].stock + rng.randrange(2))
        sessions = (*sessions, twin)
        number = len(sessions) - 1
        deeds.append(Deed(rng.choice(("upload", "create_and_upload")), number, 0.2 * rng.random(), 400.0))
        deeds.append(Deed("trespass", number, rng.random(), 60.0))
        if rng.random() < 0.5:
            deeds.append(Deed(rng.choice(("remove", "abort", "audit")), number, rng.random() * 2, 60.0))
    strangers: tuple[str, ...] = ()
    if keyed and rng.random() < 0.06:
        strangers = (rng.choice(("docs/report", "docs/report/annex")),)
    return replace(plan, sessions=sessions, deeds=tuple(deeds), strangers=strangers)


def _drawn(seed: int) -> Plan:
    rng = random.Random(seed)
    sessions = tuple(_session(rng, number) for number in range(rng.choices((1, 2, 3), (16, 3, 1))[0]))
    if rng.random() < 0.3:
        sessions = _at_one_key(rng)
    deeds = tuple(deed for number in range(len(sessions)) for deed in _deeds(rng, number))
    plan = Plan(
        seed,
        rng.choice(("seaweedfs", "seaweedfs", "aws", "aws-kms", "seaweedfs-kms")),
        rng.choice((1000, 1000, 1000, 1000, 2, 5)),
        rng.choice((60.0, 150.0, 250.0)),
        sessions,
        deeds,
    )
    if rng.random() < 0.04:
        return plan
    actors = [f"client-{number}" for number in range(len(deeds))]
    services = ("ingest", "assembly", "ingest-0", "assembly-0", "client")
    level = rng.choice((1, 1, 2, 3))
    troubled = replace(
        plan,
        faults=tuple(store_fault(rng) for _ in range(rng.randint(0, 2 * level))),
        storms=tuple(
            Storm(
                rng.choice(("", "ingest", "assembly")),
                rng.random() * 2.0,
                rng.choice((1.0, 10.0, 60.0, 600.0)),
                rng.choice(("refused", "throttled", "throttled")),
            )
            for _ in range(rng.random() < 0.06)
        ),
        cuts=tuple(
            Cut(
                rng.choice(services[:2]),
                rng.choice(services[1:]),
                rng.random() * 1.5,
                rng.choice((0.5, 5.0, 60.0, 200.0)),
            )
            for _ in range(rng.random() < 0.12)
        ),
        net=tuple(_net_fault(rng) for _ in range(rng.randint(0, level))),
        fates=tuple(_fate(rng, actors) for _ in range(rng.randint(0, level))),
        skews=tuple(
            (f"{kind}-{n}", rng.choice((-86400.0, 86400.0, 600.0, -7200.0)))
            for kind in ("ingest", "assembly")
            for n in range(REPLICAS)
            if rng.random() < 0.25
        ),
    )
    return lean(rng, troubled)
