"""Chunks with equal MD5 and so equal ETags: only the SHA-256 in the part list tells them apart (protocol.md C6)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator

import pytest
from blake3 import blake3
from minio import Minio

from sealane.dev.seaweed import SeaweedFS
from sealane.domain.blake3_kernel import compile_kernel, digest_and_cv
from sealane.domain.errors import SealaneError
from sealane.domain.limits import KiB, Limits, MiB
from sealane.store import keys
from sealane.store.port import ObjectStore
from sealane.store.s3 import S3Settings, S3Store
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import AWS, SEAWEEDFS

from .world import TENANT, TINY, World, world

# X. Wang, D. Feng, X. Lai, H. Yu: "Collisions for Hash Functions MD4, MD5, HAVAL-128 and RIPEMD", 2004/199: two
# messages of two blocks each with MD5 79054025255fb1a26e4bc422aef54eb4. Any common suffix keeps the digests equal.
WANG = (
    bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a"
        "085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
    ),
    bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f8955ad340609f4b30283e4888325f1415a"
        "085125e8f7cdc99fd91dbd7280373c5bd8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70"
    ),
)
TAIL = b"the last chunk is an honest one"


def twins(length: int) -> tuple[bytes, bytes]:
    """Two chunks of ``length`` bytes with one MD5."""
    suffix = blake3(b"suffix").digest(length=length - len(WANG[0]))
    one, two = (block + suffix for block in WANG)
    assert one != two
    assert hashlib.md5(one).digest() == hashlib.md5(two).digest()
    return one, two


async def body_of(store: ObjectStore, key: str) -> bytes:
    return b"".join([block async for block in store.read(key, timeout=60.0)])


def test_the_pair_is_the_published_one() -> None:
    assert {hashlib.md5(block).hexdigest() for block in WANG} == {"79054025255fb1a26e4bc422aef54eb4"}


@pytest.fixture(params=["simulated", "simulated as AWS", pytest.param("seaweedfs", marks=pytest.mark.real_store)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[tuple[World, ObjectStore, int]]:
    """A world on each store, and its chunk size."""
    if request.param == "seaweedfs":
        weed: SeaweedFS = request.getfixturevalue("seaweed")
        settings = S3Settings(
            weed.endpoint,
            request.getfixturevalue("bucket"),
            access_key=weed.access_key,
            secret_key=weed.secret_key,
        )
        compile_kernel()
        real = S3Store(settings)
        async with world(real, limits=Limits(), blake3_hashes=digest_and_cv, memory_budget=64 * MiB) as made:
            yield made, real, 8 * MiB
        await real.aclose()
    else:
        store = SimulatedStore(SimulatedBucket(dialect=AWS if "AWS" in request.param else SEAWEEDFS))
        async with world(store, limits=TINY) as made:
            yield made, store, KiB


async def _never_a_wrong_commit(
    made: World, store: ObjectStore, session: str, contents: list[bytes], chunk_size: int
) -> bytes | None:
    """Try to commit each content: at most one is accepted, and then it is what plain reading gives (I4)."""
    accepted: list[tuple[bytes, str]] = []
    for content in contents:
        try:
            answer = await made.commit(session, content, chunk_size)
        except SealaneError:
            continue
        assert answer.blake3 == blake3(content).digest()
        accepted.append((content, answer.key))
    assert len(accepted) <= 1
    if not accepted:
        found = await store.list_objects(keys.by_session_prefix(TENANT) + session, timeout=60.0)
        assert found.objects == []
        return None
    content, key = accepted[0]
    assert await body_of(store, key) == content
    return content


@pytest.mark.parametrize("first", [0, 1])
async def test_a_colliding_chunk_behind_the_true_one_is_a_conflict_and_the_object_is_the_true_one(
    subject: tuple[World, ObjectStore, int], first: int
) -> None:
    """I4: one after the other, in both orders: the second is refused by its BLAKE3, whatever its ETag."""
    made, store, size = subject
    pair = twins(size)
    session = await made.create(size=size + len(TAIL), chunk_size=size)
    await made.put_chunk(session, 0, pair[first], frame_bytes=made_frame(size))
    with pytest.raises(SealaneError) as refused:
        await made.put_chunk(session, 0, pair[1 - first], frame_bytes=made_frame(size))
    assert refused.value.reason.value == "CHUNK_CONFLICT"
    await made.put_chunk(session, 1, TAIL)
    contents = [pair[1 - first] + TAIL, pair[first] + TAIL]
    assert await _never_a_wrong_commit(made, store, session, contents, size) == pair[first] + TAIL


@pytest.mark.parametrize("first", [0, 1])
async def test_colliding_chunks_that_race_never_make_a_wrong_object(
    subject: tuple[World, ObjectStore, int], first: int
) -> None:
    """I4: both at once on two streams; whoever's part and receipts land, no object is called what it is not."""
    made, store, size = subject
    pair = twins(size)
    session = await made.create(size=size + len(TAIL), chunk_size=size)
    await made.put_chunk(session, 1, TAIL)
    racers = [pair[first], pair[1 - first], pair[first], pair[1 - first]]
    sent = [made.put_chunk(session, 0, data, frame_bytes=made_frame(size)) for data in racers]
    ended = await asyncio.gather(*sent, return_exceptions=True)
    assert all(each is None or isinstance(each, SealaneError) for each in ended)
    await _never_a_wrong_commit(made, store, session, [data + TAIL for data in pair], size)
    assert made.bugs == 0


@pytest.mark.parametrize(("named", "stored"), list(itertools.permutations((0, 1))))
async def test_a_part_that_is_overwritten_with_its_twin_behind_the_receipt_is_never_completed_as_the_other(
    subject: tuple[World, ObjectStore, int], named: int, stored: int
) -> None:
    """C6: the ETag matches, so the SHA-256 in the part list is all that stands between the twin and a false digest."""
    made, store, size = subject
    pair = twins(size)
    session = await made.create(size=size + len(TAIL), chunk_size=size)
    await made.put_chunk(session, 0, pair[named], frame_bytes=made_frame(size))
    await made.put_chunk(session, 1, TAIL)
    (upload,) = (await store.list_uploads(f"{TENANT}/by-session/{session}/", timeout=60.0)).uploads
    twin = pair[stored]
    # A writer that was checked before the other's receipt and lands behind it, straight into the store.
    await store.upload_part(upload.key, upload.upload_id, 1, twin, sha256=hashlib.sha256(twin).digest(), timeout=60.0)
    content = await _never_a_wrong_commit(made, store, session, [pair[stored] + TAIL, pair[named] + TAIL], size)
    assert content in (None, pair[named] + TAIL)
    if content is None:  # the store holds the twin alone: the chunk is asked for, sent again, and the commit is right
        await made.put_chunk(session, 0, pair[named], frame_bytes=made_frame(size))
        mended = await _never_a_wrong_commit(made, store, session, [pair[named] + TAIL], size)
        assert mended == pair[named] + TAIL


def made_frame(chunk_size: int) -> int:
    return min(chunk_size, MiB)


def test_a_plain_client_would_not_notice(seaweed: SeaweedFS, bucket: str, plain_s3: Minio) -> None:
    """Why this matters: by ETag alone the two are one part."""
    import io

    pair = twins(KiB)
    etags = {plain_s3.put_object(bucket, f"k{n}", io.BytesIO(data), KiB).etag for n, data in enumerate(pair)}
    assert len(etags) == 1


test_a_plain_client_would_not_notice = pytest.mark.real_store(test_a_plain_client_would_not_notice)
