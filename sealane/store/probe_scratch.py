"""The probe's own corner of the bucket: keys that nobody else has, calls with a deadline, and a broom."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from sealane.store import keys
from sealane.store.port import (
    ClockSkewed,
    NoListener,
    NoSuchKey,
    NoSuchUpload,
    ObjectHead,
    ObjectPage,
    ObjectStore,
    OutcomeUnknown,
    Part,
    PreconditionFailed,
    StoreError,
    WriteConflict,
)

T = TypeVar("T")

CONCURRENCY = 16
"""Calls in hand at once, and contenders in a race: below the adapter's default of 32 connections."""
PAGE_KEYS = 1000
"""Keys in a page of LIST: S3's own maximum, and what the services ask for."""
CONFLICT_ATTEMPTS = 6
CONFLICT_PAUSE = 0.05
DIAL_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds: at one refusal in twenty, a probe of 2,200 calls meets six in a row in 3 of 100,000 cases."""
MAX_PAGES = 100


class Broken(Exception):
    """The store answered, and the answer breaks the guarantee. ``str()`` says what was seen."""


@runtime_checkable
class SignsInThePast(Protocol):
    """What an adapter offers for R6, beside the port."""

    async def refuses_old_signature(self, age: timedelta, *, timeout: float) -> bool:
        """Whether the store refuses a request that was signed ``age`` ago by the store's own clock."""
        ...


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


