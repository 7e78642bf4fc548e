"""A client that lies: about lengths, counts, digests and order, in every combination of these.

Whatever it says, an object's recorded digest is the b3sum of its bytes, its size their number; or there is no object.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import structlog
from blake3 import blake3

from sealane.client.frames import frame, header
from sealane.domain.errors import SealaneError
from sealane.domain.limits import KiB
from sealane.domain.records import parse_done
from sealane.store import keys
from sealane.store.simulated import SimulatedStore

from .world import TENANT, World, world

TRUE = [blake3(bytes([index])).digest(length=length) for index, length in enumerate((KiB, KiB, 300))]
CONTENT = b"".join(TRUE)

SIZES: dict[str, int | None] = {
    "true size": len(CONTENT),
    "size unknown": None,
    "one byte more": len(CONTENT) + 1,
    "one byte less": len(CONTENT) - 1,
    "a chunk less": 2 * KiB,
}
LENGTHS = {
    "true lengths": TRUE,
    "a short middle": [TRUE[0], TRUE[1][:500], TRUE[2]],
    "a long last": [TRUE[0], TRUE[1], TRUE[2] + b"x"],
    "an empty one": [TRUE[0], b"", TRUE[2]],
}
ORDERS: dict[str, list[tuple[int, int]]] = {
    "in order": [(0, 0), (1, 1), (2, 2)],
    "backwards": [(2, 2), (1, 1), (0, 0)],
    "two swapped": [(0, 1), (1, 0), (2, 2)],
    "one twice": [(0, 0), (1, 0), (2, 2)],
    "one missing": [(0, 0), (2, 2)],
    "one beyond": [(0, 0), (1, 1), (2, 2), (3, 2)],
}
"""(index that is said, chunk whose bytes are sent)"""
DIGESTS = ("true digests", "one of other bytes")


@pytest.fixture
async def liar() -> AsyncIterator[tuple[World, SimulatedStore]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    store = SimulatedStore()
    async with world(store) as made:
        yield made, store
    structlog.reset_defaults()


@pytest.mark.parametrize("digests", DIGESTS)
@pytest.mark.parametrize("size", SIZES)
async def test_i4_no_lie_makes_an_object_whose_recorded_digest_is_not_that_of_its_bytes(
    liar: tuple[World, SimulatedStore], size: str, digests: str
) -> None:
    made, store = liar
    committed = 0
    for lengths, order in itertools.product(LENGTHS, ORDERS):
        session = await made.create(size=SIZES[size])
        sent = b""
        for said, sending in ORDERS[order]:
            data = LENGTHS[lengths][sending]
            lies = digests != "true digests" and said == 1
            digest = blake3(b"other bytes" if lies else data).digest()
            try:
                await made.send([header(session), frame(said, 0, data, digest)])
                sent += data
            except SealaneError:
                continue
        committed += await _commits(made, store, session, [CONTENT, b"".join(LENGTHS[lengths]), sent])
    # What is true beside the lies is accepted; no chunk here is one byte less long.
    assert bool(committed) == (digests == "true digests" and size != "one byte less")
    assert made.bugs == 0
    assert made.events.alarms == []


async def _commits(made: World, store: SimulatedStore, session: str, contents: list[bytes]) -> int:
    """Every lie that a commit can tell; what is then recorded and stored."""
    claims = itertools.product(
        (2, 3, 4, 0), sorted({len(CONTENT), *(len(c) for c in contents)}), {blake3(c).digest() for c in contents}
    )
    accepted: list[tuple[int, int, bytes]] = []
    for count, length, digest in claims:
        try:
            answer = await made.commit(session, b"", chunk_count=count, size=length, blake3=digest)
        except SealaneError:
            continue
        assert (answer.size, answer.blake3) == (length, digest)
        accepted.append((count, length, digest))
    objects = store.state.keys(f"{TENANT}/by-session/{session}/")
    assert len(accepted) == len(objects) <= 1
    for key in objects:
        stored = b"".join(store.state.get(key).read())
        done = parse_done(b"".join(store.state.get(keys.record(TENANT, session, keys.DONE)).read()))  # type: ignore[arg-type]
        assert accepted == [(-(-len(stored) // KiB), len(stored), blake3(stored).digest())]
        assert (done.size, done.blake3) == (len(stored), blake3(stored).digest())  # type: ignore[union-attr]
    return len(objects)


@pytest.mark.parametrize("size", ["true size", "size unknown"])
async def test_the_truth_after_any_lie_is_accepted(liar: tuple[World, SimulatedStore], size: str) -> None:
    """What was refused has left nothing behind that the true chunks would trip over."""
    made, _ = liar
    session = await made.create(size=SIZES[size])
    lies: list[list[bytes]] = [
        [frame(1, 0, b"x" * KiB, blake3(TRUE[1]).digest())],
        [frame(1, 0, TRUE[1][:100], blake3(TRUE[1]).digest())],
        [frame(0, 0, TRUE[0] + b"x", blake3(TRUE[0] + b"x").digest())],
        [frame(9_999_999, 0, TRUE[0], blake3(TRUE[0]).digest())],
        [frame(1, 0, TRUE[1][:500]), frame(1, 400, TRUE[1][400:], blake3(TRUE[1]).digest())],
    ]
    for messages in lies:
        with pytest.raises(SealaneError):
            await made.send([header(session), *messages])
    for index, data in enumerate(TRUE):
        await made.put_chunk(session, index, data)
    assert (await made.commit(session, CONTENT)).blake3 == blake3(CONTENT).digest()
