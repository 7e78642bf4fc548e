"""What every store promises of multipart uploads (protocol.md section 2, R3, R4, R5)."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from suite_calls import (
    MIN_PART,
    T,
    begin,
    body_of,
    every_part,
    every_upload,
    finish,
    listed_keys,
    make,
    send,
    sha256,
)

from sealane.store.port import (
    ChecksumMismatch,
    InvalidPart,
    NoSuchKey,
    NoSuchUpload,
    ObjectStore,
    Part,
    Rejected,
    StoreError,
)

KEY = "tenant/by-session/s/file.bin"


async def assert_gone(store: ObjectStore, key: str, upload_id: str) -> None:
    """ListParts is how a caller confirms it."""
    with pytest.raises(NoSuchUpload):
        await store.list_parts(key, upload_id, timeout=T)


# --- the whole way ---


async def test_parts_in_any_order_become_one_object(store: ObjectStore) -> None:
    """R4: metadata and the composite SHA-256 come back on HEAD; I4's last line of defence."""
    first, second = b"1" * MIN_PART, b"second"
    upload_id = await store.create_multipart(
        KEY, timeout=T, metadata={"sealane-token": "0123abcd", "note": "a=b; c d%20+~"}, content_type="text/x-test"
    )
    parts = [await send(store, KEY, upload_id, 2, second), await send(store, KEY, upload_id, 1, first)][::-1]
    etag = await finish(store, KEY, upload_id, *parts)
    head = await store.head(KEY, timeout=T)
    composite = base64.b64encode(sha256(sha256(first) + sha256(second))).decode()
    assert (head.size, head.etag, head.content_type) == (MIN_PART + 6, etag, "text/x-test")
    assert head.sha256_composite == f"{composite}-2"
    assert dict(head.metadata) == {"sealane-token": "0123abcd", "note": "a=b; c d%20+~"}
    assert etag.endswith("-2")
    assert await body_of(store, KEY) == first + second
    await assert_gone(store, KEY, upload_id)


async def test_one_empty_part_makes_an_empty_object(store: ObjectStore) -> None:
    """C4: an object without chunks takes the fenced road as well."""
    await make(store, KEY, b"", sealane_token="t")
    head = await store.head(KEY, timeout=T)
    composite = base64.b64encode(sha256(sha256(b""))).decode()
    assert (head.size, head.sha256_composite, head.metadata["sealane-token"]) == (0, f"{composite}-1", "t")
    assert await body_of(store, KEY) == b""


async def test_part_numbers_may_have_gaps(store: ObjectStore) -> None:
    upload_id = await begin(store, KEY)
    parts = [await send(store, KEY, upload_id, n, b) for n, b in ((3, b"3" * MIN_PART), (10_000, b"last"))]
    await finish(store, KEY, upload_id, *parts)
    assert (await body_of(store, KEY)).endswith(b"3last")


async def test_parts_that_the_list_leaves_out_are_left_out(store: ObjectStore) -> None:
    upload_id = await begin(store, KEY)
    await send(store, KEY, upload_id, 1, b"left out")
    kept = await send(store, KEY, upload_id, 2, b"kept")
    await finish(store, KEY, upload_id, kept)
    assert await body_of(store, KEY) == b"kept"
    await assert_gone(store, KEY, upload_id)


async def test_uploads_of_one_key_do_not_meet(store: ObjectStore) -> None:
    one, two = await begin(store, KEY), await begin(store, KEY)
    assert one != two
    of_one, of_two = await send(store, KEY, one, 1, b"one"), await send(store, KEY, two, 1, b"two")
    with pytest.raises(InvalidPart):
        await finish(store, KEY, one, of_two)
    await finish(store, KEY, one, of_one)
    assert [row.etag for row in await every_part(store, KEY, two)] == [of_two.etag]
    assert await body_of(store, KEY) == b"one"


async def test_a_small_part_that_is_not_the_last_is_rejected_and_the_upload_lives_on(store: ObjectStore) -> None:
    upload_id = await begin(store, KEY)
    parts = [await send(store, KEY, upload_id, number, b"small") for number in (1, 2)]
    with pytest.raises(Rejected):
        await finish(store, KEY, upload_id, *parts)
    assert len(await every_part(store, KEY, upload_id)) == 2


