"""InvalidPart and BadDigest: chunks asked for again by index, and mended (protocol.md section 6)."""

from __future__ import annotations

import dataclasses
import random

import pytest
from assembly_faults import Fault, Faults, first, refuses
from assembly_time import run, wait
from assembly_world import CHUNK, DIALECTS, World, content_of
from cmu_answers import CMU, cmu, count

from sealane.domain.errors import (
    ChunkNeeded,
    SessionLost,
)
from sealane.domain.states import SessionState
from sealane.store import keys, port
from sealane.store.simulated_traits import AWS, SEAWEEDFS


@DIALECTS
@pytest.mark.parametrize("refusal", [None, port.ChecksumMismatch("BadDigest, and names no part")])
def test_an_overwritten_part_is_asked_for_by_index_and_mended_by_the_same_bytes(dialect, refusal) -> None:
    """Row "CMU: InvalidPart, BadDigest": ABORTED CHUNK_NEEDED for the indexes whose ETag differs; mended, done."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        await wait(5)
        world.bucket._uploads[session.upload_id].rows[2].clear()
        await world.store_part(session, 1, content_of(CHUNK, seed=66))
        fault = None if refusal is None else cmu(session, refuses(refusal))
        replica = world.replica(faults=fault)
        with pytest.raises(ChunkNeeded) as caught:
            await replica.commit(session)
        assert [(c.index, c.expected) for c in caught.value.chunks] == [(1, session.receipts[1].blake3)]
        assert await replica.outcome(session) == (SessionState.COMMITTING, None)
        assert world.object(session) is None
        await wait(5)
        await world.store_part(session, 1, session.chunk(1))
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


@DIALECTS
def test_a_missing_part_is_asked_for_too(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        await world.decide(session)
        del world.bucket._uploads[session.upload_id].rows[3]
        with pytest.raises(ChunkNeeded) as caught:
            await world.replica().commit(session)
        assert [c.index for c in caught.value.chunks] == [2]

    run(main())


def test_a_part_stored_again_under_another_etag_is_named_anew_if_the_row_carries_our_sha256() -> None:
    """Row "CMU: InvalidPart": newest row's ETag differs and it carries our SHA-256 → new list."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        await world.decide(session)
        row = world.bucket._uploads[session.upload_id].rows[2][0]
        row.listed = dataclasses.replace(row.listed, etag="e" * 32)
        replica = world.replica()
        await replica.commit(session)
        assert world.object(session) == session.content
        assert count(replica, CMU) == 2

    run(main())


def test_all_chunks_are_asked_for_if_no_etag_differs() -> None:
    """Row "CMU: InvalidPart, BadDigest": … or for all if none differs."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        fault = cmu(session, refuses(port.ChecksumMismatch()), times=99)
        with pytest.raises(ChunkNeeded) as caught:
            await world.replica(faults=fault).commit(session)
        assert [c.index for c in caught.value.chunks] == [0, 1, 2, 3]

    run(main())


def test_the_newest_row_of_a_part_counts_not_the_last_one_listed() -> None:
    """SeaweedFS lists all rows of an overwritten part, in no order of time."""

    async def main() -> None:
        for seed in range(8):
            world = World(SEAWEEDFS)
            session = await world.session()
            await world.decide(session)
            await wait(5)
            await world.store_part(session, 1, random.Random(seed).randbytes(CHUNK))
            fault = cmu(session, refuses(port.InvalidPart()), times=99)
            with pytest.raises(ChunkNeeded) as caught:
                await world.replica(faults=fault).commit(session)
            assert [c.index for c in caught.value.chunks] == [1]

    run(main())


def test_invalidpart_of_an_upload_that_is_gone_meanwhile_follows_the_row_of_nosuchupload() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)

        async def lose() -> None:
            world.bucket.lose_upload(session.upload_id)

        faults = Faults(cmu(session, refuses(port.InvalidPart())), Fault("list_parts", session.record.key, first(lose)))
        with pytest.raises(SessionLost):
            await world.replica(faults=faults).commit(session)

    run(main())


@pytest.mark.parametrize("op", ["list_parts", "get"])
def test_i8_chunk_needed_is_not_answered_of_a_commit_that_another_finished(op) -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        rival = world.replica()
        meanwhile = first(lambda: rival.commit(session))
        faults = Faults(
            cmu(session, refuses(port.InvalidPart()), times=9),
            Fault("list_parts", session.record.key, meanwhile if op == "list_parts" else lambda effect: effect()),
            Fault("get", keys.DONE, meanwhile, nth=2 if op == "get" else 10**6),
        )
        assert (await world.replica(faults=faults).commit(session)).size == len(session.content)

    run(main())
