"""Errors on the wire (protocol.md section 10): one table, both ways, within 4 KiB, nothing private."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain import errors
from sealane.domain.chunks import ChunkDigests, ChunkRange
from sealane.domain.errors import Reason, SealaneError
from sealane.domain.states import SessionState
from sealane.domain.views import KeyHolder
from sealane.rpc.status import (
    MAX_TRAILER_BYTES,
    STATUS_DETAILS_KEY,
    TABLE,
    WireStatus,
    from_rpc_error,
    to_status,
    translate_store_error,
)
from sealane.store import port
from sealane.v1 import errors_pb2

ROOT = Path(__file__).parents[2]
A, B = b"a" * 32, b"b" * 32
HOLDER = KeyHolder("a/b", 7, "ab" * 16, SessionState.COMMITTED, 5, A, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

EXAMPLES: dict[Reason, SealaneError] = {
    Reason.INVALID_REQUEST: errors.InvalidRequest("ttl is too long.", field="ttl"),
    Reason.INVALID_SESSION_ID: errors.InvalidSessionId("not hex.", field="session_id"),
    Reason.INVALID_FILENAME: errors.InvalidFilename("has a separator.", field="filename"),
    Reason.INVALID_METADATA: errors.InvalidMetadata("too large.", field="metadata"),
    Reason.INVALID_DIGEST: errors.InvalidDigest("31 bytes.", field="blake3"),
    Reason.INVALID_STREAM: errors.InvalidStream("no header."),
    Reason.INVALID_SIZE: errors.InvalidSize("negative.", field="size"),
    Reason.INVALID_PAGE_TOKEN: errors.InvalidPageToken("not ours.", field="page_token"),
    Reason.INVALID_OBJECT_KEY: errors.InvalidObjectKey("object_key must not be empty.", field="object_key"),
    Reason.UNAUTHENTICATED: errors.Unauthenticated(),
    Reason.PERMISSION_DENIED: errors.PermissionDenied(),
    Reason.SESSION_NOT_FOUND: errors.SessionNotFound(),
    Reason.CHUNK_CORRUPT: errors.ChunkCorrupt.digest(0, declared=A, actual=B),
    Reason.CHUNK_NEEDED: errors.ChunkNeeded.of([ChunkDigests(3, A), ChunkDigests(9, B, A)]),
    Reason.CHUNK_CONFLICT: errors.ChunkConflict.of(7, stored=A, sent=B),
    Reason.CHUNK_OUT_OF_RANGE: errors.ChunkOutOfRange.of(4, "length", 9, 1, 8),
    Reason.COVERAGE_INCOMPLETE: errors.CoverageIncomplete.of([ChunkRange(0, 0), ChunkRange(2, 5)]),
    Reason.DIGEST_MISMATCH: errors.DigestMismatch(expected=A, actual=B, expected_size=5, actual_size=6),
    Reason.GENERATION_MISMATCH: errors.GenerationMismatch.of("a/b", 0, HOLDER),
    Reason.REQUEST_ID_USED: errors.RequestIdUsed(),
    Reason.SESSION_SEALED: errors.SessionSealed(state=SessionState.COMMITTED),
    Reason.SESSION_ABORTED: errors.SessionAborted(),
    Reason.SESSION_EXPIRED: errors.SessionExpired(),
    Reason.SESSION_NOT_COMMITTED: errors.SessionNotCommitted(state=SessionState.COMMITTING),
    Reason.DELETE_UNSUPPORTED: errors.DeleteUnsupported(),
    Reason.OVERLOADED: errors.Overloaded(retry_after=2.5),
    Reason.QUOTA_EXCEEDED: errors.QuotaExceeded("Too many.", quota="open_sessions", limit=500, used=501),
    Reason.DRAINING: errors.Draining(),
    Reason.STORE_UNAVAILABLE: errors.StoreUnavailable(),
    Reason.OUTCOME_UNKNOWN: errors.OutcomeUnknown(retry_after=0.0),
    Reason.PEER_UNAVAILABLE: errors.PeerUnavailable(),
    Reason.KEY_COOLING: errors.KeyCooling(retry_after=1800.0),
    Reason.SESSION_LOST: errors.SessionLost(),
    Reason.OBJECT_CORRUPT: errors.ObjectCorrupt(expected=A, actual=B, expected_size=5, actual_size=5),
    Reason.INTERNAL: errors.InternalError(),
    Reason.UNIMPLEMENTED: errors.Unimplemented(),
    Reason.DEADLINE_EXCEEDED: errors.DeadlineExceeded(),
}


class Answered(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """An RpcError as a client gets it, without a server."""

    def __init__(self, code: grpc.StatusCode, text: str = "", trailers: Any = ()) -> None:
        self._answer = WireStatus(code, text, trailers)

    @classmethod
    def by(cls, answer: WireStatus) -> Answered:
        return cls(*answer)

    def code(self) -> grpc.StatusCode:
        return self._answer.code

    def details(self) -> str:
        return self._answer.message

    def trailing_metadata(self) -> Any:
        return self._answer.trailing_metadata


def status_of(answer: WireStatus) -> status_pb2.Status:
    (raw,) = [value for key, value in answer.trailing_metadata if key == STATUS_DETAILS_KEY]
    return status_pb2.Status.FromString(raw)


def on_the_wire(answer: WireStatus) -> int:
    """Bytes of all trailers as HTTP/2 carries them: percent-encoded text, base64 of binary values."""
    # gRPC over HTTP/2, "Responses": bytes outside of space to ~, and %, take three each.
    total = len("grpc-message") + sum(
        3 if byte < 0x20 or byte > 0x7E or byte == 0x25 else 1 for byte in answer.message.encode()
    )
    for key, value in answer.trailing_metadata:
        total += len(key) + len(base64.b64encode(value) if isinstance(value, bytes) else value)
    return total


def public(error: SealaneError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if name != "private"}


def test_every_reason_has_a_row_a_class_and_a_name_in_the_protos() -> None:
    """The catalogue is complete: domain, protos and table list the same reasons, and each class its own."""
    in_protos = {name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert set(TABLE) == set(Reason) == set(EXAMPLES)
    assert {reason.value for reason in Reason} == in_protos
    assert all(row.error.reason is reason for reason, row in TABLE.items())


def test_codes_are_those_that_the_protos_promise() -> None:
    """errors.proto says the code first in each reason's comment; the table answers exactly that one."""
    text = (ROOT / "protos/sealane/v1/errors.proto").read_text()
    promised = {
        name: code
        for code, name in re.findall(r"// ([A-Z_]+): (?:[^\n]*\n\s*//)*[^\n]*\n\s*ERROR_REASON_(\w+) = [1-9]", text)
    }
    assert promised == {reason.value: row.code.name for reason, row in TABLE.items()}


