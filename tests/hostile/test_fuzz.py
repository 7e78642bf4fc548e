"""A seeded half minute of what ``make fuzz`` does for longer, and message orders that hypothesis makes and shrinks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import structlog
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealane.client.frames import frame, header
from sealane.domain.errors import Reason, SealaneError
from sealane.store.simulated import SimulatedStore

from .fuzz import fuzz
from .plays import KIB
from .world import World, world

CHUNKS = [blake3(bytes([index])).digest(length=KIB) for index in range(3)]
HALF = 500
"""A chunk is sent as two frames: bytes 0…499 and the rest, which has the digest."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals are thousands of lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(200)
async def test_no_bytes_and_no_order_of_them_crash_hang_or_grow_a_server() -> None:
    """I13, I14: garbage, huge varints, unknown fields, wrong order, compression, headers, no gRPC at all."""
    books = await fuzz(20261122, seconds=20.0)
    assert books.wrong == []
    assert books.received > 1000
    assert books.judge.answers["OK"]
    assert len(books.judge.answers) > 5
    assert books.honest_objects == books.rounds


# --- every order of messages ---

_PIECES = [
    *(("first half", index) for index in range(3)),
    *(("second half", index) for index in range(3)),
    *(("whole", index) for index in range(3)),
    ("wrong digest", 1),
    ("header", 0),
    ("nothing", 0),
    ("noise", 0),
]
Token = tuple[str, int]


def wire(session: str, token: Token) -> bytes:
    kind, index = token
    data = CHUNKS[index]
    digest = blake3(data).digest()
    match kind:
        case "first half":
            return frame(index, 0, data[:HALF])
        case "second half":
            return frame(index, HALF, data[HALF:], digest)
        case "whole":
            return frame(index, 0, data, digest)
        case "wrong digest":
            return frame(index, 0, data, blake3(b"another").digest())
        case "header":
            return header(session)
        case "nothing":
            return b""
        case _:
            return b"\xff\xff\xff\xff"


def expected(tokens: list[Token]) -> tuple[set[int], Reason | None]:
    """What section 4 says of a stream with a header: the chunks that may be stored, and its first fault.

    Messages are read one after the other, and the first that is out of place ends it. A chunk is hashed while the next
    ones arrive: those that are whole are stored although one before them was not what its digest said.
    """
    whole: set[int] = set()
    begun: int | None = None
    fault: Reason | None = None
    for kind, index in tokens:
        if kind == "first half" and begun is None:
            begun = index
        elif kind == "second half" and begun == index:
            whole.add(index)
            begun = None
        elif kind == "whole" and begun is None:
            whole.add(index)
        elif kind == "wrong digest" and begun is None:
            # A chunk that is stored already is compared with its receipt before its bytes are hashed.
            fault = fault or (Reason.CHUNK_CONFLICT if index in whole else Reason.CHUNK_CORRUPT)
        else:
            return whole, fault or Reason.INVALID_STREAM
    return whole, fault or (Reason.INVALID_STREAM if begun is not None else None)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, World]]:
    """One world for all examples."""
    with asyncio.Runner() as runner:
        scope = AsyncExitStack()
        subject = runner.run(scope.enter_async_context(world(SimulatedStore())))
        yield runner, subject
        runner.run(scope.aclose())


@given(tokens=st.lists(st.sampled_from(_PIECES), max_size=7))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_stores_the_chunks_that_are_whole_and_nothing_behind_a_message_out_of_place(
    running: tuple[asyncio.Runner, World], tokens: list[Token]
) -> None:
    """Only the frame with the digest ends a chunk ⚠; and what is faulty takes nothing with it but itself."""
    runner, subject = running

    async def play() -> None:
        session = await subject.create(size=3 * KIB)
        wanted, fault = expected(tokens)
        said: Reason | None = None
        try:
            answer = await subject.send([header(session), *(wire(session, token) for token in tokens)])
            assert {chunk.chunk_index for chunk in answer.chunks} == wanted
        except SealaneError as error:
            said = error.reason
        assert (said is None) == (fault is None), (said, fault)
        view = (await subject.call(subject.ingest_stub, "GetSession", _get(session))).session
        missing = {i for gap in view.coverage.missing_ranges for i in range(gap.first, gap.last + 1)}
        stored = set(range(3)) - missing
        assert stored <= wanted
        if fault is None:
            assert stored == wanted
        elif said is not fault:  # of two faults in hand at once, either is said
            assert said in (Reason.CHUNK_CORRUPT, Reason.CHUNK_CONFLICT, Reason.INVALID_STREAM)
        assert subject.bugs == 0

    runner.run(play())


def _get(session: str) -> object:
    from sealane.v1 import ingest_service_pb2

    return ingest_service_pb2.GetSessionRequest(session_id=session)
