"""Guards of the client that show only at one moment: each test fails if its guard is taken away (tests/mutants)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client_world import KIB, TENANT, World, content, options

from ingest_service.receive import StreamAnswer, UploadStream
from sealane.client.errors import Draining, InvalidStream, SourceChanged
from sealane.domain.ids import SessionId
from sealane.store import keys

DATA = content(6 * KIB)


async def test_a_refusal_that_nothing_can_change_ends_the_upload_at_once(here: World) -> None:
    """Section 10: what is not transient is not sent again."""
    here.ingest.trouble.refuse["UploadChunks"] = InvalidStream("It will not do.", field="header")
    async with here.client() as client:
        with pytest.raises(InvalidStream):
            await client.upload(DATA, stream_options=options(parallel=1))
    assert here.objects() == []


async def test_a_session_that_is_sealed_while_chunks_are_sent_is_left_to_the_commit_to_judge(here: World) -> None:
    """Another process of the same upload commits: the answer is the commit's, and a success if the object is this."""

    async def another_is_faster() -> None:
        (record,) = [key for key in here.store.state.keys(".sealane/") if key.endswith(keys.SESSION)]
        found = keys.parse_session_key(record)
        assert found is not None
        async with here.client() as other:
            await other.upload(DATA, session_id=found.session, stream_options=options(parallel=1))

    here.ingest.trouble.before["UploadChunks"] = another_is_faster
    async with here.client() as client:
        result = await client.upload(DATA, stream_options=options(parallel=1))
    assert result.committed_object.replayed
    assert here.object(result.key) == DATA


async def test_a_chunk_that_was_rewritten_before_it_is_sent_again_is_never_sent(here: World, tmp_path: Path) -> None:
    """I4: even if the file's size and times say that nothing happened."""
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    before = path.stat()

    async def rewrite() -> None:
        path.write_bytes(b"?" * KIB + DATA[KIB:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    here.ingest.trouble.before["UploadChunks"] = rewrite
    here.ingest.trouble.refuse["UploadChunks"] = Draining()
    async with here.client() as client:
        with pytest.raises(SourceChanged):
            await client.upload(path, stream_options=options(parallel=1, chunks_per_stream=1))
    assert here.objects() == []


async def test_a_chunk_that_the_server_does_not_acknowledge_is_kept_and_sent_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I5: a chunk is stored when it is acknowledged by name, and until then an iterator's one copy is kept."""
    real = UploadStream._answer
    withheld: list[int] = []

    async def answer(self: UploadStream, target: Any) -> StreamAnswer:
        whole = await real(self, target)
        if withheld or len(whole.chunks) < 2:
            return whole
        index = whole.chunks[-1][0]
        withheld.append(index)
        session = SessionId(target.session)
        for key in here.store.state.keys(keys.receipts_prefix(TENANT, session, index)):
            here.store.state.delete(key)
        return dataclasses.replace(whole, chunks=whole.chunks[:-1])

    monkeypatch.setattr(UploadStream, "_answer", answer)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), KIB):
            yield DATA[start : start + KIB]

    async with here.client() as client:
        result = await client.upload(chunks(), size=len(DATA), stream_options=options(parallel=1))
    assert withheld
    assert here.object(result.key) == DATA
