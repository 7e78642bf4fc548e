"""Frames written by hand are what the generated class would have written, and ingest reads them by its quick way."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ingest_service.frames import _hot_frame
from sealane.client.frames import frame, frames, header
from sealane.v1 import ingest_service_pb2 as pb


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=400), st.sampled_from([b"", b"d" * 32]))
@example(0, 0, b"", b"d" * 32)
def test_a_frame_parses_to_its_fields(index: int, offset: int, data: bytes, digest: bytes) -> None:
    message = frame(index, offset, memoryview(data), digest)
    parsed = pb.UploadChunksRequest.FromString(message)
    assert parsed.WhichOneof("message") == "frame"
    assert parsed.frame.HasField("chunk_index")
    assert parsed == pb.UploadChunksRequest(
        frame=pb.ChunkFrame(chunk_index=index, offset=offset, data=data, blake3=digest)
    )
    hot = _hot_frame(message)
    assert hot is not None
    assert (hot.chunk_index, hot.offset, bytes(hot.data), hot.blake3) == (index, offset, data, digest)


@given(st.integers(0, 9999), st.binary(min_size=1, max_size=3000), st.integers(1, 1024))
def test_the_frames_of_a_chunk_are_the_chunk_and_only_the_last_has_the_digest(
    index: int, data: bytes, max_bytes: int
) -> None:
    digest = b"d" * 32
    messages = list(frames(index, memoryview(data), digest, max_bytes))
    parsed = [pb.UploadChunksRequest.FromString(message).frame for _, message in messages]
    assert b"".join(each.data for each in parsed) == data
    assert [count for count, _ in messages] == [len(each.data) for each in parsed]
    assert all(0 < len(each.data) <= max_bytes for each in parsed)
    assert [each.offset for each in parsed] == [i * max_bytes for i in range(len(parsed))]
    assert [each.blake3 for each in parsed] == [b""] * (len(parsed) - 1) + [digest]
    assert {each.chunk_index for each in parsed} == {index}


def test_a_header_has_the_session() -> None:
    assert pb.UploadChunksRequest.FromString(header("ab")).header.session_id == "ab"
