"""The model's own rules about answers: what it must see, and what it must let pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3

from assembly_service.retention import Retention
from sealane.domain.decision import CommitParameters, DecidedPart, Decision, Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.precondition import Precondition
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import KeyHolder
from sealane.store.simulated_traits import SEAWEEDFS
from tests.simulation.bucket import WatchedBucket
from tests.simulation.chosen_keys import _log
from tests.simulation.facts import SessionFacts
from tests.simulation.model import Model
from tests.simulation.services import Ear

SESSION = SessionId("0" * 32)
MINE, OTHER = b"m" * 1024, b"o" * 1024
DECIDED = 10.0


def told(facts_are: dict[str, Any]) -> tuple[Model, SessionFacts, list[str]]:
    """A model that knows one session, and what it finds wrong: the invariants' names."""
    found: list[str] = []
    bucket = WatchedBucket(SEAWEEDFS)
    bucket.put_by_stranger("acme/strange")
    world: Any = SimpleNamespace(
        chunk=1024,
        retention=Retention(grace=timedelta(seconds=15), outcome=timedelta(seconds=150)),
        bucket=bucket,
        loop=SimpleNamespace(now=20.0),
        violate=lambda invariant, text: found.append(invariant),
    )
    model = Model(world, Tenant("acme"))
    bucket.models = {"acme": model}
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


def holder(key: str, **values: Any) -> KeyHolder:
    known: dict[str, Any] = {
        "object_key": key,
        "generation": 1,
        "session_id": SESSION,
        "state": SessionState.COMMITTED,
        "size": len(MINE),
        "blake3": blake3(MINE).digest(),
        "commit_time": datetime(2030, 1, 1, tzinfo=UTC),
    }
    return KeyHolder(**{**known, **values})


@pytest.mark.parametrize(
    ("key", "shown", "wrong"),
    [
        ("k", None, []),
        ("k", {}, []),
        ("k", {"generation": 2}, ["I16"]),
        ("k", {"foreign": True}, ["I16"]),
        ("k", {"state": SessionState.DELETED}, ["I8"]),  # nobody has asked for that
        ("other", {}, ["I16"]),
        ("strange", {"foreign": True}, []),
        ("strange", None, ["I16"]),
    ],
)
def test_i16_a_key_is_shown_as_held_by_who_holds_it(key: str, shown: dict[str, Any] | None, wrong: list[str]) -> None:
    """GetKey."""
    decided = committed(MINE)
    decided["decision"] = replace(decided["decision"], generation=1)
    model, facts, found = told(decided)
    facts.record = replace(facts.record, key="acme/k", chosen_key="k", precondition=Precondition())
    facts.done = DoneRecord(SESSION, "e-1", len(MINE), blake3(MINE).digest(), datetime(2030, 1, 1, tzinfo=UTC))
    model.key_shown(key, None if shown is None else holder(key, **shown))
    assert found == wrong


def test_i7_a_key_is_not_shown_as_committed_before_done_json() -> None:
    decided = committed(MINE)
    decided["decision"] = replace(decided["decision"], generation=1)
    model, facts, found = told(decided)
    facts.record = replace(facts.record, key="acme/k", chosen_key="k", precondition=Precondition())
    model.key_shown("k", holder("k"))
    assert found == ["I7"]


@pytest.mark.parametrize(
    ("kind", "key", "alive", "wrong"),
    [
        ("BAD_RECORD", "", True, ["I12"]),
        ("UNKNOWN_KEY", ".sealane/acme/odd", True, ["I12"]),
        ("OBJECT_WITHOUT_RECORDS", f"acme/by-session/{SESSION}/f", False, ["I9"]),
        ("OBJECT_WITHOUT_RECORDS", "acme/strange", True, []),
        ("RECEIPT_WITHOUT_SESSION", "", True, ["I8"]),
        ("RECEIPT_WITHOUT_SESSION", "", False, []),
        ("SESSION_OVERDUE", "", True, []),
        ("OBJECT_MISSING", "", True, []),  # it is
        ("UPLOAD_MISSING", "", True, []),  # completed, since it is decided
    ],
)
def test_an_audit_finds_nothing_that_is_not_so(kind: str, key: str, alive: bool, wrong: list[str]) -> None:
    model, facts, found = told({**committed(MINE), "alive": alive})
    facts.done = DoneRecord(SESSION, "e-1", len(MINE), blake3(MINE).digest(), datetime(2030, 1, 1, tzinfo=UTC))
    model.found(kind, SESSION, key)
    assert found == wrong


@pytest.mark.parametrize(("lost", "wrong"), [(False, ["I5"]), (True, [])])
def test_i5_an_audit_misses_the_upload_of_an_open_session_only_if_the_store_has_lost_it(
    lost: bool, wrong: list[str]
) -> None:
    model, _, found = told({"may_be_lost": lost})
    model.found("UPLOAD_MISSING", SESSION, "")
    assert found == wrong


def test_i12_nothing_is_told_of_another_tenants() -> None:
    """Sessions by their ids, keys' holders, and what an audit finds."""
    model, _, found = told({})
    assert model.knows(SESSION, "GetSession")
    assert found == []
    assert not model.knows("f" * 32, "GetSession")
    model.key_shown("k", holder("k", session_id="f" * 32))
    model.found("SESSION_OVERDUE", "", ".sealane/globex/sessions/x")
    assert found == ["I12"] * 3


def test_i12_a_key_of_nobodys_is_seen_by_whichever_model() -> None:
    model, _, found = told({})
    bucket = model._world.bucket
    bucket.put("elsewhere/x", b"", datetime(2030, 1, 1, tzinfo=UTC), if_absent=False, content_type="text/plain")
    assert set(found) == {"I12"}


def test_i16_nothing_becomes_of_somebody_elses_object() -> None:
    model, facts, found = told({})
    bucket = model._world.bucket
    bucket.delete("acme/strange")
    assert found == ["I16"]
    found.clear()
    bucket.put_by_stranger("acme/k/below")
    facts.record = replace(facts.record, key="acme/k", chosen_key="k", precondition=Precondition())
    decision = replace(committed(MINE)["decision"], generation=1)
    model.keys.claims = {_log(model, facts): {1: SESSION}}
    model._decided(facts, decision)
    assert found == ["I16"]


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