@pytest.mark.parametrize("reason", Reason)
def test_a_client_raises_the_error_that_the_server_raised(reason: Reason) -> None:
    """Same class, same message, same fields, after a round trip over the wire's form."""
    raised = EXAMPLES[reason]
    received = from_rpc_error(Answered.by(to_status(raised)))
    assert type(received) is type(raised)
    assert public(received) == public(raised)


@pytest.mark.parametrize("reason", Reason)
def test_a_status_has_one_error_info_and_at_most_one_detail(reason: Reason) -> None:
    """google.rpc.Status with the code and the text of the gRPC status, ErrorInfo of our domain, one detail at most."""
    answer = to_status(EXAMPLES[reason], "e1d", request_id="r1")
    status = status_of(answer)
    info = error_details_pb2.ErrorInfo()
    assert [detail.Is(info.DESCRIPTOR) for detail in status.details] in ([True], [True, False])
    status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("sealane", reason.value)
    assert dict(info.metadata) == {"error_id": "e1d", "request_id": "r1"}
    assert (status.code, status.message) == (answer.code.value[0], answer.message)


def test_overload_says_when_to_come_back_and_a_used_up_quota_does_not() -> None:
    """OVERLOADED carries RetryInfo; QUOTA_EXCEEDED QuotaFailure without one: waiting would not help."""
    overloaded, quota = (status_of(to_status(EXAMPLES[r])) for r in (Reason.OVERLOADED, Reason.QUOTA_EXCEEDED))
    retry, failure = error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
    assert overloaded.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500
    assert quota.details[1].Unpack(failure)


