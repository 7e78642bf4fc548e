"""What every store promises of small objects: PUT, GET, HEAD, DELETE (protocol.md section 2, R1, R2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from suite_calls import T, body_of, listed_keys

from sealane.store.port import NoSuchKey, ObjectStore, OutcomeUnknown, PreconditionFailed, Rejected, WriteConflict

# Not here: a backslash, which SeaweedFS takes for a slash, and a slash at the end, its folders. No key has either.
ODD_KEYS = [
    "plain",
    "a b",
    " leading and trailing ",
    "100%",
    "%41",
    "a%2Fb",
    "a+b",
    "a=b&c=d",
    "~tilde~",
    "semi;colon:at@comma,",
    "brackets[]{}()!*'\"",
    "question?hash#",
    "<&>",
    "dots...",
    "..almost/..up",
    "Ünï-cödé/日本語/\U0001f600",
    "e\u0301 is not \u00e9",
    "s" * 255,
    "日" * 85,
    "/".join(["k" * 203] * 5),
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
async def test_any_key_comes_back_as_it_went(store: ObjectStore, key: str) -> None:
    """PUT, GET, HEAD, LIST and DELETE agree on how a key is spelt."""
    await store.put(key, b"body of " + key.encode(), timeout=T)
    assert (await store.get(key, timeout=T)).body == b"body of " + key.encode()
    assert (await store.head(key, timeout=T)).size == len(b"body of " + key.encode())
    assert await listed_keys(store, "") == [key]
    assert await listed_keys(store, key) == [key]
    await store.delete(key, timeout=T)
    assert await listed_keys(store, "") == []


@pytest.mark.parametrize("key", ["", "s" * 256, "k" * 1025, "/".join(["k" * 204] * 5) + "kk", "\ud800"])
async def test_a_key_that_no_store_can_hold_is_rejected_and_nothing_is_stored(store: ObjectStore, key: str) -> None:
    with pytest.raises(Rejected):
        await store.put(key, b"x", timeout=T)
    assert await listed_keys(store, "") == []


async def test_what_was_put_is_read_at_once(store: ObjectStore) -> None:
    """R1 for GET, HEAD and LIST."""
    etag = await store.put("a/record.json", b'{"v":1}', timeout=T, content_type="application/json")
    got = await store.get("a/record.json", timeout=T)
    head = await store.head("a/record.json", timeout=T)
    page = await store.list_objects("a/", timeout=T)
    assert (got.body, got.etag) == (b'{"v":1}', etag)
    assert (head.size, head.etag, head.content_type, head.metadata) == (7, etag, "application/json", {})
    assert head.sha256_composite is None
    assert [(row.key, row.size) for row in page.objects] == [("a/record.json", 7)]
    assert page.cursor is None
    assert got.last_modified == head.last_modified == page.objects[0].last_modified.replace(microsecond=0)


async def test_an_etag_has_no_quotes_and_equal_bytes_have_equal_ones(store: ObjectStore) -> None:
    first, second, third = [await store.put(k, b, timeout=T) for k, b in (("a", b"x"), ("b", b"x"), ("c", b"y"))]
    assert first == second != third
    assert '"' not in first


async def test_an_object_of_no_bytes_is_an_object(store: ObjectStore) -> None:
    """Receipts are such: the key says it all."""
    await store.put("receipts/00000000.8.x", b"", timeout=T)
    assert (await store.get("receipts/00000000.8.x", timeout=T)).body == b""
    assert (await store.head("receipts/00000000.8.x", timeout=T)).size == 0
    assert await body_of(store, "receipts/00000000.8.x") == b""
    assert await listed_keys(store, "receipts/") == ["receipts/00000000.8.x"]


async def test_a_plain_put_replaces(store: ObjectStore) -> None:
    await store.put("k", b"old", timeout=T)
    await store.put("k", b"newer", timeout=T)
    assert (await store.get("k", timeout=T)).body == b"newer"
    assert (await store.list_objects("k", timeout=T)).objects[0].size == 5


async def test_a_conditional_put_never_replaces(store: ObjectStore) -> None:
    """R2; the ⚠ rules on every record stand on it."""
    await store.put("k", b"first", timeout=T, if_absent=True)
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"second", timeout=T, if_absent=True)
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"first", timeout=T, if_absent=True)
    assert (await store.get("k", timeout=T)).body == b"first"


async def test_a_conditional_put_sees_a_delete(store: ObjectStore) -> None:
    await store.put("k", b"first", timeout=T, if_absent=True)
    await store.delete("k", timeout=T)
    await store.put("k", b"second", timeout=T, if_absent=True)
    assert (await store.get("k", timeout=T)).body == b"second"


@pytest.mark.parametrize("race", range(4))
async def test_a_race_of_sixteen_conditional_puts_has_one_winner(store: ObjectStore, race: int) -> None:
    """R2 (and so I1: at most one decision)."""

    async def contend(who: int) -> int | None:
        try:
            await store.put(f"race/{race}", b"%d" % who, timeout=T, if_absent=True)
        except (PreconditionFailed, WriteConflict):
            return None
        return who

    winners = [who for who in await asyncio.gather(*map(contend, range(16))) if who is not None]
    assert len(winners) == 1
    assert (await store.get(f"race/{race}", timeout=T)).body == b"%d" % winners[0]


async def test_a_key_that_is_not_there_is_no_such_key(store: ObjectStore) -> None:
    await store.put("folder/key", b"x", timeout=T)
    for absent in ("nothing", "folder", "folder/ke", "folder/key/below"):
        with pytest.raises(NoSuchKey):
            await store.get(absent, timeout=T)
        with pytest.raises(NoSuchKey):
            await store.head(absent, timeout=T)
        with pytest.raises(NoSuchKey):
            await anext(aiter(store.read(absent, timeout=T)))


async def test_a_key_may_be_the_folder_of_others(store: ObjectStore) -> None:
    """S3 has no folders: ``a`` and ``a/b`` live side by side, in either order of writing."""
    for key in ("a", "a/b", "c/d", "c"):
        await store.put(key, key.encode(), timeout=T)
    for key in ("a", "a/b", "c/d", "c"):
        assert (await store.get(key, timeout=T)).body == key.encode()
    await store.delete("a", timeout=T)
    assert (await store.get("a/b", timeout=T)).body == b"a/b"
    assert sorted(await listed_keys(store, "")) == ["a/b", "c", "c/d"]


async def test_get_refuses_what_is_larger_than_its_bound(store: ObjectStore) -> None:
    await store.put("k", b"x" * 100, timeout=T)
    assert len((await store.get("k", timeout=T, max_bytes=100)).body) == 100
    with pytest.raises(Rejected):
        await store.get("k", timeout=T, max_bytes=99)


async def test_read_gives_blocks_of_the_size_asked(store: ObjectStore) -> None:
    body = bytes(range(256)) * 1000
    await store.put("k", body, timeout=T)
    blocks = [block async for block in store.read("k", timeout=T, block_bytes=10_000)]
    assert b"".join(blocks) == body
    assert max(map(len, blocks)) <= 10_000


async def test_a_read_left_halfway_leaves_the_store_in_order(store: ObjectStore) -> None:
    await store.put("k", bytes(1 << 20), timeout=T)
    for _ in range(40):  # more than the adapter has connections: each one must come back
        blocks = aiter(store.read("k", timeout=T, block_bytes=1000))
        assert len(await anext(blocks)) <= 1000
        await blocks.aclose()  # type: ignore[attr-defined] # the adapters' iterators are generators
    assert len(await body_of(store, "k")) == 1 << 20


async def test_delete_is_seen_at_once_and_may_be_repeated(store: ObjectStore) -> None:
    """R1."""
    await store.put("a/k", b"x", timeout=T)
    await store.delete("a/k", timeout=T)
    await store.delete("a/k", timeout=T)
    await store.delete("never/was", timeout=T)
    with pytest.raises(NoSuchKey):
        await store.get("a/k", timeout=T)
    with pytest.raises(NoSuchKey):
        await store.head("a/k", timeout=T)
    assert await listed_keys(store, "a/") == []


async def test_now_is_the_clock_that_stamps_objects(store: ObjectStore) -> None:
    """I15: what store.now() says can be compared with Last-Modified."""
    await store.put("first", b"", timeout=T)  # teaches the store's time
    before = store.now()
    await store.put("k", b"", timeout=T)
    stamp = (await store.head("k", timeout=T)).last_modified
    assert stamp.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=3) <= stamp <= store.now() + timedelta(seconds=3)


async def test_a_call_without_time_left_is_an_unknown_outcome(store: ObjectStore) -> None:
    """I14: never an error of another kind, never a hang."""
    await store.put("k", b"kept", timeout=T)
    for call in (store.get("k", timeout=0.0), store.put("k", b"", timeout=0.0, if_absent=True)):
        with pytest.raises(OutcomeUnknown):
            await call
    assert (await store.get("k", timeout=T)).body == b"kept"
