"""CommitSession looks at the chunks that there are: C2–C4 of protocol.md section 5."""

from __future__ import annotations

import dataclasses

import pytest
from assembly_time import run, wait
from assembly_world import CHUNK, TENANT, Session, World, content_of
from blake3 import blake3
from commit_acts import other

from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.decision import CommitParameters
from sealane.domain.errors import (
    ChunkConflict,
    ChunkOutOfRange,
    CoverageIncomplete,
    DigestMismatch,
    InternalError,
    InvalidSize,
)
from sealane.store import keys, simulated_bucket
from sealane.store.simulated_traits import AWS, SEAWEEDFS


@pytest.mark.parametrize("missing", [[0], [1], [3], [0, 1], [1, 3]], ids=str)
def test_a_missing_chunk_is_named(missing) -> None:
    """A missing chunk 0 or 1 is named, not "loading for ever"; the session stays OPEN and can still be committed."""

    async def main() -> None:
        world = World()
        session = await world.session(without=missing)
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(CoverageIncomplete) as caught:
                await call(session)
            named = [i for found in caught.value.missing for i in range(found.first, found.last + 1)]
            assert named == missing
            assert caught.value.missing_chunks == len(missing)
        assert world.decision(session) is None
        for index in missing:
            await world.store_chunk(session, index)
        await world.replica().commit(session)
        assert world.object(session) == session.content

    run(main())


def test_a_chunk_behind_the_end_is_out_of_range() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.store_chunk(session, 4, b"more")
        with pytest.raises(ChunkOutOfRange) as caught:
            await world.replica().commit(session)
        assert (caught.value.index, caught.value.field) == (4, "chunk_index")
        with pytest.raises(ChunkOutOfRange):
            await world.replica().commit(session, CommitParameters(0, 0, blake3(b"").digest()))

    run(main())


def test_a_short_chunk_in_the_middle_is_refused_though_its_digests_would_merge() -> None:
    """⚠ C2: a short middle chunk would merge into a root that is no file's digest."""

    async def main() -> None:
        world = World()
        session = await world.session(content_of(3 * CHUNK), without=[1])
        await world.store_chunk(session, 1, session.chunk(1)[:-1])
        by_index = sorted(session.receipts, key=lambda receipt: receipt.index)
        merged = object_digest([ChunkHash(receipt.blake3, receipt.chaining_value) for receipt in by_index])
        for parameters in (
            CommitParameters(3, 3 * CHUNK, merged),
            CommitParameters(3, 3 * CHUNK - 1, merged),
            session.parameters,
        ):
            with pytest.raises(ChunkOutOfRange) as caught:
                await world.replica().commit(session, parameters)
            assert (caught.value.field, caught.value.index) in (("length", 1), ("length", 2))
        assert world.decision(session) is None

    run(main())


def test_two_chunks_of_other_bytes_under_one_index_are_a_conflict_even_if_one_of_them_fits() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.store_chunk(session, 1, content_of(CHUNK, seed=9))
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(ChunkConflict) as caught:
                await call(session)
            assert caught.value.chunks[0].index == 1
        assert world.decision(session) is None

    run(main())


def test_another_digest_or_size_is_a_mismatch_with_both_values() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        with pytest.raises(DigestMismatch) as caught:
            await world.replica().commit(session, other(session.parameters))
        assert caught.value.expected == bytes(32)
        assert caught.value.actual == session.parameters.blake3
        await world.replica().commit(session)  # it stayed OPEN

    run(main())


def test_the_size_declared_at_create_binds() -> None:
    async def main() -> None:
        world = World()
        session = await world.session(content_of(2 * CHUNK), size=2 * CHUNK + 5)
        with pytest.raises(DigestMismatch) as caught:
            await world.replica().commit(session)
        assert (caught.value.expected_size, caught.value.actual_size) == (2 * CHUNK, 2 * CHUNK + 5)

    run(main())


@pytest.mark.parametrize(
    ("count", "size"),
    [(0, 5), (1, 0), (2, CHUNK), (1, CHUNK + 1), (1, -1), (-1, 1), (1, 1 << 63), (10_001, 10_001 * CHUNK)],
)
def test_sizes_and_counts_that_no_object_has_are_invalid(count, size) -> None:
    """Section 11: n = 0 with size > 0, sizes that overflow."""

    async def main() -> None:
        world = World()
        session = await world.session()
        for call in (world.replica().commit, world.replica().verify):
            with pytest.raises(InvalidSize):
                await call(session, CommitParameters(count, size, bytes(32)))
        assert world.decision(session) is None

    run(main())


@pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
@pytest.mark.parametrize("newest", [0, 1])
def test_of_several_etags_with_the_same_bytes_the_newest_part_is_named(dialect, newest) -> None:
    """C3: two replicas stored the same chunk with different ETags (as under SSE-KMS): ListParts' newest row decides."""

    async def main() -> None:
        world = World(dialect)
        session = await world.session()
        etags = [session.receipts[1].etag, "f" * 32]
        twin = dataclasses.replace(session.receipts[1], etag=etags[1])
        await world.plain.put(keys.receipt(TENANT, session.id, twin), b"", timeout=30)
        for etag in (etags[1 - newest], etags[newest]):
            await wait(5)
            _restore_part(world, session, 1, etag)
        replica = world.replica()
        await replica.commit(session)
        decision = world.decision(session)
        assert decision is not None
        assert decision.parts[1].etag == etags[newest]
        assert world.object(session) == session.content
        assert [call.op for call in replica.store.calls].count("list_parts") == 1

    run(main())


def test_parts_behind_the_first_page_of_their_list_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """C3: an upload may have ten thousand; a store shows a thousand at once, and here two."""
    monkeypatch.setattr(simulated_bucket, "_page_limit", lambda limit: min(limit, 2))

    async def main() -> None:
        world = World()
        session = await world.session()
        last = session.receipts[-1]
        for etag in ("e" * 32, "f" * 32):  # LIST shows the second one's receipt last, too; the first is the newest
            twin = dataclasses.replace(last, etag=etag)
            await world.plain.put(keys.receipt(TENANT, session.id, twin), b"", timeout=30)
        await wait(5)
        _restore_part(world, session, last.index, "e" * 32)
        assert (await world.replica().commit(session)).size == len(session.content)
        decision = world.decision(session)
        assert decision is not None
        assert decision.parts[-1].etag == "e" * 32

    run(main())


def _restore_part(world: World, session: Session, index: int, etag: str) -> None:
    """Store the chunk again, under an ETag that is no MD5."""
    bucket, data = world.bucket, session.chunk(index)
    receipt = session.receipts[index]
    bucket.upload_part(session.record.key, session.upload_id, index + 1, data, receipt.sha256, world.plain.now())
    row = bucket._uploads[session.upload_id].rows[index + 1][-1]
    row.listed = dataclasses.replace(row.listed, etag=etag)


def test_parts_are_listed_only_if_an_index_has_several_etags() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        assert "list_parts" not in {call.op for call in replica.store.calls}

    run(main())


def test_receipts_without_multipart_json_are_an_alarm_for_operators_not_a_loss() -> None:
    async def main() -> None:
        world = World()
        session = await world.session()
        await world.plain.delete(keys.record(TENANT, session.id, keys.MULTIPART), timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session)
        assert world.decision(session) is None

    run(main())