def test_the_private_text_stays_here_and_the_error_id_goes_out() -> None:
    """Nothing of ``private`` is in the status; a bug's public text names the id under which the log has it."""
    answer = to_status(errors.InternalError(private="bucket-17 at 10.0.0.1"), "cafe01")
    assert b"bucket-17" not in repr(answer).encode() + status_of(answer).SerializeToString()
    assert "cafe01" in answer.message
    assert "error_id=cafe01" in from_rpc_error(Answered.by(answer)).private


_any_character = st.characters(exclude_categories=())  # lone surrogates too, which no wire can carry
_texts = st.builds(
    lambda piece, times: piece * times, st.text(_any_character, max_size=5), st.sampled_from([1, 100, 2000])
)
_numbers = st.integers(-(1 << 70), 1 << 70)
_digests = st.one_of(st.none(), st.just(A))
_monsters = st.one_of(
    st.builds(errors.InvalidFilename, _texts, field=_texts),
    st.builds(errors.ChunkNeeded, _texts, chunks=st.lists(st.builds(ChunkDigests, _numbers, _digests, _digests))),
    st.builds(
        errors.CoverageIncomplete,
        _texts,
        missing=st.integers(0, 12_000).map(lambda n: [ChunkRange(1 << 62, 1 << 62)] * n),
        missing_chunks=_numbers,
    ),
    st.builds(errors.ChunkOutOfRange, _texts, index=_numbers, field=_texts, value=_numbers),
    st.builds(errors.Overloaded, _texts, retry_after=st.floats(-1, 1e300)),
    st.builds(errors.QuotaExceeded, _texts),
    st.builds(
        lambda text, key: errors.GenerationMismatch(text, holder=replace(HOLDER, object_key=key)),
        _texts,
        st.sampled_from(["k" * 1024, "é" * 512]),
    ),
)


@given(_monsters, st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map(lambda text: text * 50))
def test_trailers_stay_below_4_kib_whatever_an_error_holds(error: SealaneError, request_id: str) -> None:
    """Trailers of 12 KB fail the whole call, so texts and lists are cut, and the reason survives."""
    answer = to_status(error, "0123456789abcdef", request_id=request_id)
    assert on_the_wire(answer) <= MAX_TRAILER_BYTES
    assert type(from_rpc_error(Answered.by(answer))) is type(error)


def test_the_longest_key_s_holder_goes_through_whole() -> None:
    """A conflict names the holder, whatever the key."""
    holder = replace(HOLDER, object_key="k" * 1020, generation=10**12 - 1, size=1 << 62)
    answer = to_status(errors.GenerationMismatch.of("k" * 1020, 0, holder), "0123456789abcdef", request_id="r" * 36)
    received = from_rpc_error(Answered.by(answer))
    assert isinstance(received, errors.GenerationMismatch)
    assert received.holder == holder


def test_the_longest_list_beside_the_longest_text_is_cut_to_fit() -> None:
    """64 ranges of the largest numbers, a text that is cut by itself, and all ids: still below the bound."""
    monster = errors.CoverageIncomplete("x" * 10_000, missing=[ChunkRange((1 << 63) - 2, (1 << 63) - 1)] * 64)
    answer = to_status(monster, "0123456789abcdef", request_id="r" * 128)
    assert on_the_wire(answer) <= MAX_TRAILER_BYTES
    received = from_rpc_error(Answered.by(answer))
    assert isinstance(received, errors.CoverageIncomplete)
    assert received.truncated
    assert 40 < len(received.missing) < 64


