"""One thin typed method for every rpc, and errors of the classes that the server raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from blake3 import blake3
from client_world import KIB, TINY_FRAMES, World, content, options

from sealane.client import Client, SessionState, errors, frames


@pytest.fixture
async def client(here: World) -> AsyncIterator[Client]:
    async with here.client() as made:
        yield made


async def test_sessions_are_made_shown_and_listed_page_by_page(here: World, client: Client) -> None:
    made = {
        (await client.create_session(filename=f"f{n}", size=n * KIB, ttl=3600, metadata={"n": str(n)})).session_id
        for n in range(5)
    }
    assert [s.session_id async for s in client.list_sessions(page_size=2)] == sorted(made)
    assert [s async for s in client.list_sessions(state=SessionState.ABORTED)] == []
    one = await client.get_session(min(made))
    assert one.state is SessionState.OPEN
    assert one.ttl == 3600
    assert (one.expire_time - one.create_time).total_seconds() == 3600
    assert one.coverage is not None
    assert one.coverage.stored_chunks == 0


async def test_create_is_idempotent_by_its_request_id(client: Client) -> None:
    first = await client.create_session(size=5, request_id="same")
    assert (await client.create_session(size=5, request_id="same")).session_id == first.session_id
    with pytest.raises(errors.InvalidRequest):
        await client.create_session(size=6, request_id="same")


async def test_a_watch_shows_every_change_and_ends_with_the_commit(here: World, client: Client) -> None:
    data = content(10 * KIB)
    session = await client.create_session(size=len(data))
    stored: list[int] = []
    states: list[SessionState] = []

    async def watch() -> None:
        async for seen in client.watch_session(session.session_id):
            states.append(seen.state)
            if seen.coverage is not None:
                stored.append(seen.coverage.stored_chunks)

    async with asyncio.timeout(60):
        watching = asyncio.create_task(watch())
        await client.upload(
            data, session_id=session.session_id, stream_options=options(parallel=1, chunks_per_stream=2)
        )
        await watching
    assert states[-1] is SessionState.COMMITTED
    assert stored == sorted(stored)


async def test_a_watch_survives_a_restart_of_its_server(here: World, client: Client) -> None:
    session = await client.create_session(size=0)
    seen = client.watch_session(session.session_id)
    assert (await anext(seen)).state is SessionState.OPEN
    await here.ingest.stop()
    await here.ingest.start()
    async with asyncio.timeout(60):
        assert (await anext(seen)).state is SessionState.OPEN
    await seen.aclose()


async def test_verify_commit_outcome_receipts_and_the_proof_at_rest(here: World, client: Client) -> None:
    data = content(5 * KIB + 1)
    whole = {"chunk_count": 6, "size": len(data), "blake3": blake3(data).digest()}
    session = await client.create_session(size=len(data))
    with pytest.raises(errors.CoverageIncomplete) as incomplete:
        await client.verify_session(session.session_id, **whole)
    assert incomplete.value.missing_chunks == 6
    with pytest.raises(errors.SessionNotCommitted):
        await client.verify_object(session.session_id)

    result = await client.upload(data, session_id=session.session_id)

    again = await client.commit_session(session.session_id, **whole)
    assert again == replace(result.committed_object, replayed=True)
    verified = await client.verify_session(session.session_id, **whole)
    assert (verified.state, verified.digest) == (SessionState.COMMITTED, blake3(data).hexdigest())
    outcome = await client.get_commit(session.session_id)
    assert outcome.state is SessionState.COMMITTED
    assert outcome.committed_object is not None
    assert outcome.committed_object.key == result.key
    receipts = [receipt async for receipt in client.stream_receipts(session.session_id)]
    assert [r.blake3 for r in receipts] == [blake3(data[i * KIB : (i + 1) * KIB]).digest() for i in range(6)]
    seen: list[tuple[int, int]] = []
    proof = await client.verify_object(session.session_id, progress=lambda done, size: seen.append((done, size)))
    assert proof.digest == blake3(data).hexdigest()
    assert seen[-1] == (len(data), len(data))
    with pytest.raises(errors.SessionSealed):
        await client.commit_session(session.session_id, chunk_count=6, size=len(data), blake3=bytes(32))


async def test_a_wrong_digest_is_a_mismatch_that_says_both(client: Client) -> None:
    data = content(2 * KIB)
    session = await client.create_session(size=len(data))

    stream = client._connections.upload_stream(0, seconds=20, stall_seconds=20, request_id="")
    await stream.send(frames.header(session.session_id))  # upload() would commit what it sent
    for index in range(2):
        piece = memoryview(data)[index * KIB : (index + 1) * KIB]
        for _, message in frames.frames(index, piece, blake3(piece).digest(), KIB):
            await stream.send(message)
    assert len((await stream.answer()).chunks) == 2
    with pytest.raises(errors.DigestMismatch) as mismatch:
        await client.commit_session(session.session_id, chunk_count=2, size=len(data), blake3=bytes(32))
    assert (mismatch.value.expected, mismatch.value.actual) == (bytes(32), blake3(data).digest())


async def test_abort_is_idempotent_and_final(client: Client) -> None:
    session = await client.create_session(size=9)
    assert await client.abort_session(session.session_id) is SessionState.ABORTED
    assert await client.abort_session(session.session_id) is SessionState.ABORTED
    with pytest.raises(errors.SessionOutcome):
        await client.commit_session(session.session_id, chunk_count=1, size=9, blake3=bytes(32))


async def test_server_info_has_limits_and_statistics(here: World, client: Client) -> None:
    await client.upload(content(3 * KIB))
    info = await client.get_server_info()
    assert info.limits.min_chunk_bytes == KIB
    assert info.limits.default_ttl == here.limits.default_ttl
    assert info.statistics.chunks_stored == 3
    assert info.statistics.bytes_stored == 3 * KIB
    assert info.store_probe == ()


async def test_errors_are_the_servers_own_classes(here: World, client: Client) -> None:
    with pytest.raises(errors.InvalidSessionId):
        await client.get_session("../etc")
    with pytest.raises(errors.SessionNotFound):
        await client.get_session("0" * 32)
    with pytest.raises(errors.SessionNotFound):
        _ = [s async for s in client.watch_session("0" * 32)]
    with pytest.raises(errors.InvalidFilename):
        await client.upload(b"x", filename="a/b", stream_options=TINY_FRAMES)
    with pytest.raises(errors.InvalidSize):
        await client.upload(b"x", chunk_size=1000)
    with pytest.raises(errors.InvalidMetadata):
        await client.upload(b"x", metadata={"sealane-token": "mine"})
    await here.assembly.stop()
    with pytest.raises(errors.PeerUnavailable):
        await client.get_commit("0" * 32, timeout=0.3)
    await here.assembly.start()
    assert issubclass(errors.PeerUnavailable, errors.SealaneError)
