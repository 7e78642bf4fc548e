"""UploadChunksRequest off the wire without a copy of its data.

The generated parser copies each ``bytes`` field; at gigabytes that is a third of a handler's cost. So the shape that
every client sends - one ChunkFrame, its fields once each and in order - is read here by hand, with ``data`` a view of
the message. Whatever else a protobuf may look like goes to the generated parser: the two agree on every message
(property-tested), and this one never guesses.

The encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from ingest_service.stream_messages import Frame, Header, Malformed, StreamMessage
from sealane.v1 import ingest_service_pb2

_VARINT: Final = 0
_LEN: Final = 2
# Tags are (field number << 3) | wire type; those of fields 1 to 15 are one byte.
_FRAME: Final = 2 << 3 | _LEN
_CHUNK_INDEX: Final = 1 << 3 | _VARINT
_OFFSET: Final = 2 << 3 | _VARINT
_DATA: Final = 3 << 3 | _LEN
_BLAKE3: Final = 4 << 3 | _LEN
_MAX_VARINT_BYTES: Final = 9
"""63 bits: a tenth byte means a negative number or an overlong one, which is not what clients send."""
_MAX_LENGTH_BYTES: Final = 5
"""The generated parser takes no longer ones: lengths have 31 bits."""


def parse_upload_message(message: bytes) -> StreamMessage:
    """The request deserializer of UploadChunks. Never raises: what can't be read is :class:`Malformed`."""
    frame = _hot_frame(message)
    return frame if frame is not None else _generated(message)


def _hot_frame(message: bytes) -> Frame | None:
    """``message`` as a frame, or None if it has any other shape than the usual one."""
    end = len(message)
    if end < 2 or message[0] != _FRAME:
        return None
    length, at = _varint(message, 1, _MAX_LENGTH_BYTES)
    if at + length != end:  # cut off, or something follows the frame
        return None
    index: int | None = None
    offset = 0
    data: bytes | memoryview = b""
    blake3 = b""
    previous = 0
    while at < end:
        tag = message[at]
        if tag <= previous:  # a field twice or out of order: legal, and not ours to merge
            return None
        previous = tag
        value, at = _varint(message, at + 1, _MAX_LENGTH_BYTES if tag & 7 == _LEN else _MAX_VARINT_BYTES)
        if tag == _CHUNK_INDEX:
            index = value
        elif tag == _OFFSET:
            offset = value
        elif tag in (_DATA, _BLAKE3):
            if at + value > end:
                return None
            if tag == _DATA:
                data = memoryview(message)[at : at + value]
            else:
                blake3 = message[at : at + value]
            at += value
        else:
            return None
    return Frame(index, offset, data, blake3) if at == end else None


def _varint(message: bytes, at: int, longest: int) -> tuple[int, int]:
    """The number that begins at ``at`` and where it ends; an end behind the message if it is cut off or too long."""
    value = 0
    for count, byte in enumerate(message[at : at + longest]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    return 0, len(message) + 1


def _generated(message: bytes) -> StreamMessage:
    try:
        request = ingest_service_pb2.UploadChunksRequest.FromString(message)
    except DecodeError:
        return Malformed("A message of the stream is not an UploadChunksRequest.")
    match request.WhichOneof("message"):
        case "header":
            return Header(request.header.session_id)
        case "frame":
            frame = request.frame
            index = frame.chunk_index if frame.HasField("chunk_index") else None
            return Frame(index, frame.offset, frame.data, frame.blake3)
        case _:
            return Malformed("A message of the stream has neither a header nor a frame.")