# --- a part ---


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda b: memoryview(bytearray(b)), lambda b: memoryview(b)[:]])
async def test_a_part_may_be_any_kind_of_buffer(store: ObjectStore, kind: type[bytes]) -> None:
    upload_id = await begin(store, KEY)
    body = bytes(range(256)) * 300
    etag = await store.upload_part(KEY, upload_id, 1, kind(body), sha256=sha256(body), timeout=T)
    await finish(store, KEY, upload_id, Part(1, etag, sha256(body)))
    assert await body_of(store, KEY) == body


async def test_a_part_that_differs_from_its_sha256_is_refused_and_not_stored(store: ObjectStore) -> None:
    """R3, at UploadPart."""
    upload_id = await begin(store, KEY)
    with pytest.raises(ChecksumMismatch):
        await store.upload_part(KEY, upload_id, 1, b"torn", sha256=sha256(b"whole"), timeout=T)
    assert await every_part(store, KEY, upload_id) == []


@pytest.mark.parametrize("number", [0, 10_001])
async def test_a_part_number_outside_1_to_10000_is_refused(store: ObjectStore, number: int) -> None:
    upload_id = await begin(store, KEY)
    with pytest.raises((InvalidPart, Rejected)):
        await store.upload_part(KEY, upload_id, number, b"x", sha256=sha256(b"x"), timeout=T)


async def test_equal_bytes_sent_twice_have_one_etag_and_complete(store: ObjectStore) -> None:
    """UploadPart after an unknown outcome: the same bytes again (protocol.md section 6)."""
    upload_id = await begin(store, KEY)
    parts = [await send(store, KEY, upload_id, 1, b"same") for _ in range(3)]
    assert len(set(parts)) == 1
    await finish(store, KEY, upload_id, parts[0])
    assert await body_of(store, KEY) == b"same"


@pytest.mark.parametrize("newest", ["longer than the other", "short"])
async def test_an_overwritten_part_completes_with_the_newest_bytes(store: ObjectStore, newest: str) -> None:
    """C3; I4: the ETag and SHA-256 that CMU names decide, whatever else is stored under that number."""
    upload_id = await begin(store, KEY)
    await send(store, KEY, upload_id, 1, b"the first bytes")
    last = await send(store, KEY, upload_id, 1, newest.encode())
    rows = await every_part(store, KEY, upload_id)
    assert {row.number for row in rows} == {1}
    assert (last.etag, len(newest)) in [(row.etag, row.size) for row in rows]
    await finish(store, KEY, upload_id, last)
    assert await body_of(store, KEY) == newest.encode()
    assert (await store.head(KEY, timeout=T)).size == len(newest)


async def test_naming_an_overwritten_part_gives_its_bytes_or_none(store: ObjectStore) -> None:
    """I4: the old bytes (SeaweedFS keeps them) or InvalidPart (AWS doesn't), never the new under the old's name."""
    upload_id = await begin(store, KEY)
    old = await send(store, KEY, upload_id, 1, b"old")
    await send(store, KEY, upload_id, 1, b"new")
    try:
        await finish(store, KEY, upload_id, old)
    except InvalidPart:
        assert await listed_keys(store, "") == []
    else:
        assert await body_of(store, KEY) == b"old"


# --- a part list that isn't what is stored (R3, at CMU) ---


