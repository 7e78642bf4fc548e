"""The object store in memory: the port's semantics, seeded and in virtual time, for simulation and tests.

Everything runs on one event loop. Each call waits on the way in, takes effect at **one instant**, and waits on the
way back, so that other tasks interleave exactly where they do on a network; how long is up to ``latency``. Time is
the loop's own, so a virtual-time loop runs it at full speed, and the same seed gives the same run.

Several stores may share one :class:`~sealane.store.simulated_bucket.SimulatedBucket`: one store a replica, each with
its own ``faults`` and its own wrong clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from sealane.store.port import (
    ClockSkewed,
    ObjectHead,
    ObjectPage,
    OutcomeUnknown,
    Part,
    PartPage,
    PreconditionFailed,
    Rejected,
    StoredObject,
    StoreError,
    UploadPage,
)
from sealane.store.simulated_bucket import SimulatedBucket, SimulatedObject

T = TypeVar("T")

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
"""The store's time when the loop's clock reads 0."""

Latency = Callable[[str, str], float]
"""(operation, key) -> seconds for one way of one call. Seed it; it is asked twice a call."""


class Call(NamedTuple):
    """A call that was made, by the port's name for it; ``key`` is the prefix of a LIST."""

    op: str
    key: str


class FaultPlan(Protocol):
    """What goes wrong. Called once a call, between the two waits."""

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        """Run ``effect`` and answer it, or don't.

        Raise before it (the request never arrived), after it (the answer was lost), hand it to
        ``loop.call_later`` and raise OutcomeUnknown (late landing), or wait in either place. ``effect`` raises the
        port's errors, takes no time, and may be run once.
        """
        ...


