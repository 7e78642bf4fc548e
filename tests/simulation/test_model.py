"""The model's own rules about answers: what it must see, and what it must let pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3

from assembly_service.retention import Retention
from sealane.domain.decision import CommitParameters, DecidedPart, Decision, Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.store.simulated_bucket import SimulatedBucket
from tests.simulation.facts import SessionFacts
from tests.simulation.model import Model
from tests.simulation.services import Ear

SESSION = SessionId("0" * 32)
MINE, OTHER = b"m" * 1024, b"o" * 1024
DECIDED = 10.0


def told(facts_are: dict[str, Any]) -> tuple[Model, SessionFacts, list[str]]:
    """A model that knows one session, and what it finds wrong: the invariants' names."""
    found: list[str] = []
    world: Any = SimpleNamespace(
        tenant=Tenant("acme"),
        chunk=1024,
        retention=Retention(grace=timedelta(seconds=15), outcome=timedelta(seconds=150)),
        bucket=SimulatedBucket(),
        loop=SimpleNamespace(now=20.0),
        violate=lambda invariant, text: found.append(invariant),
    )
    model = Model(world)
    model.declare(MINE)
    model.declare(OTHER)
    record = SessionRecord(SESSION, f"acme/by-session/{SESSION}/f", "f", 1024, 1024, "1" * 32, 60, "text/plain")
    facts = model.sessions[SESSION] = SessionFacts(SESSION, record, 1.0)
    for name, value in facts_are.items():
        setattr(facts, name, value)
    return model, facts, found


def committed(content: bytes) -> dict[str, Any]:
    digest = blake3(content).digest()
    part = DecidedPart("e", digest, digest, len(content))
    decision = Decision(SESSION, Outcome.COMMIT, CommitParameters(1, len(content), digest), "u", (part,))
    return {"decision": decision, "decided": DECIDED}


def given_up(outcome: Outcome) -> dict[str, Any]:
    return {"decision": Decision(SESSION, outcome), "decided": DECIDED}


@pytest.mark.parametrize(
    ("content", "sent_other_bytes", "looked", "wrong"),
    [
        (MINE, False, DECIDED + 1, []),
        (OTHER, True, DECIDED - 1, []),  # acknowledged by who could not know of the decision, and of the client's doing
        (OTHER, True, DECIDED + 1, ["I5"]),  # who looks after it takes its own chunks alone
        (OTHER, False, DECIDED - 1, ["I5"]),  # nobody sent other bytes: then the decision has lost a chunk
    ],
)
def test_i5_an_acknowledged_chunk_is_the_decisions(
    content: bytes, sent_other_bytes: bool, looked: float, wrong: list[str]
) -> None:
    """Seeds 1040873 and 1041059 of commit 8d34ad9: the second row was taken for a violation."""
    model, facts, found = told(committed(MINE))
    facts.sent_other_bytes = sent_other_bytes
    model.acknowledged(SESSION, 0, content, looked)
    assert found == wrong


@pytest.mark.parametrize(
    ("outcome", "reason", "wrong"),
    [
        (Outcome.ABORT, "SESSION_ABORTED", []),
        (Outcome.EXPIRE, "SESSION_EXPIRED", []),
        (Outcome.EXPIRE, "SESSION_ABORTED", ["I8"]),
        (Outcome.ABORT, "SESSION_EXPIRED", ["I8"]),
        (Outcome.COMMIT, "SESSION_ABORTED", ["I8"]),
    ],
)
def test_i8_a_session_is_answered_as_given_up_only_as_it_was_decided(
    outcome: Outcome, reason: str, wrong: list[str]
) -> None:
    """It is gone long since: what is said of it must be true all the same."""
    decided = committed(MINE) if outcome is Outcome.COMMIT else given_up(outcome)
    model, _, found = told({**decided, "alive": False})
    model.refused(SESSION, reason)
    assert found == wrong


def test_i7_nothing_is_shown_as_committed_before_done_json() -> None:
    """GetSession and WatchSession."""
    model, facts, found = told(committed(MINE))
    model.shown_committed(SESSION)
    assert found == ["I7"]
    facts.done = DoneRecord(SESSION, "e-1", len(MINE), blake3(MINE).digest(), datetime(2030, 1, 1, tzinfo=UTC))
    found.clear()
    model.shown_committed(SESSION)
    assert found == []


def test_i4_what_is_read_back_is_what_was_committed() -> None:
    """VerifyObject's verdict."""
    model, facts, found = told(committed(MINE))
    facts.done = DoneRecord(SESSION, "e-1", len(MINE), blake3(MINE).digest(), datetime(2030, 1, 1, tzinfo=UTC))
    model.proved(SESSION, blake3(MINE).digest(), len(MINE))
    assert found == []
    model.proved(SESSION, blake3(OTHER).digest(), len(MINE))
    assert found == ["I4"]


@pytest.mark.parametrize(("stood", "wrong"), [(872.0, []), (0.0, ["BUG"])])
def test_a_refusal_by_the_clock_is_an_alarm_only_of_who_stood_still(stood: float, wrong: list[str]) -> None:
    """Seed 1104462 of commit 82c71f5: a wrong clock, and a stop between the first refusal and its repeat."""
    found: list[str] = []
    world: Any = SimpleNamespace(
        loop=SimpleNamespace(processes=[SimpleNamespace(name="assembly-0", stood=stood)]),
        tell=lambda who, what, outcome: None,
        violate=lambda invariant, text, cause: found.append(invariant),
    )
    Ear(world, "assembly-0").alarm("a pass of the sweeper was cut short", kind="ClockSkewed")
    assert found == wrong