@pytest.mark.parametrize("fault", ["etag", "sha256", "of another part", "absent", "order", "old etag, new sha256"])
async def test_a_wrong_part_list_is_refused_and_the_upload_lives_on(store: ObjectStore, fault: str) -> None:
    """R3: no object appears, and the right list completes afterwards."""
    upload_id = await begin(store, KEY)
    big = await send(store, KEY, upload_id, 1, b"1" * MIN_PART)
    old = await send(store, KEY, upload_id, 2, b"old")
    small = await send(store, KEY, upload_id, 2, b"new")
    faults: dict[str, tuple[list[Part], type[StoreError] | tuple[type[StoreError], ...]]] = {
        "etag": ([big, Part(2, "0" * 32, small.sha256)], InvalidPart),
        "sha256": ([big, Part(2, small.etag, sha256(b"other"))], ChecksumMismatch),
        "of another part": ([big, Part(2, big.etag, big.sha256)], InvalidPart),
        "absent": ([big, small, Part(3, small.etag, small.sha256)], (InvalidPart, Rejected)),
        "order": ([small, big], InvalidPart),
        "old etag, new sha256": ([big, Part(2, old.etag, small.sha256)], (InvalidPart, ChecksumMismatch)),
    }
    wrong, error = faults[fault]
    with pytest.raises(error):
        await finish(store, KEY, upload_id, *wrong)
    assert await listed_keys(store, "") == []
    await finish(store, KEY, upload_id, big, small)
    assert (await body_of(store, KEY))[MIN_PART:] == b"new"


@pytest.mark.parametrize("named", [[], [Part(1, "0" * 32, sha256(b""))]])
async def test_a_partless_upload_cannot_complete_and_lives_on(store: ObjectStore, named: list[Part]) -> None:
    """SeaweedFS says NoSuchUpload of it: ⚠ hence ListParts is asked before anything is called lost."""
    upload_id = await begin(store, KEY)
    with pytest.raises((NoSuchUpload, InvalidPart, Rejected)):
        await finish(store, KEY, upload_id, *named)
    assert await every_part(store, KEY, upload_id) == []
    await finish(store, KEY, upload_id, await send(store, KEY, upload_id, 1, b"now"))
    assert await body_of(store, KEY) == b"now"


# --- completion repeated (R5) ---


async def complete_again(store: ObjectStore, upload_id: str, parts: list[Part]) -> str | None:
    try:
        return await finish(store, KEY, upload_id, *parts)
    except NoSuchUpload:
        return None


async def test_completion_repeated_after_success_changes_nothing(store: ObjectStore) -> None:
    """R5, I6: the same ETag or NoSuchUpload."""
    upload_id, parts = await make(store, KEY, b"bytes", sealane_token="t")
    head = await store.head(KEY, timeout=T)
    assert await complete_again(store, upload_id, parts) in (None, head.etag)
    assert await store.head(KEY, timeout=T) == head


async def test_completion_repeated_after_a_delete_brings_nothing_back(store: ObjectStore) -> None:
    """R5, I9: a stalled committer that wakes after a purge."""
    upload_id, parts = await make(store, KEY, b"bytes")
    await store.delete(KEY, timeout=T)
    with pytest.raises(NoSuchUpload):
        await finish(store, KEY, upload_id, *parts)
    with pytest.raises(NoSuchKey):
        await store.head(KEY, timeout=T)
    assert await listed_keys(store, "") == []


async def test_completion_repeated_after_another_one_brings_nothing_back(store: ObjectStore) -> None:
    """R5, I16."""
    old_id, old_parts = await make(store, KEY, b"old")
    new_id, new_parts = await make(store, KEY, b"new")
    with pytest.raises(NoSuchUpload):
        await finish(store, KEY, old_id, *old_parts)
    await complete_again(store, new_id, new_parts)
    assert await body_of(store, KEY) == b"new"


# --- gone ---


async def test_an_aborted_upload_is_gone(store: ObjectStore) -> None:
    upload_id = await begin(store, KEY)
    part = await send(store, KEY, upload_id, 1, b"x")
    await store.abort_multipart(KEY, upload_id, timeout=T)
    await assert_gone(store, KEY, upload_id)
    with pytest.raises(NoSuchUpload):
        await send(store, KEY, upload_id, 1, b"x")
    with pytest.raises(NoSuchUpload):
        await finish(store, KEY, upload_id, part)
    await assert_gone(store, KEY, upload_id)
    assert await listed_keys(store, "") == []
    assert await every_upload(store, "") == []


async def test_an_abort_of_what_is_gone_is_no_such_upload_or_nothing(store: ObjectStore) -> None:
    """SeaweedFS says 204, AWS 404. Either way no object is touched: a stalled abort after a completion (I10)."""
    upload_id, _ = await make(store, KEY, b"kept")
    aborted = await begin(store, KEY)
    for gone in (upload_id, aborted, aborted):
        try:
            await store.abort_multipart(KEY, gone, timeout=T)
        except NoSuchUpload:
            assert gone == upload_id or await every_upload(store, "") == []
    assert await body_of(store, KEY) == b"kept"
    with pytest.raises(NoSuchUpload):
        await store.abort_multipart(KEY, "0" * 32 + "_never", timeout=T)