def loop_time_clock() -> datetime:
    """The default store's clock: :data:`EPOCH` plus the running loop's time."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


class SimulatedStore:
    """An :class:`~sealane.store.port.ObjectStore` on a :class:`SimulatedBucket`.

    ``skew`` is how wrong this replica's own clock is: :meth:`now` shows it until the first answer taught it better.
    ``calls`` journals what was asked, ``bytes_read`` counts what GETs answered ("not one byte of data read").
    """

    def __init__(
        self,
        state: SimulatedBucket | None = None,
        *,
        name: str = "simulated",
        clock: Callable[[], datetime] = loop_time_clock,
        latency: Latency | None = None,
        faults: FaultPlan | None = None,
        skew: timedelta = timedelta(0),
    ) -> None:
        self.state = state if state is not None else SimulatedBucket()
        self.faults = faults
        self.calls: list[Call] = []
        self.bytes_read = 0
        self._name = name
        self._clock = clock
        self._latency = latency
        self._skew = skew
        self._closed = False

    @property
    def bucket(self) -> str:
        return self._name

    def now(self) -> datetime:
        """The store's time; off by ``skew`` before the first answer."""
        return self._clock() + self._skew

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        timeout: float,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> str:
        if if_absent and self.state.flaws.races_if_absent:
            return await self._racy_put(key, body, timeout=timeout, content_type=content_type)

        def effect() -> str:
            return self.state.put(key, bytes(body), self._clock(), if_absent=if_absent, content_type=content_type)

        return await self._call("put", key, timeout, effect)

    async def get(self, key: str, *, timeout: float, max_bytes: int = 16 << 20) -> StoredObject:
        def effect() -> StoredObject:
            stored = self.state.get(key)
            if stored.head.size > max_bytes:
                raise Rejected(f"{key} has {stored.head.size} bytes, more than {max_bytes}")
            body = b"".join(stored.read())
            self.bytes_read += len(body)
            return StoredObject(body, stored.head.etag, stored.head.last_modified)

        return await self._call("get", key, timeout, effect)

    async def read(self, key: str, *, timeout: float, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        def effect() -> SimulatedObject:
            return self.state.get(key)

        stored = await self._call("read", key, timeout, effect)
        for piece in stored.read():
            view = memoryview(piece)
            for start in range(0, len(view), block_bytes):
                await self._deadlined("read", key, timeout, self._trip("read", key))
                block = bytes(view[start : start + block_bytes])
                self.bytes_read += len(block)
                yield block

    async def head(self, key: str, *, timeout: float) -> ObjectHead:
        return await self._call("head", key, timeout, lambda: self.state.head(key))

    async def refuses_old_signature(self, age: timedelta, *, timeout: float) -> bool:
        """Whether a request signed ``age`` ago is refused (R6), as the S3 adapter answers it. Not part of the port."""

        def effect() -> bool:
            return self.state.refuses_signature(age)

        return await self._call("refuses_old_signature", "", timeout, effect)

    async def delete(self, key: str, *, timeout: float, signed_at: datetime | None = None) -> None:
        def effect() -> None:
            if signed_at is not None and self.state.refuses_signature(self._clock() - signed_at):
                raise ClockSkewed(f"DELETE {key}, signed at {signed_at}")
            self.state.delete(key)

        await self._call("delete", key, timeout, effect)

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        behind = start_after if cursor is None else cursor  # this store's cursors are keys, too
        return await self._call("list_objects", prefix, timeout, lambda: self.state.list_objects(prefix, behind, limit))

    async def create_multipart(
        self, key: str, *, timeout: float, metadata: Mapping[str, str], content_type: str = ""
    ) -> str:
        def effect() -> str:
            return self.state.create_multipart(key, self._clock(), metadata=metadata, content_type=content_type)

        return await self._call("create_multipart", key, timeout, effect)

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        body: bytes | bytearray | memoryview,
        *,
        sha256: bytes,
        timeout: float,
    ) -> str:
        # The bytes are read when the part lands, so a caller that changes them while the call runs is found out; a
        # part that lands after the call has ended carries what was there at its end.
        sent: bytes | None = None
        landed = False

        def effect() -> str:
            nonlocal landed
            landed = True
            payload = bytes(body) if sent is None else sent
            return self.state.upload_part(key, upload_id, number, payload, sha256, self._clock())

        try:
            return await self._call("upload_part", key, timeout, effect)
        finally:
            if not landed:
                sent = bytes(body)

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], *, timeout: float) -> str:
        def effect() -> str:
            return self.state.complete_multipart(key, upload_id, parts, self._clock())

        return await self._call("complete_multipart", key, timeout, effect)

    async def abort_multipart(self, key: str, upload_id: str, *, timeout: float) -> None:
        await self._call("abort_multipart", key, timeout, lambda: self.state.abort_multipart(key, upload_id))

    async def list_parts(
        self, key: str, upload_id: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> PartPage:
        def effect() -> PartPage:
            return self.state.list_parts(key, upload_id, cursor, limit)

        return await self._call("list_parts", key, timeout, effect)

    async def list_uploads(
        self, prefix: str, *, timeout: float, cursor: str | None = None, limit: int = 1000
    ) -> UploadPage:
        return await self._call("list_uploads", prefix, timeout, lambda: self.state.list_uploads(prefix, cursor, limit))

    async def aclose(self) -> None:
        """Nothing is in hand. A call after this is a bug, and says so."""
        self._closed = True

    # --- within ---

    async def _call(self, op: str, key: str, timeout: float, effect: Callable[[], T]) -> T:
        if self._closed:
            raise RuntimeError("the store is closed")
        self.calls.append(Call(op, key))
        return await self._deadlined(op, key, timeout, self._there_and_back(op, key, effect))

    async def _deadlined(self, op: str, key: str, timeout: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError as error:
            raise OutcomeUnknown(f"{op} {key}: no answer within {timeout} s") from error

    async def _there_and_back(self, op: str, key: str, effect: Callable[[], T]) -> T:
        await self._trip(op, key)
        try:
            answer = effect() if self.faults is None else await self.faults.around(op, key, effect)
        except OutcomeUnknown:
            raise  # nothing came back, so nothing was learnt either
        except StoreError:
            await self._answered(op, key)
            raise
        await self._answered(op, key)
        return answer

    async def _answered(self, op: str, key: str) -> None:
        await self._trip(op, key)
        self._skew = timedelta(0)

    async def _trip(self, op: str, key: str) -> None:
        await asyncio.sleep(0 if self._latency is None else self._latency(op, key))

    async def _racy_put(self, key: str, body: bytes, *, timeout: float, content_type: str) -> str:
        """A conditional PUT as a dishonest store does it: look, and some time later write."""
        if await self._call("put", key, timeout, lambda: self.state.exists(key)):
            raise PreconditionFailed(key)
        return self.state.put(key, bytes(body), self._clock(), if_absent=False, content_type=content_type)
