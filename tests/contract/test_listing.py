"""What every store promises of LIST: complete, at once, in order within a folder (protocol.md section 2, R1)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

import pytest
from suite_calls import T, begin, listed_keys, make, object_pages, send

from sealane.store.port import ObjectStore

NESTED = ["a", "a/b", "a/b/c", "a-b", "a.b/c", "a b", "ab/c", "a/bc", "b/a", "a/b.c"]


async def put_all(store: ObjectStore, keys: Iterable[str]) -> None:
    """Sixteen at a time; those of :data:`NESTED` one by one, as SeaweedFS 4.48 loses ``a`` if ``a/b``, and with it the
    folder ``a``, is written at the same moment."""
    pending = list(keys)
    width = 1 if pending == NESTED else 16
    for start in range(0, len(pending), width):
        await asyncio.gather(*(store.put(key, b"", timeout=T) for key in pending[start : start + width]))


async def test_a_prefix_of_nothing_is_an_empty_last_page(store: ObjectStore) -> None:
    await store.put("a/b", b"", timeout=T)
    for prefix in ("z", "a/b/", "a/bb", "A"):
        page = await store.list_objects(prefix, timeout=T)
        assert (list(page.objects), page.cursor) == ([], None)


async def test_no_key_is_lost_at_the_edge_of_a_page(store: ObjectStore) -> None:
    """R1, at 999, 1,000, 1,001 and 2,001 keys: each key once, no page over 1,000, and coverage in order (I5)."""
    keys = [f"receipts/{index:08d}.{index % 7}.x" for index in range(2001)]
    stored = 0
    for count in (999, 1000, 1001, 2001):
        await put_all(store, keys[stored:count])
        stored = count
        pages = [[row.key for row in page] async for page in object_pages(store, "receipts/")]
        assert list(itertools.chain(*pages)) == keys[:count]
        assert max(map(len, pages)) <= 1000


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
async def test_pages_of_any_size_give_every_key_once(store: ObjectStore, limit: int) -> None:
    await put_all(store, NESTED)
    pages = [[row.key for row in page] async for page in object_pages(store, "", limit)]
    assert sorted(itertools.chain(*pages)) == sorted(NESTED)
    assert max(map(len, pages)) <= limit


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b/", "a.", "ab", "b/a", "a b", ""])
async def test_a_prefix_may_end_anywhere(store: ObjectStore, prefix: str) -> None:
    """R1: a prefix is a prefix of the key's text, whether or not it ends a segment."""
    await put_all(store, NESTED)
    for limit in (1, 1000):
        assert sorted(await listed_keys(store, prefix, limit)) == sorted(k for k in NESTED if k.startswith(prefix))


async def test_one_chunks_receipts_are_found_by_a_prefix_inside_the_segment(store: ObjectStore) -> None:
    keys = [f"s/receipts/{index:08d}.9.{digest}" for index in (1, 10, 11) for digest in ("aa", "bb")]
    await put_all(store, keys)
    assert await listed_keys(store, "s/receipts/00000001.") == keys[:2]
    assert await listed_keys(store, "s/receipts/0000001") == keys[2:]


@pytest.mark.parametrize("odd", ["a b", "100%", "a%20b", "a+b", "x=y&z", "~t", "ünï", "<&>'\"", "?#", "*!()"])
async def test_an_odd_prefix_finds_its_own_keys(store: ObjectStore, odd: str) -> None:
    await put_all(store, [f"{odd}/{odd}1", f"{odd}/{odd}2", f"{odd}/other", "neighbour"])
    assert await listed_keys(store, f"{odd}/{odd}", limit=1) == [f"{odd}/{odd}1", f"{odd}/{odd}2"]


async def test_keys_of_one_folder_come_in_the_order_of_their_bytes(store: ObjectStore) -> None:
    """UTF-8's own order, with no locale and no letter case. (Between folders stores differ: SeaweedFS goes segment by
    segment, AWS by the whole key. Nothing may lean on that.)"""
    names = ["a", "B", "b", "é", "ÿ", "\ufffd", "\U0001f600", " ", "%", "+", "-", ".x", "0", "10", "2", "_", "~", "aa"]
    await put_all(store, [f"f/{name}" for name in names])
    for limit in (1, 4, 1000):
        assert await listed_keys(store, "f/", limit) == [f"f/{name}" for name in sorted(names, key=str.encode)]


