"""Removing things from the store, each step confirmed before the caller's next ⚠ (protocol.md sections 6 and 7).

"DELETE, Abort | anything | confirm (HEAD 404, ListParts NoSuchUpload) before the next step; repeat." A call that was
answered may have hit the past of a slow store; what counts is what is there afterwards.

Whoever wants to know what went passes ``removed``: each thing is then looked at before it goes, which costs a call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from assembly_service.removal import Kind, Removed
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedPart, NoSuchKey, NoSuchUpload, OutcomeUnknown
from sealane.store.retry import RetryingStore

_AT_ONCE = 8
"""Deletes in flight, of the receipts of one session."""


async def delete_confirmed(
    store: RetryingStore,
    key: str,
    deadline: Deadline,
    *,
    removed: Removed | None = None,
    kind: Kind = Kind.RECORD,
) -> None:
    """Delete until HEAD says 404. OutcomeUnknown at the deadline."""
    size: int | None = None
    if removed is not None:
        with contextlib.suppress(NoSuchKey):
            size = (await store.head(key, deadline)).size

    async def gone() -> bool:
        await store.delete(key, deadline)
        try:
            await store.head(key, deadline)
        except NoSuchKey:
            return True
        return False

    await _until(gone, f"delete {key}", deadline)
    if removed is not None and size is not None:
        removed.add(kind, key, size)


async def abort_confirmed(
    store: RetryingStore, key: str, upload_id: str, deadline: Deadline, *, removed: Removed | None = None
) -> None:
    """Abort until ListParts says NoSuchUpload: parts in flight may outlive one. OutcomeUnknown if it never does."""
    parts: list[ListedPart] | None = None
    if removed is not None:
        with contextlib.suppress(NoSuchUpload):
            parts = await store.list_parts_all(key, upload_id, deadline)

    async def gone() -> bool:
        with contextlib.suppress(NoSuchUpload):
            await store.abort_multipart(key, upload_id, deadline)
        return not await upload_exists(store, key, upload_id, deadline)

    await _until(gone, f"abort an upload of {key}", deadline)
    if removed is not None and parts is not None:
        removed.add(Kind.UPLOAD, upload_id, 0)
        for row, part in enumerate(parts):  # an overwritten part may have several rows, each with bytes of its own
            removed.add(Kind.PART, f"{upload_id} {row}", part.size)


async def delete_all_confirmed(
    store: RetryingStore,
    prefix: str,
    deadline: Deadline,
    *,
    but: str = "",
    removed: Removed | None = None,
) -> int:
    """Delete a session's records and receipts under ``prefix`` (but for the key ``but``) until LIST shows nothing more.

    Answers how many.
    """
    deleted: dict[str, int] = {}

    async def walk() -> tuple[bool, bool]:
        """From the first page to the last: (anything shown, any of it for the first time)."""
        shown = fresh = False
        cursor: str | None = None
        while True:
            page = await store.list_objects(prefix, deadline, cursor=cursor)
            sizes = {listed.key: listed.size for listed in page.objects if listed.key != but}
            doomed = list(sizes)
            for start in range(0, len(doomed), _AT_ONCE):
                batch = [store.delete(key, deadline) for key in doomed[start : start + _AT_ONCE]]
                for outcome in await asyncio.gather(*batch, return_exceptions=True):  # none is left running behind us
                    if isinstance(outcome, BaseException):
                        raise outcome
            shown |= bool(doomed)
            fresh |= not deleted.keys() >= sizes.keys()
            deleted.update(sizes)
            cursor = page.cursor  # a page may be short, or empty, and still not the last
            if cursor is None:
                return shown, fresh

    async def gone() -> bool:
        while True:
            shown, fresh = await walk()
            if not shown:
                return True
            if not fresh:
                return False  # all of it was deleted, and is shown again: wait a little

    await _until(gone, f"delete all under {prefix}", deadline)
    if removed is not None:
        for key, size in deleted.items():
            removed.add(_kind(key), key, size)
    return len(deleted)


def _kind(key: str) -> Kind:
    found = keys.parse_session_key(key)
    return Kind.RECEIPT if found is not None and found.rest.startswith(keys.RECEIPTS) else Kind.RECORD


async def upload_exists(store: RetryingStore, key: str, upload_id: str, deadline: Deadline) -> bool:
    """What ListParts says: the one witness that an upload is gone (CMU's NoSuchUpload alone is none ⚠)."""
    try:
        await store.list_parts(key, upload_id, deadline, limit=1)
    except NoSuchUpload:
        return False
    return True


async def _until(gone: Callable[[], Awaitable[bool]], what: str, deadline: Deadline) -> None:
    pause = 0.05
    while not await gone():
        if pause >= deadline.remaining():
            raise OutcomeUnknown(f"{what}: not confirmed by the deadline")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)
