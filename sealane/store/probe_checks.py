"""One check for each guarantee of docs/protocol.md, section 2. Each answers what it tried, or raises Broken.

A :class:`~sealane.store.port.StoreError` that escapes a check counts against the guarantee, unless it means that the
store could not be tried at all (:mod:`sealane.store.probe` tells them apart).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import timedelta

from sealane.store import keys
from sealane.store.port import (
    ChecksumMismatch,
    InvalidPart,
    NoSuchUpload,
    Part,
    PreconditionFailed,
    Rejected,
)
from sealane.store.probe_scratch import CONCURRENCY, Broken, Scratch, SignsInThePast, all_of, sha256

PART_BYTES = 5 << 20
"""The smallest part that S3 allows before the last one."""
RACES_AT_ONCE = 2
OLD_SIGNATURE = timedelta(minutes=20)

_REFUSED = (ChecksumMismatch, InvalidPart, Rejected)
_DONE_ALREADY = (NoSuchUpload, InvalidPart, ChecksumMismatch, PreconditionFailed, Rejected)


async def reads_see_writes(scratch: Scratch) -> str:
    """R1."""
    await scratch.put("r1/one", b"old")
    await scratch.put("r1/one", b"newer")
    head = await scratch.head("r1/one")
    _expect(await scratch.body("r1/one") == b"newer", "GET did not answer the bytes of the last PUT")
    _expect(head is not None and head.size == 5, "HEAD did not answer the size of the last PUT")
    _expect(await scratch.names("r1/") == ["r1/one"], "LIST did not show a key that had been written")
    _expect(await scratch.names("r1/o") == ["r1/one"], "LIST under a partial prefix did not show a key")
    await scratch.delete("r1/one")
    _expect(await scratch.body("r1/one") is None, "GET answered a deleted key")
    _expect(await scratch.head("r1/one") is None, "HEAD answered a deleted key")
    _expect(await scratch.names("r1/") == [], "LIST showed a deleted key")

    full = scratch.page_keys
    edges = (full - 1, full, full + 1)
    names = [f"r1/page/{index:08d}.x" for index in range(max(edges))]
    written = 0
    for count in edges:
        await scratch.put_all(names[written:count])
        written = count
        listed = await scratch.names("r1/page/")
        _expect(listed == names[:count], f"LIST of {count} keys: {_difference(names[:count], listed)}")
    listed = await scratch.names("r1/page/0000000")
    _expect(listed == names[:10], f"LIST under a partial prefix: {_difference(names[:10], listed)}")
    await scratch.delete_all(names)
    _expect(await scratch.names("r1/") == [], "LIST showed deleted keys")
    pages = f"LIST of {', '.join(map(str, edges))} keys in pages of {full}"
    return f"GET, HEAD and LIST after PUT and DELETE; {pages}; partial prefixes"


async def conditional_puts_have_one_winner(scratch: Scratch) -> str:
    """R2."""
    _expect(await scratch.claim("r2/first", b"first"), "a conditional PUT of a new key was refused")
    _expect(not await scratch.claim("r2/first", b"second"), "a conditional PUT replaced a key: If-None-Match ignored")
    _expect(await scratch.body("r2/first") == b"first", "a refused conditional PUT changed the object")
    loop = asyncio.get_running_loop()
    start, races = loop.time(), 0
    while races == 0 or (races < scratch.races and loop.time() - start < scratch.race_seconds):
        await all_of(*(_race(scratch, f"r2/race-{races + lane}") for lane in range(RACES_AT_ONCE)))
        races += RACES_AT_ONCE
    return f"one winner in each of {races} races of {CONCURRENCY}"


async def wrong_parts_are_refused(scratch: Scratch) -> str:
    """R3."""
    upload_id = await scratch.begin("r3/part")
    try:
        await scratch.send("r3/part", upload_id, 1, b"torn", claimed=sha256(b"whole"))
    except _REFUSED:
        pass
    else:
        raise Broken("UploadPart took bytes that differ from x-amz-checksum-sha256")
    await _refuses(scratch, "r3/etag", lambda part: Part(1, _another(part.etag), part.sha256), "a wrong ETag")
    await _refuses(scratch, "r3/sha256", lambda part: Part(1, part.etag, sha256(b"other")), "a wrong SHA-256")
    return "wrong SHA-256 at UploadPart; wrong ETag and wrong SHA-256 at CompleteMultipartUpload"


async def uploads_keep_their_labels(scratch: Scratch) -> str:
    """R4."""
    name = "r4/labels"
    bodies = [bytes(PART_BYTES), b"last"]
    upload_id = await scratch.begin(name)
    parts = [await scratch.send(name, upload_id, number, body) for number, body in enumerate(bodies, 1)]
    await scratch.complete(name, upload_id, *parts)
    head = await scratch.head(name)
    if head is None or head.size != sum(map(len, bodies)):
        raise Broken("HEAD did not answer a completed upload's size")
    composite = base64.b64encode(sha256(b"".join(part.sha256 for part in parts))).decode() + f"-{len(parts)}"
    found = head.metadata.get(keys.TOKEN_METADATA)
    _expect(found == scratch.token, f"metadata {keys.TOKEN_METADATA!r} came back as {found!r}")
    _expect(head.sha256_composite == composite, f"composite SHA-256 is {head.sha256_composite!r}, not {composite!r}")
    return "user metadata and composite SHA-256 of an upload in two parts"


async def completions_do_not_resurrect(scratch: Scratch) -> str:
    """R5."""
    name = "r5/object"
    old_id, old = await _make(scratch, name, b"old bytes")
    await _again(scratch, name, old_id, old)
    _expect(await scratch.body(name) == b"old bytes", "a completion repeated after success changed the object")
    await scratch.delete(name)
    await _again(scratch, name, old_id, old)
    gone = await scratch.head(name) is None and await scratch.names("r5/") == []
    _expect(gone, "a completion repeated after a delete brought the object back")
    new_id, new = await _make(scratch, name, b"new bytes")
    for upload_id, part in ((old_id, old), (new_id, new), (old_id, old)):
        await _again(scratch, name, upload_id, part)
        body = await scratch.body(name)
        _expect(body == b"new bytes", "a completion repeated after another one brought the old bytes back")
    return "completions repeated after success, after a delete, after another completion"


async def old_signatures_are_refused(scratch: Scratch) -> str:
    """R6."""
    store = scratch.store
    if not isinstance(store, SignsInThePast):
        raise Broken("not tried: this adapter cannot sign in the past")
    refused = await scratch.dialled(lambda: store.refuses_old_signature(OLD_SIGNATURE, timeout=scratch.timeout))
    minutes = OLD_SIGNATURE // timedelta(minutes=1)
    _expect(refused, f"a request signed {minutes} minutes ago was accepted")
    return f"a request signed {minutes} minutes ago"


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise Broken(otherwise)


def _another(etag: str) -> str:
    """An ETag of the same look that is no part's."""
    return ("1" if etag.startswith("0") else "0") + etag[1:]


