"""Assembly on the real store: what the simulated one stands for, and a commit's cost in calls."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from assembly_time import eventually
from assembly_world import TENANT, Journal, ReceiptsOfStore, Session, World, content_of
from blake3 import blake3
from minio import Minio

from assembly_service.assembly import Assembly
from assembly_service.retention import Retention
from sealane.dev.seaweed import SeaweedFS
from sealane.domain.blake3_kernel import chunk_cv, compile_kernel
from sealane.domain.claims import ANY
from sealane.domain.errors import ChunkNeeded, InvalidObjectKey, SessionAborted, SessionLost, SessionNotFound
from sealane.domain.limits import MiB
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.s3 import S3Settings, S3Store

pytestmark = pytest.mark.real_store
CHUNK = 8 * MiB
NOW = Retention(outcome=timedelta(0), receipts=timedelta(0))


@dataclass
class Real:
    store: S3Store
    world: World
    assembly: Assembly
    events: Journal

    async def session(self, size: int, seed: int = 1) -> Session:
        session = await self.world.open_session(content_of(size, seed), chunk_size=CHUNK)
        for index in range(session.parameters.chunk_count):
            await self.world.store_chunk(session, index, cv=chunk_cv)
        return session

    async def commit(self, session: Session):
        return await self.assembly.committer.commit(TENANT, session.id, session.parameters, Deadline.after(60))

    async def left(self, session: Session) -> list[str]:
        found: list[str] = []
        for prefix in (keys.session_prefix(TENANT, session.id), keys.own_object_prefix(TENANT, session.id)):
            found += [listed.key for listed in (await self.store.list_objects(prefix, timeout=30)).objects]
        uploads = await self.store.list_uploads(keys.own_object_prefix(TENANT, session.id), timeout=30)
        return found + [upload.key for upload in uploads.uploads]


@pytest.fixture
async def real(seaweed: SeaweedFS, bucket: str) -> AsyncIterator[Real]:
    compile_kernel()
    settings = S3Settings(
        endpoint=seaweed.endpoint, bucket=bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key
    )
    store, events, rng = S3Store(settings), Journal(), random.Random(1)
    assembly = Assembly.on(RetryingStore(store, rng=rng), ReceiptsOfStore(store), rng=rng, events=events, retention=NOW)
    yield Real(store, World(plain=store), assembly, events)
    await store.aclose()


@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 5])
async def test_i4_i6_the_committed_object_is_what_plain_s3_reads(real: Real, plain_s3: Minio, size: int) -> None:
    session = await real.session(size)
    answers = await asyncio.gather(*(real.commit(session) for _ in range(8)))
    assert len({dataclasses.replace(answer, replayed=False) for answer in answers}) == 1
    response = plain_s3.get_object(real.store.bucket, session.record.key)
    assert response.data == session.content
    assert response.headers["content-type"] == session.record.content_type
    assert response.headers["x-amz-meta-colour"] == "blue"
    response.close()
    assert answers[0].blake3 == blake3(session.content).digest()
    progress = [p async for p in real.assembly.object_verifier.verify(TENANT, session.id, Deadline.after(60))]
    assert progress[-1].blake3 == answers[0].blake3
    assert real.events.alarms == []


async def test_cmu_again_after_success_and_lost_done_json_are_no_loss(real: Real) -> None:
    """Row "CMU: NoSuchUpload": HEAD says ours."""
    session = await real.session(2 * CHUNK + 5)
    answer = await real.commit(session)
    await real.store.delete(keys.record(TENANT, session.id, keys.DONE), timeout=30)
    again = await real.commit(session)
    assert again == answer
    assert real.events.alarms == []


async def test_an_overwritten_part_is_asked_for_and_mended(real: Real) -> None:
    """Row "CMU: InvalidPart, BadDigest". The store keeps both rows, and completes with the one that is named."""
    session = await real.session(CHUNK + 5)
    await real.world.store_part(session, 0, content_of(CHUNK, seed=9))
    answer = await real.commit(session)
    assert answer.blake3 == blake3(session.content).digest()


async def test_a_decision_that_names_a_part_which_is_not_stored_asks_for_it(real: Real) -> None:
    session = await real.session(CHUNK + 5)
    good = list(session.receipts)
    session.receipts = [good[0], dataclasses.replace(good[1], etag="0" * 32)]
    await real.world.decide(session)
    with pytest.raises(ChunkNeeded) as caught:
        await real.commit(session)
    assert [chunk.index for chunk in caught.value.chunks] == [1]


async def test_an_upload_that_is_gone_is_lost_and_one_without_parts_is_not(real: Real) -> None:
    """⚠ Row "CMU: NoSuchUpload": this store says so of a living upload without parts, too."""
    partless = await real.session(CHUNK)
    partless.upload_id = await real.world.start_upload(partless)
    await real.world.decide(partless)
    with pytest.raises(ChunkNeeded):
        await real.commit(partless)
    gone = await real.session(CHUNK)
    await real.world.decide(gone)
    await real.store.abort_multipart(gone.record.key, gone.upload_id, timeout=30)
    with pytest.raises(SessionLost):
        await real.commit(gone)


async def test_i9_an_aborted_session_leaves_nothing_behind(real: Real) -> None:
    session = await real.session(2 * CHUNK + 5)
    committed = await real.session(CHUNK, seed=2)
    await real.commit(committed)
    await real.world.start_upload(session)  # one that nothing names
    assert await real.assembly.aborter.abort(TENANT, session.id, Deadline.after(60)) is SessionState.ABORTED
    with pytest.raises(SessionAborted):
        await real.commit(session)

    async def swept() -> bool:
        await real.assembly.patrol.sweep(full=True)
        return not await real.left(session)

    await eventually(swept, seconds=60)
    with pytest.raises(SessionNotFound):
        await real.commit(session)
    kept = {key.rsplit("/", 1)[-1] for key in await real.left(committed)}
    assert kept == {keys.SESSION, keys.MULTIPART, keys.DECISION, keys.DONE, "data.bin"}
    assert (await real.commit(committed)).replayed
    assert real.events.alarms == []


async def test_request_records_and_strange_keys_do_not_disturb_a_pass(
    real: Real, plain_client: Callable[[SeaweedFS], Minio]
) -> None:
    for number in range(3):
        await real.store.put(keys.request_record(TENANT, str(number)), b"{}", timeout=30)
    await real.store.put("elsewhere/object", b"kept", timeout=30)
    session = await real.session(5)
    await real.assembly.patrol.sweep(full=True)
    await real.assembly.patrol.sweep(full=False)
    assert (await real.store.get("elsewhere/object", timeout=30)).body == b"kept"
    await real.commit(session)
    assert real.events.alarms == []


async def test_i16_eight_racing_replaces_of_one_key_are_generations_1_to_8(real: Real) -> None:
    """I16 on the real store, whose conditional CMU is not atomic: the claims decide, and the newest bytes stay."""
    sessions = []
    for seed in range(8):
        session = await real.world.open_session(
            content_of(1000 + seed, seed), object_key="racing/key", precondition=ANY
        )
        await real.world.store_chunk(session, 0, cv=chunk_cv)
        sessions.append(session)
    answers = await asyncio.gather(*(real.commit(session) for session in sessions))
    assert sorted(answer.generation for answer in answers) == list(range(1, 9))
    last = max(zip(answers, sessions, strict=True), key=lambda pair: pair[0].generation)[1]
    stored = await real.store.get(f"{TENANT}/racing/key", timeout=30)
    assert stored.body == last.content
    key = await real.assembly.key_reader.key(TENANT, "racing/key", Deadline.after(30))
    assert key.holder is not None
    assert (key.generation, key.holder.session_id, key.holder.foreign) == (8, last.id, False)
    again = await asyncio.gather(*(real.commit(session) for session in sessions))
    assert [dataclasses.replace(answer, replayed=False) for answer in again] == answers


async def test_p_and_p_q_at_the_same_moment_lose_nothing_on_the_real_store(real: Real) -> None:
    """docs/adr/0007: written side by side, SeaweedFS loses ``p`` or can't ever complete it. One of them is refused."""
    for number in range(3):
        pair = []
        for key in (f"n{number}", f"n{number}/q"):
            session = await real.world.open_session(content_of(500, len(key)), object_key=key)
            await real.world.store_chunk(session, 0, cv=chunk_cv)
            pair.append(session)
        answers = await asyncio.gather(*(real.commit(session) for session in pair), return_exceptions=True)
        kinds = [isinstance(answer, InvalidObjectKey) for answer in answers]
        assert sorted(kinds) == [False, True], answers
        (kept,) = [session for session, refused in zip(pair, kinds, strict=True) if not refused]
        assert (await real.store.get(kept.record.key, timeout=30)).body == kept.content