def test_a_list_that_was_cut_says_so() -> None:
    """16 chunks and 64 ranges go through whole; of more, the first ones and a flag."""
    many = errors.ChunkNeeded("Again.", chunks=[ChunkDigests(i, A, B) for i in range(100)])
    received = from_rpc_error(Answered.by(to_status(many)))
    assert isinstance(received, errors.ChunkNeeded)
    assert received.truncated
    assert [chunk.index for chunk in received.chunks] == list(range(16))
    holes = [ChunkRange(2 * i, 2 * i) for i in range(64)]
    whole = from_rpc_error(Answered.by(to_status(errors.CoverageIncomplete.of(holes))))
    assert isinstance(whole, errors.CoverageIncomplete)
    assert (whole.missing, whole.truncated) == (tuple(holes), False)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.PeerUnavailable),
        (grpc.StatusCode.CANCELLED, errors.PeerUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unimplemented),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.InternalError),
        (grpc.StatusCode.UNKNOWN, errors.InternalError),
    ],
)
def test_without_error_info_only_a_server_that_is_away_is_worth_a_retry(
    code: grpc.StatusCode, expected: type[SealaneError]
) -> None:
    """gRPC's own failures (section 10): a frame too large is RESOURCE_EXHAUSTED too, and would fail again.

    CANCELLED is what a server that stops answers to a call that arrives in that moment.
    """
    error = from_rpc_error(Answered(code, "10.0.0.1 refused"))
    assert type(error) is expected
    assert "10.0.0.1" not in error.message
    assert "10.0.0.1" in error.private
    assert isinstance(error, errors.RetryLater) == (code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))


@pytest.mark.parametrize(
    "trailers",
    [
        ((STATUS_DETAILS_KEY, b"\xff\xff"),),
        ((STATUS_DETAILS_KEY, "text"),),
        ((STATUS_DETAILS_KEY, status_pb2.Status(code=14).SerializeToString()),),
        None,
    ],
)
def test_details_that_cannot_be_read_leave_the_code(trailers: Any) -> None:
    """A proxy's or a broken server's trailers are no reason to fail in another way."""
    assert type(from_rpc_error(Answered(grpc.StatusCode.UNAVAILABLE, "", trailers))) is errors.PeerUnavailable


def test_a_reason_of_another_domain_or_of_the_future_is_judged_by_its_code() -> None:
    """ErrorInfo of somebody else, or a reason that this version does not know."""
    for info in (
        error_details_pb2.ErrorInfo(domain="googleapis.com", reason="DRAINING"),
        error_details_pb2.ErrorInfo(domain="sealane", reason="MOON_PHASE"),
    ):
        status = status_pb2.Status(code=14, message="x")
        status.details.add().Pack(info)
        answer = Answered(grpc.StatusCode.UNAVAILABLE, "x", ((STATUS_DETAILS_KEY, status.SerializeToString()),))
        assert type(from_rpc_error(answer)) is errors.PeerUnavailable


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (port.OutcomeUnknown("cut"), errors.StoreUnavailable),
        (port.Throttled("slow down"), errors.StoreUnavailable),
        (port.WriteConflict("409"), errors.StoreUnavailable),
        (port.AccessDenied("403"), errors.StoreUnavailable),
        (port.ClockSkewed("403"), errors.StoreUnavailable),
        (port.Rejected("400"), errors.InternalError),
        (port.NoSuchBucket("404"), errors.InternalError),
        (port.NoSuchKey("404"), errors.InternalError),
        (port.PreconditionFailed("412"), errors.InternalError),
    ],
)
def test_a_store_error_that_nobody_handled_keeps_its_text_private(
    error: port.StoreError, expected: type[SealaneError]
) -> None:
    """What may pass is UNAVAILABLE, what can't be is INTERNAL (section 6); the text is for the log."""
    error.request_id = "s3-req-1"
    translated = translate_store_error(error)
    assert type(translated) is expected
    assert error.detail not in translated.message
    assert error.detail in translated.private
    assert "s3-req-1" in translated.private