def _difference(expected: list[str], listed: list[str]) -> str:
    lost, foreign = sorted(set(expected) - set(listed)), sorted(set(listed) - set(expected))
    if lost or foreign:
        return f"{len(lost)} lost {lost[:3]}, {len(foreign)} foreign {foreign[:3]}"
    return f"{len(listed)} rows, out of order or repeated"


async def _race(scratch: Scratch, name: str) -> None:
    bodies = [b"contender %d" % number for number in range(CONCURRENCY)]
    won = await all_of(*(scratch.claim(name, body) for body in bodies))
    winners = [body for body, has_won in zip(bodies, won, strict=True) if has_won]
    _expect(len(winners) == 1, f"a race of {CONCURRENCY} conditional PUTs had {len(winners)} winners")
    _expect(await scratch.body(name) == winners[0], "after a race, the stored bytes are not the winner's")


async def _make(scratch: Scratch, name: str, body: bytes) -> tuple[str, Part]:
    upload_id = await scratch.begin(name)
    part = await scratch.send(name, upload_id, 1, body)
    await scratch.complete(name, upload_id, part)
    return upload_id, part


async def _again(scratch: Scratch, name: str, upload_id: str, part: Part) -> None:
    """Repeat a completion. Success or refusal, either is well: what the key holds afterwards is what counts."""
    try:
        await scratch.complete(name, upload_id, part)
    except _DONE_ALREADY:
        return


async def _refuses(scratch: Scratch, name: str, spoil: Callable[[Part], Part], what: str) -> None:
    """CMU with a spoilt list is refused and makes no object; the true list is accepted afterwards."""
    upload_id = await scratch.begin(name)
    part = await scratch.send(name, upload_id, 1, b"true bytes")
    try:
        await scratch.complete(name, upload_id, spoil(part))
    except _REFUSED:
        pass
    else:
        raise Broken(f"CompleteMultipartUpload took a part list with {what}")
    _expect(await scratch.head(name) is None, f"a completion refused for {what} made an object")
    try:
        await scratch.complete(name, upload_id, part)
    except _DONE_ALREADY as error:
        raise Broken(f"after a refusal for {what}, the true part list failed too: {type(error).__name__}") from error
    _expect(await scratch.body(name) == b"true bytes", "a completed upload does not hold its part's bytes")
