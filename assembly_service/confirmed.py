"""Removing things from the store, each step confirmed before the caller's next ⚠ (protocol.md sections 6 and 7).

"DELETE, Abort | anything | confirm (HEAD 404, ListParts NoSuchUpload) before the next step; repeat." A call that was
answered may have hit the past of a slow store; what counts is what is there afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey, NoSuchUpload, OutcomeUnknown
from sealane.store.retry import RetryingStore

_AT_ONCE = 8
"""Deletes in flight, of the receipts of one session."""


async def delete_confirmed(store: RetryingStore, key: str, deadline: Deadline) -> None:
    """Delete until HEAD says 404. OutcomeUnknown at the deadline."""

    async def gone() -> bool:
        await store.delete(key, deadline)
        try:
            await store.head(key, deadline)
        except NoSuchKey:
            return True
        return False

    await _until(gone, f"delete {key}", deadline)


async def abort_confirmed(store: RetryingStore, key: str, upload_id: str, deadline: Deadline) -> None:
    """Abort until ListParts says NoSuchUpload: parts in flight may outlive one. OutcomeUnknown if it never does."""

    async def gone() -> bool:
        with contextlib.suppress(NoSuchUpload):
            await store.abort_multipart(key, upload_id, deadline)
        return not await upload_exists(store, key, upload_id, deadline)

    await _until(gone, f"abort an upload of {key}", deadline)


async def delete_all_confirmed(store: RetryingStore, prefix: str, deadline: Deadline, *, but: str = "") -> int:
    """Delete what is under ``prefix`` (but for the key ``but``) until LIST shows nothing more; answer how many."""
    deleted: set[str] = set()

    async def walk() -> tuple[bool, bool]:
        """From the first page to the last: (anything shown, any of it for the first time)."""
        shown = fresh = False
        cursor: str | None = None
        while True:
            page = await store.list_objects(prefix, deadline, cursor=cursor)
            doomed = [listed.key for listed in page.objects if listed.key != but]
            for start in range(0, len(doomed), _AT_ONCE):
                batch = [store.delete(key, deadline) for key in doomed[start : start + _AT_ONCE]]
                for outcome in await asyncio.gather(*batch, return_exceptions=True):  # none is left running behind us
                    if isinstance(outcome, BaseException):
                        raise outcome
            shown |= bool(doomed)
            fresh |= not deleted.issuperset(doomed)
            deleted.update(doomed)
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
    return len(deleted)


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
