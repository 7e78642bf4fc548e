"""A commit that asks for chunks again: they are sent, and it is committed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client_world import KIB, TENANT, TINY_FRAMES, World, content, world
from resuming import check

from sealane.client import SessionState
from sealane.client.errors import (
    ChunkNeeded,
    CoverageIncomplete,
)
from sealane.store.simulated_traits import AWS


async def test_chunks_that_the_commit_misses_are_sent_and_it_is_committed(here: World) -> None:
    """COVERAGE_INCOMPLETE: its ranges, and no others, are sent again."""

    async def lose_receipts() -> None:
        for key in here.store.state.keys(f".sealane/{TENANT}/sessions/"):
            if "/receipts/00000002." in key or "/receipts/00000005." in key:
                here.store.state.delete(key)

    here.assembly.trouble.before["CommitSession"] = lose_receipts
    data = content(8 * KIB)
    told: list[int] = []
    async with here.client() as client:
        result = await client.upload(data, progress=lambda now: told.append(now.chunks_stored))
    check(here, result, data)
    assert 6 in told[told.index(8) :]  # what was asked for again is not counted as stored
    assert told[-1] == 8
    assert (result.bytes_sent_again, result.chunks_sent_again) == (2 * KIB, 2)
    assert result.broken_streams == ()


async def test_a_part_that_was_overwritten_in_the_store_is_mended_by_sending_its_chunk_again(tmp_path: Path) -> None:
    """ABORTED CHUNK_NEEDED: send that chunk again, commit again; a store that forgets overwritten parts, as AWS."""
    async with world(tmp_path, dialect=AWS) as here:

        async def overwrite() -> None:
            [upload] = (await here.store.list_uploads("", timeout=5)).uploads
            other = b"x" * KIB
            digest = hashlib.sha256(other).digest()
            await here.store.upload_part(upload.key, upload.upload_id, 4, other, sha256=digest, timeout=5)

        here.assembly.trouble.before["CommitSession"] = overwrite
        data = content(6 * KIB)
        async with here.client() as client:
            result = await client.upload(data)
        check(here, result, data)
        assert result.bytes_sent_again == KIB


async def test_a_session_whose_commit_waits_for_a_chunk_is_finished_by_whoever_resumes_it(tmp_path: Path) -> None:
    """COMMITTING: no chunk is welcome but the one that the commit asks for."""
    async with world(tmp_path, dialect=AWS) as here:

        async def overwrite() -> None:
            [upload] = (await here.store.list_uploads("", timeout=5)).uploads
            other = b"x" * 4 * KIB
            digest = hashlib.sha256(other).digest()
            await here.store.upload_part(upload.key, upload.upload_id, 2, other, sha256=digest, timeout=5)

        here.assembly.trouble.before["CommitSession"] = overwrite
        data = content(12 * KIB)

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        async with here.client() as client:
            with pytest.raises(ChunkNeeded):
                await client.upload(pieces(), stream_options=TINY_FRAMES)
            [session] = [s async for s in client.list_sessions()]
            assert session.state is SessionState.COMMITTING
            result = await client.upload(data, session_id=session.session_id, stream_options=TINY_FRAMES)
        check(here, result, data)
        assert result.bytes_sent == 4 * KIB


async def test_an_iterator_cannot_give_its_chunks_again_so_the_commits_refusal_is_the_callers(here: World) -> None:
    async def lose_receipts() -> None:
        for key in here.store.state.keys(f".sealane/{TENANT}/sessions/"):
            if "/receipts/00000001." in key:
                here.store.state.delete(key)

    async def pieces() -> AsyncIterator[bytes]:
        yield content(12 * KIB)

    here.assembly.trouble.before["CommitSession"] = lose_receipts
    async with here.client() as client:
        with pytest.raises(CoverageIncomplete):
            await client.upload(pieces(), stream_options=TINY_FRAMES)
