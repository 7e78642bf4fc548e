"""The rules of chosen keys as pure functions (protocol.md section 8)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain.claims import (
    ANY,
    COOLING,
    VACANT,
    ClaimRecord,
    NameRecord,
    Nature,
    Precondition,
    Standing,
    Verdict,
    cooling_until,
    may_be_own,
    next_number,
    standing_of,
    verdict,
)
from sealane.domain.decision import CommitParameters, DecidedPart, Decision, DuplicateAnswer, Outcome, Records
from sealane.domain.errors import BadRecord
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord, SessionRecord

SID = "ab" * 16
D = bytes(range(32))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionRecord(SID, "t/k", "k", 1024, None, "t", 1, "a/b", chosen_key="k", precondition=ANY)
COMMIT = Decision(SID, Outcome.COMMIT, CommitParameters(1, 5, D), "u", (DecidedPart("e", D, D, 5),), generation=4)
DONE = DoneRecord(SID, "e", 5, D, NOW, 4)
generations = st.integers(1, 10**12 - 1)


@given(wanted=st.none() | st.integers(0, 5), generation=st.integers(0, 5), same=st.booleans(), described=st.booleans())
def test_i16_a_claim_is_only_made_where_the_precondition_holds(
    wanted: int | None, generation: int, *, same: bool, described: bool
) -> None:
    """I16: and nothing is refused that holds; the same bytes are never refused, and a vacant key has none."""
    precondition = Precondition(wanted)
    answer = verdict(precondition, generation, same_bytes=same, same_description=described)
    if answer is Verdict.CLAIM:
        assert precondition.holds(generation)
    if answer is Verdict.MISMATCH:
        assert not precondition.holds(generation)
        assert not (same and generation)
    if answer is Verdict.DUPLICATE:
        assert same
        assert generation
    if same and described and generation:
        assert answer is Verdict.DUPLICATE


def test_the_default_precondition_is_a_vacant_key() -> None:
    assert Precondition() == VACANT
    assert VACANT.holds(0)
    assert not VACANT.holds(1)
    assert ANY.holds(0)
    assert ANY.holds(7)


@given(st.sets(generations, max_size=20))
def test_i16_the_next_number_is_above_every_existing_one_void_or_not(numbers: set[int]) -> None:
    """⚠ Section 8, step 5: it depends on the numbers alone."""
    assert next_number(numbers) == (max(numbers) + 1 if numbers else 1)


@pytest.mark.parametrize(
    ("records", "standing"),
    [
        (Records(None), Standing.VOID),
        (Records(None, decision=COMMIT), Standing.VOID),
        (Records(SESSION), Standing.UNDECIDED),
        (Records(SESSION, decision=COMMIT), Standing.UNDONE),
        (Records(SESSION, done=DONE, decision=COMMIT), Standing.DONE),
        (Records(SESSION, done=DONE), Standing.DONE),
        (Records(SESSION, done=LostRecord(SID, "gone"), decision=COMMIT), Standing.VOID),
        (Records(SESSION, deleted=DeletedRecord(SID), done=DONE, decision=COMMIT), Standing.VOID),
        *(
            (Records(SESSION, decision=Decision(SID, end)), Standing.VOID)
            for end in Outcome
            if end is not Outcome.COMMIT
        ),
    ],
)
def test_i16_a_claim_is_void_unless_its_session_is_there_and_its_decision_is_commit_and_not_lost(
    records: Records, standing: Standing
) -> None:
    """⚠ Section 8, step 2, every state of a session."""
    assert standing_of(records) is standing


@given(st.integers(0, 10**6))
def test_claims_written_since_the_session_was_created_may_be_its_own(seconds: int) -> None:
    """⚠ Step 1: however far two of the store's clocks are apart, within an hour."""
    assert may_be_own(NOW + timedelta(seconds=seconds), NOW)
    assert may_be_own(NOW - timedelta(seconds=min(seconds, 3599)), NOW)
    assert not may_be_own(NOW - timedelta(seconds=3600 + seconds), NOW)


def test_a_key_cools_for_longer_than_a_signature_lives() -> None:
    """⚠ R6: 15 minutes; an hour by the store's clock is far enough from them."""
    assert cooling_until(NOW) - NOW == COOLING >= timedelta(minutes=30)


def test_a_claim_is_read_as_it_was_written_and_its_body_is_the_decision_that_a_helper_writes() -> None:
    claim = ClaimRecord("ordner/ü", COMMIT)
    assert ClaimRecord.parse(claim.encode()) == claim
    assert (claim.generation, claim.session_id) == (4, SID)
    assert claim.decision.encode() == COMMIT.encode()


@pytest.mark.parametrize(
    "decision",
    [
        Decision(SID, Outcome.ABORT),
        Decision(SID, Outcome.COMMIT, COMMIT.parameters, "u", COMMIT.parts),
        Decision(SID, Outcome.DUPLICATE, COMMIT.parameters, answer=DuplicateAnswer(SID, 1, "e", 5, D, NOW)),
    ],
    ids=["abort", "without a generation", "duplicate"],
)
def test_only_a_commit_with_a_generation_can_be_claimed(decision: Decision) -> None:
    with pytest.raises(BadRecord):
        ClaimRecord.parse(ClaimRecord("k", decision).encode())


@given(st.sampled_from(["version", "kind", "object_key", "decision"]), st.none() | st.text(max_size=3) | st.integers())
def test_a_claim_with_a_field_of_another_kind_is_refused(name: str, value: object) -> None:
    values = json.loads(ClaimRecord("k", COMMIT).encode())
    if values[name] != value and not (name == "object_key" and isinstance(value, str)):
        with pytest.raises(BadRecord):
            ClaimRecord.parse(json.dumps(values | {name: value}).encode())


@given(st.binary(max_size=200))
def test_bytes_that_nobody_wrote_are_no_claim_and_no_name(body: bytes) -> None:
    """Fail closed (section 11)."""
    for parse in (ClaimRecord.parse, NameRecord.parse):
        with pytest.raises(BadRecord):
            parse(body)


@pytest.mark.parametrize("nature", Nature)
def test_a_name_is_read_as_it_was_written(nature: Nature) -> None:
    record = NameRecord("a/b", nature)
    assert NameRecord.parse(record.encode()) == record
    with pytest.raises(BadRecord):
        NameRecord.parse(record.encode().replace(nature.value.encode(), b"MAYBE"))