async def test_a_part_after_completion_is_refused(store: ObjectStore) -> None:
    """Late parts before and after CMU (protocol.md section 12)."""
    upload_id, _ = await make(store, KEY, b"bytes")
    with pytest.raises(NoSuchUpload):
        await send(store, KEY, upload_id, 1, b"late!")
    assert await body_of(store, KEY) == b"bytes"


async def test_an_upload_belongs_to_its_key(store: ObjectStore) -> None:
    """I12: an upload id names nothing under another key."""
    upload_id = await begin(store, KEY)
    part = await send(store, KEY, upload_id, 1, b"x")
    await assert_gone(store, "other/key", upload_id)
    with pytest.raises(NoSuchUpload):
        await send(store, "other/key", upload_id, 1, b"y")
    with pytest.raises(NoSuchUpload):
        await finish(store, "other/key", upload_id, part)
    with pytest.raises(NoSuchUpload):
        await store.abort_multipart("other/key", upload_id, timeout=T)
    assert [row.etag for row in await every_part(store, KEY, upload_id)] == [part.etag]


# --- listing parts and uploads ---


@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_parts_are_listed_by_number_whatever_the_page(store: ObjectStore, limit: int) -> None:
    upload_id = await begin(store, KEY)
    sent = {n: await send(store, KEY, upload_id, n, b"p" * n) for n in (7, 1, 10_000, 2)}
    assert 1 <= len((await store.list_parts(KEY, upload_id, timeout=T, limit=limit)).parts) <= limit
    rows = await every_part(store, KEY, upload_id, limit)
    assert [(row.number, row.etag, row.size) for row in rows] == [(n, sent[n].etag, n) for n in (1, 2, 7, 10_000)]
    assert {row.sha256 for row in rows} <= {None, *(part.sha256 for part in sent.values())}
    assert all(abs(row.last_modified - store.now()) < timedelta(minutes=5) for row in rows)


async def test_a_full_page_of_parts_hides_none(store: ObjectStore) -> None:
    """C3 at the page edge: with every part overwritten and one odd row, page edges fall between rows of one part.

    SeaweedFS counts rows, continues behind the *number*, and would leave out the newest row of the part at the edge.
    """
    upload_id = await begin(store, KEY)
    await send(store, KEY, upload_id, 1, b"odd")
    newest = {}
    for number in range(1, 601):
        await send(store, KEY, upload_id, number, b"old")
        newest[number] = (await send(store, KEY, upload_id, number, b"new %d" % number)).etag
    rows = await every_part(store, KEY, upload_id)
    assert [row.number for row in rows] == sorted(row.number for row in rows)
    listed = {(row.number, row.etag) for row in rows}
    assert [number for number, etag in newest.items() if (number, etag) not in listed] == []


@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_open_uploads_are_found_by_prefix_whatever_the_page(store: ObjectStore, limit: int) -> None:
    """W6 stands on it: an upload that LIST hides is never aborted (I9)."""
    keys = ["t/by-session/a/x", "t/by-session/a/x", "t/by-session/ab/x", "t/by-session/b/y z%", "t/by-session/b/é+"]
    opened = sorted([(key, await begin(store, key)) for key in [*keys, "u/by-session/a/x"]])
    await make(store, "t/by-session/a/done", b"done")
    gone = await begin(store, "t/by-session/a/gone")
    await store.abort_multipart("t/by-session/a/gone", gone, timeout=T)
    for prefix in ("", "t/", "t/by-session/a", "t/by-session/a/", "t/by-session/b/", "t/by-session/b/y z%", "v"):
        rows = await every_upload(store, prefix, limit)
        assert sorted((row.key, row.upload_id) for row in rows) == [
            pair for pair in opened if pair[0].startswith(prefix)
        ]
        assert all(abs(row.initiated - store.now()) < timedelta(minutes=5) for row in rows)
