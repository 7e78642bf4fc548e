"""The same service on the real SeaweedFS, through the S3 adapter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from blake3 import blake3
from ingest_replica import KIB, chunks_of, refused, running
from minio import Minio

from sealane.dev.seaweed import SeaweedFS
from sealane.domain.errors import ChunkConflict, ChunkCorrupt
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits, MiB
from sealane.domain.records import MultipartRecord
from sealane.rpc.server import MAX_FRAME_MESSAGE_BYTES
from sealane.store import keys
from sealane.store.port import ObjectStore, Part
from sealane.store.s3 import S3Settings, S3Store
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb

TENANT = Tenant("default")
DATA = random.Random(9).randbytes(5 * KIB + 33)
PIECES = chunks_of(DATA)


@pytest.fixture
async def s3(seaweed: SeaweedFS, bucket: str) -> AsyncIterator[S3Store]:
    settings = S3Settings(seaweed.endpoint, bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key)
    store = S3Store(settings)
    yield store
    await store.aclose()


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.real_store)])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore = SimulatedStore() if request.param == "simulated" else request.getfixturevalue("s3")
    return store


@pytest.mark.real_store
async def test_two_replicas_store_one_object_whose_parts_complete_to_the_bytes_sent_i4(
    s3: S3Store, plain_s3: Minio, bucket: str
) -> None:
    """With the limits and the kernel of production: the store refuses to complete parts below 5 MiB."""
    from sealane.domain.blake3_kernel import compile_kernel, digest_and_cv

    compile_kernel()
    data = random.Random(10).randbytes(2 * 8 * MiB + 33)
    pieces = chunks_of(data, 8 * MiB)
    production: dict[str, Any] = {"limits": Limits(), "blake3_hashes": digest_and_cv, "memory_budget": 32 * MiB}
    production["max_message_bytes"] = MAX_FRAME_MESSAGE_BYTES
    async with running(s3, **production) as one, running(s3, **production) as two:
        session = (await one.create(size=len(data), filename="f.bin", metadata={"a": "b"})).session_id
        await asyncio.gather(
            one.upload(session, {2: pieces[2], 0: pieces[0]}, frame_bytes=MiB),
            two.upload(session, {1: pieces[1]}, frame_bytes=MiB),
        )
        shown = await two.get(session)
        assert shown.coverage.complete
        assert shown.coverage.prefix.blake3 == blake3(data).digest()
        again = await one.upload(session, {1: pieces[1]}, frame_bytes=MiB)
        assert [c.status for c in again.chunks] == [pb.CHUNK_STATUS_DUPLICATE]
        assert isinstance(await refused(one.upload(session, {1: pieces[0]}, frame_bytes=MiB)), ChunkConflict)
        receipts = await one.receipts(session)

    # What assembly will do with it, and what anyone then reads.
    record = await s3.get(keys.record(TENANT, SessionId(session), keys.MULTIPART), timeout=10)
    upload = MultipartRecord.parse(record.body).upload_id
    key = keys.object_key(TENANT, SessionId(session), "f.bin")
    parts = [Part(r.chunk_index + 1, r.etag, r.sha256) for r in receipts]
    await s3.complete_multipart(key, upload, parts, timeout=30)
    answer = plain_s3.get_object(bucket, key)
    try:
        assert answer.read() == data
        assert answer.headers["x-amz-meta-a"] == "b"
        assert answer.headers["x-amz-meta-sealane-token"]
    finally:
        answer.close()
        answer.release_conn()


@pytest.mark.real_store
async def test_many_creates_of_one_request_id_at_once_answer_one_session_on_the_real_store(s3: S3Store) -> None:
    async with running(s3) as one, running(s3) as two:
        made = await asyncio.gather(*(r.create(size=KIB, request_id="same") for r in (one, two) * 4))
        assert len({session.session_id for session in made}) == 1


@pytest.mark.real_store
async def test_a_corrupt_chunk_leaves_nothing_in_the_real_store(s3: S3Store) -> None:
    from ingest_replica import chunk, header

    async with running(s3) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        error = await refused(replica.send([header(session), *chunk(0, PIECES[0], digest=b"\0" * 32)]))
        assert isinstance(error, ChunkCorrupt)
        page = await s3.list_objects("", timeout=10)
        assert [found.key for found in page.objects] == [keys.record(TENANT, SessionId(session), keys.SESSION)]


async def test_a_list_can_begin_behind_any_key_there_or_not(any_store: ObjectStore) -> None:
    """``start_after`` is how ListSessions jumps over receipts, and how its next page begins."""
    names = ["s/1/receipts/0", "s/1/receipts/1", "s/1/session.json", "s/2/receipts/0", "s/2/session.json"]
    for name in names:
        await any_store.put(name, b"", timeout=10)

    async def behind(key: str) -> list[str]:
        return [found.key for found in (await any_store.list_objects("s/", timeout=10, start_after=key)).objects]

    assert await behind("s/1/receipts/~") == names[2:]
    assert await behind("s/1/~") == names[3:]
    assert await behind("s/1/receipts/0") == names[1:]
    assert await behind("s/2/session.json") == []
    first = await any_store.list_objects("s/", timeout=10, start_after="s/1/receipts/0", limit=2)
    rest = await any_store.list_objects("s/", timeout=10, cursor=first.cursor)
    assert [found.key for found in (*first.objects, *rest.objects)] == names[1:]


async def test_sessions_are_listed_over_pages_on_any_store(any_store: ObjectStore) -> None:
    async with running(any_store) as replica:
        made = sorted([(await replica.create(size=len(DATA))).session_id for _ in range(5)])
        await replica.upload(made[2], PIECES)
        found: list[str] = []
        token = ""
        while True:
            page = await replica.call("ListSessions", pb.ListSessionsRequest(page_size=2, page_token=token))
            found += [session.session_id for session in page.sessions]
            token = page.next_page_token
            if not token:
                break
        assert found == made
