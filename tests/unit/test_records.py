"""Records: what is written is read again, and nothing else is (protocol.md sections 3 and 11)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealane.domain.decision import CommitParameters, DecidedPart, Decision, DuplicateAnswer, Outcome, Records, refusal
from sealane.domain.errors import (
    BadRecord,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SessionSealed,
)
from sealane.domain.precondition import Precondition
from sealane.domain.record_fields import MAX_TEXT_BYTES, MAX_TTL_SECONDS, b64, digest32, sound_text, unb64
from sealane.domain.records import (
    DeletedRecord,
    DoneRecord,
    LostRecord,
    MultipartRecord,
    RequestRecord,
    SessionRecord,
    parse_done,
)
from sealane.domain.states import SessionState

SID = "ab" * 16
D1, D2 = bytes(range(32)), bytes(range(32, 64))
SESSION = SessionRecord(SID, f"default/by-session/{SID}/ö", "ö", 1024, 2000, "t" * 32, 3600, "a/b", {"k": "v"}, "me")
DONE = DoneRecord(SID, "etag-2", 2000, D1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
CHOSEN = replace(SESSION, key="default/a/b", chosen_key="a/b", precondition=Precondition(3))
COMMIT = Decision(
    SID,
    Outcome.COMMIT,
    CommitParameters(2, 2000, D1),
    "upload",
    (DecidedPart("e1", D1, D2, 1024), DecidedPart("e2", D2, D1, 976)),
)
_ROWS = json.loads(COMMIT.encode())["parts"]
COMMIT_ROW, SECOND_ROW = _ROWS[0][1:], _ROWS[1]
EVERY = [
    (SESSION, SessionRecord.parse),
    (SessionRecord(SID, "k", "f", 1024, None, "t", 1, "a/b"), SessionRecord.parse),
    (CHOSEN, SessionRecord.parse),
    (replace(CHOSEN, precondition=Precondition(None)), SessionRecord.parse),
    (replace(CHOSEN, tombstone=7), SessionRecord.parse),
    (MultipartRecord(SID, "upload"), MultipartRecord.parse),
    (MultipartRecord(SID, "upload", "t/a/b"), MultipartRecord.parse),
    (RequestRecord(SID, D1), RequestRecord.parse),
    (DONE, parse_done),
    (replace(DONE, generation=7), parse_done),
    (replace(DONE, generation=8, tombstone=True), parse_done),
    (LostRecord(SID, "the upload is gone"), parse_done),
    (DeletedRecord(SID), DeletedRecord.parse),
    (COMMIT, Decision.parse),
    (Decision(SID, Outcome.ABORT), Decision.parse),
    (Decision(SID, Outcome.EXPIRE), Decision.parse),
    (Decision(SID, Outcome.COMMIT, CommitParameters(0, 0, D1), "u", (DecidedPart("e", D1, D2, 0),)), Decision.parse),
    (replace(COMMIT, generation=7), Decision.parse),
    (Decision(SID, Outcome.COMMIT, generation=8, tombstone=True), Decision.parse),
    (
        Decision(
            SID,
            Outcome.DUPLICATE,
            COMMIT.parameters,
            answer=DuplicateAnswer("cd" * 16, 7, "e", 2000, D1, DONE.committed_at),
        ),
        Decision.parse,
    ),
]
OPTIONAL = {"size", "generation", "tombstone", "key"}
"""Fields that a record may be without: then it says something else, which its other records must fit."""


@pytest.mark.parametrize(("record", "parse"), EVERY, ids=lambda v: type(v).__name__)
def test_a_record_is_read_as_it_was_written(record, parse) -> None:
    assert parse(record.encode()) == record
    assert record.encode() == parse(record.encode()).encode()


@pytest.mark.parametrize(("record", "parse"), EVERY, ids=lambda v: type(v).__name__)
def test_a_record_of_a_future_version_decides_nothing(record, parse) -> None:
    values = json.loads(record.encode())
    for version in (2, 0, "1", None, True, 1.0):
        with pytest.raises(BadRecord):
            parse(json.dumps(values | {"version": version}).encode())


@pytest.mark.parametrize(("record", "parse"), EVERY, ids=lambda v: type(v).__name__)
def test_a_record_with_any_field_missing_or_of_another_type_is_refused(record, parse) -> None:
    values = json.loads(record.encode())
    for name in values:
        if values[name] is None:
            continue
        without = {k: v for k, v in values.items() if k != name}
        if name not in OPTIONAL or (name == "size" and not isinstance(record, SessionRecord)):
            with pytest.raises(BadRecord):
                parse(json.dumps(without).encode())
        with pytest.raises(BadRecord):
            parse(json.dumps(values | {name: {"x": 1}}).encode())


@given(st.binary(max_size=300))
def test_garbage_is_refused_as_a_bad_record_and_never_another_error(body: bytes) -> None:
    for _, parse in EVERY:
        with pytest.raises(BadRecord):
            parse(body)


_VALUES = [(json.loads(record.encode()), parse) for record, parse in EVERY]


@settings(deadline=None)  # some hundred parses a case
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_forged_json_is_refused_as_a_bad_record_and_never_another_error(forged: object) -> None:
    for values, parse in _VALUES:
        for name in values:
            body = json.dumps(values | {name: forged}).encode()
            with contextlib.suppress(BadRecord):
                parse(body)


OUT_OF_BOUNDS = [
    (SESSION, SessionRecord.parse, {"ttl": 10**15}),
    (SESSION, SessionRecord.parse, {"ttl": MAX_TTL_SECONDS + 1}),
    (SESSION, SessionRecord.parse, {"size": 1 << 64}),
    (SESSION, SessionRecord.parse, {"chunk_size": 1 << 60}),
    (SESSION, SessionRecord.parse, {"owner": "x" * (MAX_TEXT_BYTES + 1)}),
    (SESSION, SessionRecord.parse, {"owner": "ö" * (MAX_TEXT_BYTES // 2 + 1)}),
    (SESSION, SessionRecord.parse, {"token": "\ud800"}),
    (SESSION, SessionRecord.parse, {"metadata": {"k": "\ud800"}}),
    (SESSION, SessionRecord.parse, {"metadata": {"\ud800": "v"}}),
    (MultipartRecord(SID, "upload"), MultipartRecord.parse, {"upload_id": "\udfff"}),
    (DONE, parse_done, {"committed_at": "0001-01-01T00:00:00+23:59"}),
    (DONE, parse_done, {"committed_at": "9999-12-31T23:59:59-23:59"}),
    (DONE, parse_done, {"etag": "\ud800"}),
    (DONE, parse_done, {"size": 1 << 64}),
    (LostRecord(SID, "gone"), parse_done, {"why": "\ud800"}),
    (COMMIT, Decision.parse, {"upload_id": "\ud800"}),
    (COMMIT, Decision.parse, {"chunk_count": 10**20}),
    (COMMIT, Decision.parse, {"parts": [["\ud800", *COMMIT_ROW], SECOND_ROW]}),
    (COMMIT, Decision.parse, {"parts": [["e" * (MAX_TEXT_BYTES + 1), *COMMIT_ROW], SECOND_ROW]}),
]


@pytest.mark.parametrize(
    ("record", "parse", "change"),
    OUT_OF_BOUNDS,
    ids=[f"{type(record).__name__} {next(iter(change))}" for record, _, change in OUT_OF_BOUNDS],
)
def test_a_value_that_nobody_can_reckon_with_or_encode_is_refused_where_it_is_read(record, parse, change) -> None:
    """Section 11, fail closed: an OverflowError or UnicodeEncodeError behind the parser would end a sweeper."""
    values = json.loads(record.encode())
    assert parse(json.dumps(values).encode()) == record
    with pytest.raises(BadRecord):
        parse(json.dumps(values | change).encode())


FIRST_VERSION = [
    (SessionRecord.parse, SESSION, {"chosen_key", "if_generation_match", "target"}),
    (MultipartRecord.parse, MultipartRecord(SID, "upload"), {"key"}),
    (parse_done, DONE, {"generation", "tombstone"}),
    (Decision.parse, COMMIT, {"generation", "tombstone", "answer"}),
]


@pytest.mark.parametrize(("parse", "record", "later"), FIRST_VERSION)
def test_records_at_keys_of_their_own_are_spelt_as_in_the_first_version(parse, record, later) -> None:
    """A rolling upgrade: both versions read and write the same bytes where no key was chosen."""
    assert later.isdisjoint(json.loads(record.encode()))
    assert parse(record.encode()) == record


@pytest.mark.parametrize(
    "change",
    [
        {"if_generation_match": -1},
        {"if_generation_match": 10**12},
        {"if_generation_match": "all"},
        {"if_generation_match": None},
        {"if_generation_match": True},
        {"chosen_key": None},
    ],
)
def test_a_precondition_that_nobody_can_have_meant_is_refused(change) -> None:
    with pytest.raises(BadRecord):
        SessionRecord.parse(json.dumps(json.loads(CHOSEN.encode()) | change).encode())


def test_a_tombstone_is_no_commit_of_bytes() -> None:
    values = json.loads(Decision(SID, Outcome.COMMIT, generation=8, tombstone=True).encode())
    for change in ({"generation": 0}, {"tombstone": False}, {"outcome": "DUPLICATE"}):
        with pytest.raises(BadRecord):
            Decision.parse(json.dumps(values | change).encode())


def test_deeply_nested_json_is_refused_not_a_crash() -> None:
    with pytest.raises(BadRecord):
        Decision.parse(b"[" * 100_000)


def test_a_decision_whose_parts_do_not_make_its_object_is_refused() -> None:
    values = json.loads(COMMIT.encode())
    for change in ({"chunk_count": 3}, {"size": 1999}, {"parts": values["parts"][:1]}, {"parts": []}):
        with pytest.raises(BadRecord):
            Decision.parse(json.dumps(values | change).encode())


@pytest.mark.parametrize("text", ["AA=", "AB", "A", "A A", "+/", "é"])
def test_only_the_one_canonical_base64url_spelling_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        unb64(text)


def test_a_decision_to_commit_accepts_its_own_chunks_again_and_no_other() -> None:
    """⚠ section 4, 1: that is how an overwritten part is mended."""
    assert COMMIT.accepts(0, 1024, D2)
    assert COMMIT.accepts(1, 976, D1)
    assert not COMMIT.accepts(0, 1024, D1)
    assert not COMMIT.accepts(0, 1023, D2)
    assert not COMMIT.accepts(2, 976, D1)
    assert not COMMIT.accepts(-1, 976, D1)
    assert not Decision(SID, Outcome.ABORT).accepts(0, 1024, D2)


def test_every_state_is_derived_and_has_its_refusal() -> None:
    lost, deleted = LostRecord(SID, ""), DeletedRecord(SID)
    table = [
        (Records(None, decision=COMMIT), None, SessionNotFound),
        (Records(SESSION), SessionState.OPEN, None),
        (Records(SESSION, decision=COMMIT), SessionState.COMMITTING, SessionSealed),
        (Records(SESSION, done=DONE, decision=COMMIT), SessionState.COMMITTED, SessionSealed),
        (Records(SESSION, done=lost, decision=COMMIT), SessionState.LOST, SessionLost),
        (Records(SESSION, decision=Decision(SID, Outcome.ABORT)), SessionState.ABORTED, SessionAborted),
        (Records(SESSION, decision=Decision(SID, Outcome.EXPIRE)), SessionState.EXPIRED, SessionExpired),
        (Records(SESSION, decision=Decision(SID, Outcome.DUPLICATE)), SessionState.DUPLICATE, SessionSealed),
        (Records(SESSION, deleted=deleted, done=DONE, decision=COMMIT), SessionState.DELETED, SessionNotFound),
    ]
    for records, state, error in table:
        assert records.state is state
        if error is not None:
            assert type(refusal(records.state)) is error
    assert {state for _, state, _ in table} == {None, *SessionState}


def test_the_same_parameters_means_all_three() -> None:
    base = CommitParameters(2, 2000, D1)
    assert base.same(CommitParameters(2, 2000, bytes(D1)))
    for other in (CommitParameters(3, 2000, D1), CommitParameters(2, 2001, D1), CommitParameters(2, 2000, D2)):
        assert not base.same(other)


class OnlyInConstantTime(bytes):
    """Bytes that must not be compared by ``==``, which answers the sooner the earlier they differ."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in variable time")

    def __ne__(self, other: object) -> bool:
        raise AssertionError("compared in variable time")

    __hash__ = bytes.__hash__