class Scratch:
    """Remembers what it may have written, so that :meth:`clean` needs no LIST that may be broken."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        entropy: Callable[[int], bytes],
        timeout: float,
        races: int,
        race_seconds: float,
        page_keys: int = PAGE_KEYS,
        on_refused: Callable[[], None] | None = None,
    ) -> None:
        self.store = store
        self._on_refused = on_refused
        self.prefix = keys.probe_prefix(entropy(16).hex())
        self.token = entropy(16).hex()
        self.races = races
        self.race_seconds = race_seconds
        self.page_keys = page_keys
        self.timeout = timeout
        self._written: set[str] = set()
        self._uploads: dict[str, str] = {}

    def key(self, name: str) -> str:
        return self.prefix + name

    async def reach(self) -> None:
        """Go to the store and back once; a wrong local clock is put right by it. A refusal here is the store's."""
        for last in (False, True):
            try:
                await self.store.head(self.key("never-written"), timeout=self.timeout)
            except NoSuchKey:
                return
            except ClockSkewed:  # the adapter has learnt the store's time from it
                if last:
                    raise
            else:
                return

    async def put(self, name: str, body: bytes = b"", *, if_absent: bool = False) -> None:
        self._written.add(self.key(name))
        await self.dialled(lambda: self.store.put(self.key(name), body, timeout=self.timeout, if_absent=if_absent))

    async def put_all(self, names: Iterable[str]) -> None:
        await self._each(names, self.put)

    async def claim(self, name: str, body: bytes) -> bool:
        """A conditional PUT, whether it won. 409 is neither: the same again, after a pause (protocol.md section 6)."""
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                await self.put(name, body, if_absent=True)
            except PreconditionFailed:
                return False
            except WriteConflict:
                await asyncio.sleep(CONFLICT_PAUSE * 2**attempt)
            else:
                return True
        raise OutcomeUnknown(f"409 to each of {CONFLICT_ATTEMPTS} conditional PUTs")

    async def body(self, name: str) -> bytes | None:
        try:
            return (await self.dialled(lambda: self.store.get(self.key(name), timeout=self.timeout))).body
        except NoSuchKey:
            return None

    async def head(self, name: str) -> ObjectHead | None:
        try:
            return await self.dialled(lambda: self.store.head(self.key(name), timeout=self.timeout))
        except NoSuchKey:
            return None

    async def delete(self, name: str) -> None:
        """Delete, and yet sweep up in the end: a store that brings things back shall leave nothing behind either."""
        await self._drop(self.key(name))

    async def delete_all(self, names: Iterable[str]) -> None:
        """Delete for good."""

        async def drop(name: str) -> None:
            await self.delete(name)
            self._written.discard(self.key(name))

        await self._each(names, drop)

    async def names(self, prefix: str) -> list[str]:
        """Every key under ``prefix``, page by page, as names."""
        return [name async for name in self._names(prefix)]

    async def _names(self, prefix: str) -> AsyncIterator[str]:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.dialled(partial(self._page, prefix, cursor))
            for row in page.objects:
                yield row.key.removeprefix(self.prefix)
            cursor = page.cursor
            if cursor is None:
                return
        raise Broken(f"LIST does not end within {MAX_PAGES} pages")

    def _page(self, prefix: str, cursor: str | None) -> Awaitable[ObjectPage]:
        return self.store.list_objects(self.key(prefix), timeout=self.timeout, cursor=cursor, limit=self.page_keys)

    async def begin(self, name: str) -> str:
        key = self.key(name)
        self._written.add(key)
        metadata = {keys.TOKEN_METADATA: self.token}
        upload_id = await self.dialled(
            lambda: self.store.create_multipart(key, timeout=self.timeout, metadata=metadata)
        )
        self._uploads[upload_id] = key
        return upload_id

    async def send(self, name: str, upload_id: str, number: int, body: bytes, *, claimed: bytes | None = None) -> Part:
        """Upload a part; ``claimed`` is sent as its SHA-256 in place of the true one."""
        digest = sha256(body) if claimed is None else claimed
        key = self.key(name)
        etag = await self.dialled(
            lambda: self.store.upload_part(key, upload_id, number, body, sha256=digest, timeout=self.timeout)
        )
        return Part(number, etag, digest)

    async def complete(self, name: str, upload_id: str, *parts: Part) -> None:
        key = self.key(name)
        await self.dialled(lambda: self.store.complete_multipart(key, upload_id, parts, timeout=self.timeout))

    async def dialled(self, call: Callable[[], Awaitable[T]]) -> T:
        """What ``call()`` answers. A connection that is refused has sent nothing, so the same again, after a pause:
        of several servers behind one address one may be away, and its refusals say nothing of what the others give.
        ``on_refused`` is told each time, for the store may have restarted instead."""
        for pause in DIAL_PAUSES:
            try:
                return await call()
            except NoListener:
                if self._on_refused is not None:
                    self._on_refused()
            await asyncio.sleep(pause)
        return await call()

    async def clean(self) -> bool:
        """Delete all that was, or may have been, written; whether each step was answered. Raises no StoreError."""
        try:
            async with asyncio.timeout(2 * self.timeout):
                page = await self.dialled(lambda: self.store.list_uploads(self.prefix, timeout=self.timeout))
                found = {row.upload_id: row.key for row in page.uploads}
                await self._each({**self._uploads, **found}.items(), self._abort)
                await self._each(self._written, self._drop)
        except (TimeoutError, StoreError):
            return False
        return True

    async def _drop(self, key: str) -> None:
        await self.dialled(lambda: self.store.delete(key, timeout=self.timeout))

    async def _abort(self, upload: tuple[str, str]) -> None:
        upload_id, key = upload
        try:
            await self.dialled(lambda: self.store.abort_multipart(key, upload_id, timeout=self.timeout))
        except NoSuchUpload:
            return

    async def _each(self, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
        """``work`` on every item, :data:`CONCURRENCY` at a time; the first failure ends it."""
        queue = iter(items)

        async def worker() -> None:
            for item in queue:
                await work(item)

        await all_of(*(worker() for _ in range(CONCURRENCY)))


async def all_of(*work: Coroutine[Any, Any, T]) -> list[T]:
    """All results, or the first error when every one has ended: no call is left behind, running."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise next(_leaves(errors)) from None
    return [task.result() for task in tasks]


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
