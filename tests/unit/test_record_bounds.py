"""Records at the very bounds of their fields, and how they are spelt: to the byte, whatever the machine's time zone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sealane.domain.decision import CommitParameters, DecidedPart, Decision, DuplicateAnswer, Outcome
from sealane.domain.errors import BadRecord
from sealane.domain.precondition import Precondition
from sealane.domain.record_fields import MAX_CHUNK_BYTES, MAX_GENERATION, Fields, encode, time_text
from sealane.domain.records import DoneRecord, SessionRecord, parse_done

SID = "ab" * 16
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionRecord(SID, f"t/by-session/{SID}/f", "f", 1024, None, "t" * 32, 60, "a/b")
TOMBSTONE = replace(SESSION, key="t/k", chosen_key="k", precondition=Precondition(1), tombstone=1)
LARGEST = Decision(
    SID,
    Outcome.COMMIT,
    CommitParameters(1, MAX_CHUNK_BYTES, bytes(32)),
    "u",
    (DecidedPart("e", bytes(32), bytes(32), MAX_CHUNK_BYTES),),
)
DUPLICATE = Decision(
    SID,
    Outcome.DUPLICATE,
    CommitParameters(0, 0, bytes(32)),
    answer=DuplicateAnswer("c" * 32, 1, "e", 0, bytes(32), WHEN),
)
DONE = DoneRecord(SID, "e", 1, bytes(32), WHEN)


@pytest.fixture(params=["UTC", "Asia/Kathmandu"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's own time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def changed(record: Any, change: dict[str, object]) -> bytes:
    return json.dumps(json.loads(record.encode()) | change).encode()


@pytest.mark.parametrize("generation", [1, 2, MAX_GENERATION])
def test_a_generation_is_from_1_to_what_12_digits_can_say(generation: int) -> None:
    commit = replace(LARGEST, generation=generation)
    assert Decision.parse(commit.encode()) == commit
    done = replace(DONE, generation=generation)
    assert parse_done(done.encode()) == done
    tombstone = replace(TOMBSTONE, tombstone=generation)
    assert SessionRecord.parse(tombstone.encode()) == tombstone
    assert DUPLICATE.answer is not None
    duplicate = replace(DUPLICATE, answer=replace(DUPLICATE.answer, generation=generation))
    assert Decision.parse(duplicate.encode()) == duplicate


@pytest.mark.parametrize("generation", [0, -1, MAX_GENERATION + 1])
def test_no_other_generation_is_read(generation: int) -> None:
    for record, field, parse in (
        (LARGEST, "generation", Decision.parse),
        (DONE, "generation", parse_done),
        (TOMBSTONE, "target", SessionRecord.parse),
    ):
        with pytest.raises(BadRecord):
            parse(changed(record, {field: generation}))
    answer = json.loads(DUPLICATE.encode())["answer"] | {"generation": generation}
    with pytest.raises(BadRecord):
        Decision.parse(changed(DUPLICATE, {"answer": answer}))


def test_a_part_is_at_most_as_long_as_a_chunk_may_be_and_its_length_is_a_number() -> None:
    assert Decision.parse(LARGEST.encode()) == LARGEST
    row = json.loads(LARGEST.encode())["parts"][0]
    for length in (MAX_CHUNK_BYTES + 1, -1, "1", True, 1.0, None):
        with pytest.raises(BadRecord):
            Decision.parse(changed(LARGEST, {"parts": [[*row[:3], length]], "size": 1}))


@pytest.mark.parametrize(
    ("chunk_size", "sound"), [(1, True), (2, True), (MAX_CHUNK_BYTES, True), (6, False), (0, False)]
)
def test_a_chunk_size_is_a_power_of_two(chunk_size: int, sound: bool) -> None:
    body = changed(SESSION, {"chunk_size": chunk_size})
    if sound:
        assert SessionRecord.parse(body).chunk_size == chunk_size
    else:
        with pytest.raises(BadRecord):
            SessionRecord.parse(body)


def test_a_record_is_spelt_compactly_in_the_order_of_its_fields_and_in_utf8() -> None:
    """Writers of done.json agree on every byte (C7): whoever changes this must read both."""
    assert encode("done", {"z": "ö", "a": [1, None]}) == '{"version":1,"kind":"done","z":"ö","a":[1,null]}\n'.encode()


def test_a_time_is_utc_wherever_the_machine_stands(zone: str) -> None:
    there = WHEN.astimezone(timezone(timedelta(hours=-7)))
    assert time_text(there) == time_text(WHEN) == "2026-01-02T03:04:05Z"
    read = Fields("x", {"version": 1, "kind": "x", "at": "2026-01-01T20:04:05-07:00"}).time("at")
    assert (read, read.tzinfo) == (WHEN, UTC)


def test_a_bad_record_says_what_and_where_for_the_log_alone() -> None:
    for body, said in (
        (b"{", "session: not JSON"),
        (b"[]", "session: not an object"),
        (changed(SESSION, {"version": 2}), "session: version 2, this software reads 1"),
        (changed(SESSION, {"kind": "x"}), "session: kind is 'x'"),
        (changed(SESSION, {"chunk_size": 6}), "session: field 'chunk_size' is missing or malformed"),
        (changed(SESSION, {"ttl": -1}), "session: field 'ttl' is missing or malformed"),
        (changed(SESSION, {"metadata": {"a": 1}}), "session: field 'metadata' is missing or malformed"),
        (changed(SESSION, {"chosen_key": "k"}), "session: field 'if_generation_match' is missing or malformed"),
    ):
        with pytest.raises(BadRecord) as refused:
            SessionRecord.parse(body)
        assert refused.value.private == said
    for field, value in (("outcome", "X"), ("parts", []), ("parts", [[1]]), ("parts", [["e", "", "", 1]])):
        with pytest.raises(BadRecord) as refused:
            Decision.parse(changed(LARGEST, {field: value}))
        assert refused.value.private == f"decision: field {field!r} is missing or malformed"