def test_digests_of_parameters_and_of_decided_chunks_are_compared_in_constant_time() -> None:
    """Protocol.md section 5, C4; section 4, step 1."""
    right, wrong = OnlyInConstantTime(bytes(range(32))), OnlyInConstantTime(bytes(32))
    stored = CommitParameters(1, 5, bytes(range(32)))
    assert stored.same(CommitParameters(1, 5, right))
    assert not stored.same(CommitParameters(1, 5, wrong))
    decision = Decision(SID, Outcome.COMMIT, stored, "u", (DecidedPart("e", bytes(32), bytes(range(32)), 5),))
    assert decision.accepts(0, 5, right)
    assert not decision.accepts(0, 5, wrong)


def test_a_text_may_have_as_many_bytes_as_its_bound_says_and_not_one_more() -> None:
    assert sound_text("x" * MAX_TEXT_BYTES)
    assert sound_text("é" * (MAX_TEXT_BYTES // 2))
    assert not sound_text("x" * (MAX_TEXT_BYTES + 1))
    assert not sound_text("é" * (MAX_TEXT_BYTES // 2) + "x")


@pytest.mark.parametrize("state", [SessionState.COMMITTING, SessionState.COMMITTED, SessionState.DUPLICATE])
def test_who_is_sealed_out_hears_of_what(state: SessionState) -> None:
    refused = refusal(state)
    assert isinstance(refused, SessionSealed)
    assert refused.state is state


def test_a_session_has_no_chunks_of_no_bytes() -> None:
    """0 passes for a power of two where nobody asks whether it is one at all."""
    record = SessionRecord(SID, "t/k", "k", 1024, None, "t", 1, "a/b")
    with pytest.raises(BadRecord):
        SessionRecord.parse(json.dumps(json.loads(record.encode()) | {"chunk_size": 0}).encode())


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        digest32(b64(bytes(size)))