async def test_what_is_under_one_folder_comes_in_one_run(store: ObjectStore) -> None:
    """So a reader of many sessions may group by prefix as it pages."""
    keys = [f"{folder}/{name}" for folder in ("a", "a-b", "a.b", "a0", "b") for name in ("1", "2/3", "2-3")]
    await put_all(store, keys)
    folders = [key.partition("/")[0] for key in await listed_keys(store, "", limit=2)]
    assert [folder for folder, _ in itertools.groupby(folders)] == list(dict.fromkeys(folders))


async def test_open_uploads_and_their_parts_are_not_objects(store: ObjectStore) -> None:
    """I2: nothing of an object is visible before its completion."""
    upload_id = await begin(store, "o/x")
    await send(store, "o/x", upload_id, 1, b"part")
    assert await listed_keys(store, "") == []
    await make(store, "o/y", b"whole")
    assert await listed_keys(store, "") == ["o/y"]


async def test_a_completed_upload_is_listed_at_once_with_its_size(store: ObjectStore) -> None:
    await make(store, "o/x", b"whole")
    page = await store.list_objects("o/", timeout=T)
    head = await store.head("o/x", timeout=T)
    assert [(row.key, row.size) for row in page.objects] == [("o/x", 5)]
    assert page.objects[0].last_modified.replace(microsecond=0) == head.last_modified


async def test_a_cursor_outlives_the_key_that_it_stands_on(store: ObjectStore) -> None:
    """A sweeper deletes as it pages."""
    keys = [f"k/{number}" for number in range(10)]
    await put_all(store, keys)
    page = await store.list_objects("k/", timeout=T, limit=4)
    for row in page.objects:
        await store.delete(row.key, timeout=T)
    rest = await store.list_objects("k/", timeout=T, limit=100, cursor=page.cursor)
    assert [row.key for row in rest.objects] == keys[4:]


async def test_a_key_written_behind_the_cursor_is_on_a_later_page(store: ObjectStore) -> None:
    await put_all(store, ["k/1", "k/2", "k/3", "k/4"])
    page = await store.list_objects("k/", timeout=T, limit=2)
    await store.put("k/35", b"", timeout=T)
    rest = await store.list_objects("k/", timeout=T, limit=100, cursor=page.cursor)
    assert [row.key for row in rest.objects] == ["k/3", "k/35", "k/4"]


async def test_a_listing_may_begin_behind_any_key(store: ObjectStore) -> None:
    """``start_after`` a key that is there: what the whole listing has behind it, and nothing else. (Behind a key that
    is other keys' folder SeaweedFS 4.48 leaves those out: don't begin there.)"""
    await put_all(store, NESTED)
    whole = await listed_keys(store, "")
    for place, key in enumerate(whole):
        if any(other.startswith(f"{key}/") for other in NESTED):
            continue
        page = await store.list_objects("", timeout=T, start_after=key)
        assert [row.key for row in page.objects] == whole[place + 1 :]


@pytest.mark.parametrize(
    ("after", "rest"),
    [
        ("s/00/", ["s/00/1", "s/00/2", "s/01/1", "s/02/1"]),
        ("s/00/1", ["s/00/2", "s/01/1", "s/02/1"]),
        ("s/00/15", ["s/00/2", "s/01/1", "s/02/1"]),
        ("s/00/~", ["s/01/1", "s/02/1"]),
        ("s/00/z/y", ["s/01/1", "s/02/1"]),
        ("s/005/x", ["s/01/1", "s/02/1"]),
        ("s/02/1", []),
        ("s/~", []),
    ],
)
async def test_a_listing_may_begin_behind_a_key_that_is_not_there(
    store: ObjectStore, after: str, rest: list[str]
) -> None:
    await put_all(store, ["r/x", "s/00/1", "s/00/2", "s/01/1", "s/02/1", "t/x"])
    first = await store.list_objects("s/", timeout=T, start_after=after, limit=1)
    found = [row.key for row in first.objects]
    if first.cursor is not None:
        more = await store.list_objects("s/", timeout=T, cursor=first.cursor)
        found += [row.key for row in more.objects]
    assert found == rest
