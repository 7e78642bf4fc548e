"""Protos <-> domain: nothing is lost on the way, and nonsense is refused by name."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.coverage import Coverage, PrefixDigest
from sealane.domain.errors import BadRecord, InvalidDigest, InvalidRequest, InvalidSize
from sealane.domain.limits import ChunkPlan, Limits
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, KeyHolder, SessionView
from sealane.rpc import convert
from sealane.v1 import assembly_service_pb2, session_pb2

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
TIME = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
TOKEN = "5ec2e7" * 5
RECORD = SessionRecord(
    session_id="0" * 32,
    key="t/by-session/" + "0" * 32 + "/f.bin",
    filename="f.bin",
    chunk_size=1024,
    size=2500,
    token=TOKEN,
    ttl=3600,
    content_type="text/plain",
    metadata={"colour": "red"},
)
COMMITTED = CommittedObject("bucket", RECORD.key, "etag-3", 2500, A, TIME, replayed=True)


def view(**changes: Any) -> SessionView:
    fields: dict[str, Any] = {
        "record": RECORD,
        "create_time": TIME,
        "state": SessionState.OPEN,
        "plan": ChunkPlan(1024, 2500),
    }
    return SessionView(**{**fields, **changes})


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])))
def test_a_moment_survives_the_round_trip(moment: datetime) -> None:
    """Any aware moment, also before 1970, to the microsecond."""
    proto = convert.timestamp_to_proto(moment)
    assert 0 <= proto.nanos < 1_000_000_000
    assert convert.timestamp_from_proto(proto) == moment


def test_a_moment_beyond_the_calendar_is_refused() -> None:
    """A peer that answers the year 300,000 decides nothing."""
    with pytest.raises(BadRecord):
        convert.timestamp_from_proto(Timestamp(seconds=1 << 60))


@given(st.integers(0, 10**9))
def test_a_duration_survives_the_round_trip(seconds: int) -> None:
    """ttl is whole seconds."""
    assert convert.duration_from_proto(convert.duration_to_proto(seconds), field="ttl") == seconds


@pytest.mark.parametrize(
    "value",
    [
        Duration(seconds=1 << 62),
        Duration(seconds=1, nanos=-1),
        Duration(nanos=1_000_000_000),
        Duration(seconds=-1, nanos=1),
    ],
)
def test_a_duration_that_is_none_is_refused_by_its_field(value: Duration) -> None:
    """Section 11, sizes that overflow: INVALID_REQUEST names the field."""
    with pytest.raises(InvalidRequest) as caught:
        convert.duration_from_proto(value, field="ttl")
    assert caught.value.field == "ttl"


@pytest.mark.parametrize("state", SessionState)
def test_every_state_has_its_number(state: SessionState) -> None:
    """All states, both ways."""
    assert convert.state_from_proto(convert.state_to_proto(state)) is state


def test_the_protos_have_no_other_state() -> None:
    """A state added to the protos alone would be unreadable."""
    named = {name.removeprefix("SESSION_STATE_") for name, _ in session_pb2.SessionState.items()}
    assert named == {state.value for state in SessionState} | {"UNSPECIFIED"}


def test_an_unknown_state_is_refused() -> None:
    """In a filter it is the caller's fault, in an answer the peer's; unspecified filters nothing."""
    assert convert.state_filter_from_proto(0) is None
    assert convert.state_filter_from_proto(1) is SessionState.OPEN
    with pytest.raises(InvalidRequest):
        convert.state_filter_from_proto(99)
    for number in (0, 99):
        with pytest.raises(BadRecord):
            convert.state_from_proto(number)


def test_coverage_lists_as_many_holes_as_fit_and_says_if_there_are_more() -> None:
    """Replies stay small; the flag tells the client to ask again."""
    missing = tuple(ChunkRange(2 * i, 2 * i) for i in range(10))
    coverage = Coverage(10, 10_240, missing, (3,), PrefixDigest(0, 0, A), False)
    capped = convert.coverage_to_proto(coverage, 4)
    assert capped.missing_ranges_truncated
    assert convert.coverage_from_proto(capped).missing == missing[:4]
    whole = convert.coverage_to_proto(coverage, 10)
    assert not whole.missing_ranges_truncated
    assert convert.coverage_from_proto(whole) == coverage


def test_a_receipt_survives_the_round_trip() -> None:
    """Assembly decides on what ingest sends: every field counts."""
    receipt = Receipt(0, 1024, A, B, C, "etag")
    assert convert.receipt_from_proto(convert.receipt_to_proto(receipt)) == receipt


@pytest.mark.parametrize(
    "spoil",
    [
        {"blake3": b"short"},
        {"chaining_value": b""},
        {"sha256": A + b"x"},
        {"chunk_index": -1},
        {"length": -1},
        {"etag": ""},
    ],
)
def test_a_malformed_receipt_of_a_peer_is_refused(spoil: dict[str, Any]) -> None:
    """Forged or torn receipts fail closed (section 11)."""
    fields = {"chunk_index": 0, "length": 1, "blake3": A, "chaining_value": B, "sha256": C, "etag": "e"}
    with pytest.raises(BadRecord):
        convert.receipt_from_proto(session_pb2.Receipt(**{**fields, **spoil}))


def test_the_committed_object_survives_the_round_trip() -> None:
    """The answer of a commit is the same wherever it passes (I6)."""
    assert convert.committed_from_proto(convert.committed_to_proto(COMMITTED)) == COMMITTED
    with pytest.raises(BadRecord):
        convert.committed_from_proto(session_pb2.CommittedObject(blake3=b"short"))


HOLDER = KeyHolder("a/b", 7, "ab" * 16, SessionState.COMMITTED, 2500, A, TIME)


@pytest.mark.parametrize(
    "holder",
    [
        HOLDER,
        dataclasses.replace(HOLDER, state=SessionState.COMMITTING),
        dataclasses.replace(HOLDER, session_id="", blake3=b"", foreign=True),
    ],
)
def test_a_key_s_holder_survives_the_round_trip(holder: KeyHolder) -> None:
    assert convert.holder_from_proto(convert.holder_to_proto(holder)) == holder


@pytest.mark.parametrize("spoil", [{"blake3": b""}, {"size": -1}, {"generation": -1}, {"state": 0}, {"foreign": True}])
def test_a_holder_that_no_server_can_mean_is_refused(spoil: dict[str, Any]) -> None:
    proto = convert.holder_to_proto(HOLDER)
    for name, value in spoil.items():
        setattr(proto, name, value)
    with pytest.raises(BadRecord):
        convert.holder_from_proto(proto)


def test_a_generation_and_a_duplicate_survive_the_round_trip() -> None:
    chosen = dataclasses.replace(COMMITTED, generation=7, duplicate=True)
    assert convert.committed_from_proto(convert.committed_to_proto(chosen)) == chosen
    assert convert.committed_to_proto(COMMITTED).HasField("generation")  # 0 means something


def test_a_session_shows_its_plan_and_never_its_token() -> None:
    """The token proves whose object it is; it stays between us and the store."""
    proto = convert.session_to_proto(view())
    assert (proto.session_id, proto.filename, proto.size, proto.chunk_count) == ("0" * 32, "f.bin", 2500, 3)
    assert proto.expire_time.ToDatetime(UTC) == TIME + timedelta(hours=1)
    assert dict(proto.metadata) == {"colour": "red"}
    assert not proto.HasField("coverage")
    assert TOKEN.encode() not in proto.SerializeToString()


def test_the_objects_key_shows_once_it_is_committed() -> None:
    """Before that there is nothing at the key (I2)."""
    assert convert.session_to_proto(view()).object_key == ""
    proto = convert.session_to_proto(view(state=SessionState.COMMITTED, committed=COMMITTED))
    assert proto.object_key == RECORD.key
    assert proto.committed_object.replayed


def test_an_unknown_size_is_absent_and_an_empty_object_is_not() -> None:
    """`optional` on the wire: 0 bytes and "not declared" differ."""
    unknown = convert.session_to_proto(view(record=dataclasses.replace(RECORD, size=None), plan=ChunkPlan(1024)))
    assert not unknown.HasField("size")
    assert not unknown.HasField("chunk_count")
    empty = convert.session_to_proto(view(record=dataclasses.replace(RECORD, size=0), plan=ChunkPlan(1024, 0)))
    assert empty.HasField("size")
    assert (empty.size, empty.chunk_count) == (0, 0)
    assert empty.HasField("chunk_count")


@pytest.mark.parametrize("kind", [assembly_service_pb2.CommitSessionRequest, assembly_service_pb2.VerifySessionRequest])
def test_the_parameters_of_a_commit_are_read(kind: Any) -> None:
    """Both requests have the same three; an empty object has no chunks."""
    parameters = convert.parameters_from_proto(kind(chunk_count=3, size=2500, blake3=A))
    assert (parameters.chunk_count, parameters.size, parameters.blake3) == (3, 2500, A)
    assert convert.parameters_from_proto(kind(blake3=A)).size == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"chunk_count": 0, "size": 1}, InvalidSize),
        ({"chunk_count": 1, "size": 0}, InvalidSize),
        ({"chunk_count": 5, "size": 4}, InvalidSize),
        ({"chunk_count": -1, "size": 1}, InvalidSize),
        ({"chunk_count": 10_001, "size": 1 << 40}, InvalidSize),
        ({"chunk_count": (1 << 63) - 1, "size": (1 << 63) - 1}, InvalidSize),
        ({"chunk_count": 1, "size": -1}, InvalidSize),
        ({"chunk_count": 1, "size": 1, "blake3": b"a" * 31}, InvalidDigest),
        ({"chunk_count": 1, "size": 1, "blake3": b""}, InvalidDigest),
    ],
)
def test_parameters_that_no_object_has_are_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    """Section 11: n = 0 with size > 0, sizes that overflow, a digest that is not 32 bytes."""
    request = assembly_service_pb2.CommitSessionRequest(**{"blake3": A, **fields})
    with pytest.raises(error):
        convert.parameters_from_proto(request)


def test_limits_are_shown_as_they_are() -> None:
    """GetServerInfo: what a client plans with."""
    proto = convert.limits_to_proto(Limits(min_chunk_bytes=1024))
    assert (proto.min_chunk_bytes, proto.max_chunks, proto.default_ttl.seconds) == (1024, 10_000, 86_400)
    assert proto.max_object_bytes == Limits().max_object_bytes
