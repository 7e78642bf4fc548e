"""The purpose-made deserializer reads every message as the generated parser does."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.frames import parse_upload_message
from ingest_service.stream_messages import Frame, Header, Malformed
from sealane.v1 import ingest_service_pb2 as pb

INT64 = st.integers(-(2**63), 2**63 - 1)
FRAMES = st.builds(
    pb.ChunkFrame,
    chunk_index=st.one_of(st.none(), INT64),
    offset=INT64,
    data=st.binary(max_size=300),
    blake3=st.one_of(st.just(b""), st.binary(min_size=31, max_size=33)),
)
MESSAGES = st.one_of(
    st.builds(lambda f: pb.UploadChunksRequest(frame=f), FRAMES),
    st.builds(lambda s: pb.UploadChunksRequest(header=pb.StreamHeader(session_id=s)), st.text(max_size=40)),
    st.just(pb.UploadChunksRequest()),
)


def _expected(message: bytes) -> object:
    """What the generated parser makes of it."""
    try:
        request = pb.UploadChunksRequest.FromString(message)
    except DecodeError:
        return Malformed
    match request.WhichOneof("message"):
        case "header":
            return ("header", request.header.session_id)
        case "frame":
            frame = request.frame
            index = frame.chunk_index if frame.HasField("chunk_index") else None
            return ("frame", index, frame.offset, frame.data, frame.blake3)
        case _:
            return Malformed


def _actual(message: bytes) -> object:
    match parse_upload_message(message):
        case Header(session_id):
            return ("header", session_id)
        case Frame(index, offset, data, blake3):
            return ("frame", index, offset, bytes(data), blake3)
        case _:
            return Malformed


@given(MESSAGES)
def test_every_message_reads_as_the_generated_parser_reads_it(message: pb.UploadChunksRequest) -> None:
    encoded = message.SerializeToString()
    assert _actual(encoded) == _expected(encoded)


@given(MESSAGES, st.data())
def test_a_mutilated_message_reads_as_the_generated_parser_reads_it(message: Any, data: st.DataObject) -> None:
    encoded = bytearray(message.SerializeToString() or b"\0")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                encoded[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del encoded[at:]
                encoded += b"" if encoded else b"\0"
            case _:
                encoded[at:at] = data.draw(st.binary(min_size=1, max_size=6))
    assert _actual(bytes(encoded)) == _expected(bytes(encoded))


@given(st.lists(MESSAGES, min_size=2, max_size=3))
def test_messages_run_together_read_as_the_generated_parser_reads_them(messages: list[Any]) -> None:
    encoded = b"".join(message.SerializeToString() for message in messages)
    assert _actual(encoded) == _expected(encoded)


@given(st.permutations([b"\x08\x05", b"\x10\x07", b"\x1a\x03abc", b"\x22\x01z", b"\x10\x09", b"\x28\x01"]))
def test_fields_in_any_order_twice_or_unknown_read_as_the_generated_parser_reads_them(fields: list[bytes]) -> None:
    body = b"".join(fields)
    encoded = bytes([0x12, len(body)]) + body
    assert _actual(encoded) == _expected(encoded)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x12\x00",
        b"\x12\x80\x00",
        b"\x12\x02\x10\x80",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x12\x0b\x10" + b"\xff" * 9 + b"\x01",
        b"\x12\x0c\x10" + b"\x80" * 10 + b"\x01",
        b"\x12\x03\x1a\x05a",
        b"\x0a\x01\xff",
        b"\x92\x00\x02\x10\x01",
    ],
)
def test_edges_of_the_encoding_read_as_the_generated_parser_reads_them(message: bytes) -> None:
    assert _actual(message) == _expected(message)


def _overlong(number: int, width: int) -> bytes:
    """A varint of ``width`` bytes, most of them needless."""
    return bytes(number >> 7 * at & 0x7F | (0x80 if at < width - 1 else 0) for at in range(width))


@pytest.mark.parametrize("width", range(1, 12))
@pytest.mark.parametrize("where", ["message", "data", "blake3", "chunk_index"])
def test_overlong_numbers_and_lengths_read_as_the_generated_parser_reads_them(where: str, width: int) -> None:
    """A length of more than five bytes is an error to it, a number of up to ten is none."""
    body = {
        "message": b"\x08\x05\x1a\x03abc",
        "data": b"\x1a" + _overlong(3, width) + b"abc",
        "blake3": b"\x22" + _overlong(3, width) + b"abc",
        "chunk_index": b"\x08" + _overlong(5, width),
    }[where]
    encoded = b"\x12" + _overlong(len(body), width if where == "message" else 1) + body
    assert _actual(encoded) == _expected(encoded)


def test_the_data_of_a_usual_frame_is_a_view_of_the_message_and_no_copy() -> None:
    frame = pb.ChunkFrame(chunk_index=0, offset=0, data=b"x" * 1000, blake3=b"d" * 32)
    encoded = pb.UploadChunksRequest(frame=frame).SerializeToString()
    parsed = parse_upload_message(encoded)
    assert isinstance(parsed, Frame)
    assert isinstance(parsed.data, memoryview)
    assert parsed.data.obj is encoded
