"""Clients: the SDK, and one of our own that remembers every single acknowledgement and never repeats a stored chunk."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from blake3 import blake3

from sealane.client import Client, UploadResult
from sealane.client.backoff import BackoffPolicy
from sealane.client.errors import (
    ChunkNeeded,
    GenerationMismatch,
    SealaneError,
    SessionAborted,
    SessionExpired,
    SessionNotFound,
    SessionSealed,
    is_transient,
    translate,
)
from sealane.client.frames import frames, header
from sealane.client.stream_call import StreamEnded, UploadStream
from sealane.domain.limits import KiB, MiB
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.channel import channel
from sealane.rpc.convert import committed_from_proto
from sealane.v1 import assembly_service_pb2, assembly_service_pb2_grpc, ingest_service_pb2

from .cluster import Cluster
from .ledger import Entry, Ledger
from .terms import FRAME_BYTES, LONG_TTL, SHORT_TTL

T = TypeVar("T")

_UPLOAD = "/sealane.v1.IngestService/UploadChunks"
_CALL_SECONDS = 30.0
_GONE = (SessionAborted, SessionExpired, SessionNotFound)

SIZES: tuple[tuple[float, Callable[[random.Random], int]], ...] = (
    (8, lambda rng: 0),
    (15, lambda rng: rng.randrange(1, 2 * KiB)),
    (35, lambda rng: rng.randrange(1, 2 * MiB)),
    (20, lambda rng: rng.randrange(1, 8 * MiB)),
    (6, lambda rng: rng.choice((1, 2, 3)) * 8 * MiB + rng.choice((-1, 0, 1))),
    (12, lambda rng: rng.randrange(8 * MiB, 24 * MiB)),
    (4, lambda rng: rng.randrange(24 * MiB, 40 * MiB)),
)
"""Weights, and sizes in bytes: most objects have one chunk, some up to five."""
KINDS: dict[str, float] = {
    "SDK": 22,
    "SDK, size unknown": 6,
    "chunk by chunk": 26,
    "committed by many": 10,
    "hasty": 12,
    "left": 10,
    "aborted": 8,
    "commit against abort": 6,
    "at a shared key": 16,
    "deleted": 6,
    "deleted at a chosen key": 4,
}
SHARED_KEYS = tuple(f"shared/{letter}.bin" for letter in "abcd")


@dataclass
class Crew:
    """Everything that the lanes share."""

    cluster: Cluster
    ledger: Ledger
    client: Client
    channels: dict[str, Any]
    crowd: int = 8

    async def lane(self, name: str, rng: random.Random, over: asyncio.Event) -> None:
        """Session after session, until ``over``; what has been begun is brought to its end."""
        number = 0
        while not over.is_set():
            number += 1
            kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
            size = rng.choices([make for _, make in SIZES], [weight for weight, _ in SIZES])[0](rng)
            entry = self.ledger.open(kind, f"{name}/{number}", size)
            try:
                await self._session(entry, rng)
            except SealaneError as error:
                self.ledger.violation(
                    f"{entry.kind} {entry.seed} {entry.session_id}: {type(error).__name__}: {error.message}"
                )

    async def _session(self, entry: Entry, rng: random.Random) -> None:
        match entry.kind:
            case "SDK" | "SDK, size unknown":
                await self._sdk(entry, rng)
            case "chunk by chunk" | "committed by many":
                await self._open(entry, rng, LONG_TTL)
                await self._upload(entry, rng)
                await self._commit(entry, rng, self.crowd if entry.kind == "committed by many" else rng.choice((1, 2)))
            case "hasty":
                await self._hasty(entry, rng)
            case "at a shared key":
                await self._shared(entry, rng)
            case "deleted" | "deleted at a chosen key":
                entry.object_key = f"deleted/{entry.seed}" if entry.kind != "deleted" else ""
                self._result(entry, await self._sdk_upload(entry, rng, object_key=entry.object_key or None))
                await self._delete(entry)
                await self._either(entry, self._commit(entry, rng, 1))
            case "left":
                await self._open(entry, rng, SHORT_TTL)
                await self._either(entry, self._upload(entry, rng, most=rng.randrange(4)))
            case "aborted":
                await self._open(entry, rng, LONG_TTL)
                await self._upload(entry, rng, most=rng.randrange(4))
                await self._abort(entry)
                await self._either(entry, self._commit(entry, rng, 1))
            case "commit against abort":
                await self._open(entry, rng, LONG_TTL)
                await self._upload(entry, rng)
                await asyncio.gather(self._either(entry, self._commit(entry, rng, 1)), self._abort(entry))

    async def _sdk(self, entry: Entry, rng: random.Random) -> None:
        self._result(entry, await self._sdk_upload(entry, rng))
        await self._commit(entry, rng, 1)

    async def _sdk_upload(self, entry: Entry, rng: random.Random, **key: Any) -> UploadResult:
        whole = entry.content
        pieces = (whole[start : start + 300_000] for start in range(0, len(whole), 300_000))
        return await self.client.upload(
            pieces if entry.kind == "SDK, size unknown" else whole,
            filename="upload.bin",
            ttl=LONG_TTL,
            parallel=rng.choice((1, 2, 4)),
            chunks_per_stream=rng.choice((2, 16)),
            request_id=f"chaos/{entry.seed}",
            **key,
        )

    async def _shared(self, entry: Entry, rng: random.Random) -> None:
        """One of several that want the same key: with any holder, with the one that GetKey named, or with none."""
        entry.object_key = rng.choice(SHARED_KEYS)
        match rng.randrange(5):
            case 0:
                wish: dict[str, Any] = {}
            case 1 | 2:
                state = await self._insist(lambda: self.client.get_key(entry.object_key))
                wish = {"if_generation_match": state.generation}
            case _:
                wish = {"overwrite": True}
        try:
            self._result(entry, await self._sdk_upload(entry, rng, object_key=entry.object_key, **wish))
        except GenerationMismatch as error:
            entry.refusals.append(type(error).__name__)
            if "overwrite" in wish:
                raise
        except SessionNotFound as error:  # committed, the answer lost, replaced, and gone by now
            entry.refusals.append(type(error).__name__)

    def _result(self, entry: Entry, result: UploadResult) -> None:
        entry.session_id, entry.chunk_size = result.session_id, result.chunk_size
        self._told(entry, result.committed_object)

    async def _delete(self, entry: Entry) -> None:
        with contextlib.suppress(SessionNotFound):  # an answer that was lost, and nothing left behind it
            await self._insist(lambda: self.client.delete_session(entry.session_id))
        entry.deleted = True

    async def _hasty(self, entry: Entry, rng: random.Random) -> None:
        """At the edge of its ttl: it is committed or it expires, and every answer says the same."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await self._open(entry, rng, SHORT_TTL)

        async def at_the_edge() -> None:
            await self._upload(entry, rng)
            await asyncio.sleep(max(0.0, begun + rng.uniform(0.0, 1.5 * SHORT_TTL) - loop.time()))
            await self._commit(entry, rng, 2)

        await self._either(entry, at_the_edge())

    async def _either(self, entry: Entry, work: Awaitable[None]) -> None:
        """``work``; or there is no such session any more, which must then be true for ever."""
        try:
            await work
        except _GONE as error:
            entry.refusals.append(type(error).__name__)

    # --- calls ---

    async def _open(self, entry: Entry, rng: random.Random, ttl: float) -> None:
        session = await self._insist(
            lambda: self.client.create_session(
                filename="chunks.bin",
                size=entry.size,
                ttl=ttl,
                request_id=f"chaos/{entry.seed}",
            )
        )
        entry.session_id, entry.chunk_size = session.session_id, session.chunk_size

    async def _upload(self, entry: Entry, rng: random.Random, *, most: int | None = None) -> None:
        """All chunks, or ``most`` of them, in any order on any replica; none that is known to be stored."""
        whole = entry.content
        todo = list(range(entry.chunk_count))
        rng.shuffle(todo)
        wanted = set(todo if most is None else todo[:most])
        stored: set[int] = set()
        while left := [index for index in todo if index in wanted and index not in stored | entry.acknowledged]:
            try:
                await self._stream(entry, whole, left[: rng.choice((1, 3, 8))], rng)
            except SealaneError as error:
                if not is_transient(error):
                    raise
                self.ledger.errors[error.reason.value] += 1
                await asyncio.sleep(rng.uniform(0.05, 0.5))
                stored = await self._stored(entry)

    async def _stream(self, entry: Entry, whole: bytes, indexes: list[int], rng: random.Random) -> None:
        replica = rng.choice(self.cluster.of_kind("ingest"))
        opener = self.channels[replica.name].stream_unary(
            _UPLOAD,
            request_serializer=None,
            response_deserializer=ingest_service_pb2.UploadChunksResponse.FromString,
        )
        stream = UploadStream(opener(timeout=_CALL_SECONDS), stall_seconds=15.0)
        try:
            try:
                await stream.send(header(entry.session_id))
                for index in indexes:
                    chunk = entry.chunk(index, whole)
                    for _, message in frames(index, memoryview(chunk), blake3(chunk).digest(), FRAME_BYTES):
                        await stream.send(message)
            except StreamEnded:
                pass  # the answer says why
            answer = await stream.answer()
        finally:
            stream.cancel()
        entry.acknowledged.update(chunk.chunk_index for chunk in answer.chunks)

    async def _stored(self, entry: Entry) -> set[int]:
        """What the server says that it has, which has all that it acknowledged (I5)."""
        session = await self._insist(lambda: self.client.get_session(entry.session_id))
        if session.coverage is None or session.state is not SessionState.OPEN:
            return set()
        missing = {index for gap in session.coverage.missing for index in range(gap.first, gap.last + 1)}
        if session.missing_truncated:
            missing = set(range(entry.chunk_count))
        elif lost := missing & entry.acknowledged:
            self.ledger.violation(f"I5: {entry.session_id}: acknowledged chunks {sorted(lost)} are missing")
        return set(range(entry.chunk_count)) - missing

    async def _commit(self, entry: Entry, rng: random.Random, callers: int) -> None:
        """``callers`` at once, spread over the replicas: each insists, all answers are equal."""
        digest = blake3(entry.content).digest()
        request = assembly_service_pb2.CommitSessionRequest(
            session_id=entry.session_id, chunk_count=entry.chunk_count, size=entry.size, blake3=digest
        )
        replicas = self.cluster.of_kind("assembly")

        async def one(number: int) -> CommittedObject:
            turn = number

            async def ask() -> CommittedObject:
                nonlocal turn
                turn += 1
                stub = assembly_service_pb2_grpc.AssemblyServiceStub(  # type: ignore[no-untyped-call]  # generated
                    self.channels[replicas[turn % len(replicas)].name]
                )
                try:
                    answer = await stub.CommitSession(request, timeout=_CALL_SECONDS)
                except grpc.RpcError as error:
                    raise translate(error) from None
                return committed_from_proto(answer.committed_object)

            while True:
                try:
                    return await self._insist(ask)
                except ChunkNeeded as needed:
                    self.ledger.errors[needed.reason.value] += 1
                    entry.acknowledged.difference_update(chunk.index for chunk in needed.chunks)
                    await self._upload(entry, rng)

        results = await asyncio.gather(*(one(number) for number in range(callers)), return_exceptions=True)
        for result in results:
            if isinstance(result, CommittedObject):
                self._told(entry, result)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _told(self, entry: Entry, answer: CommittedObject) -> None:
        entry.committed(answer)
        self.ledger.commit_answers += 1

    async def _abort(self, entry: Entry) -> None:
        try:
            state = await self._insist(lambda: self.client.abort_session(entry.session_id))
            entry.refusals.append(state.value)
        except SessionSealed:
            if entry.kind == "aborted":
                raise
        except SessionNotFound as error:  # an answer that was lost, and the purge behind it
            entry.refusals.append(type(error).__name__)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Until there is a definite answer."""
        pause = 0.1
        while True:
            try:
                return await call()
            except SealaneError as error:
                if not is_transient(error):
                    raise
                self.ledger.errors[error.reason.value] += 1
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 1.5)


@asynccontextmanager
async def crew(cluster: Cluster, ledger: Ledger) -> AsyncIterator[Crew]:
    """Clients of all replicas, and a channel to each."""
    async with AsyncExitStack() as scope:
        client = await scope.enter_async_context(
            Client(
                cluster.target("ingest"),
                cluster.target("assembly"),
                timeout=60.0,
                backoff=BackoffPolicy(cap_seconds=2.0, patience_seconds=3600.0),
            )
        )
        channels = {
            replica.name: await scope.enter_async_context(channel(replica.address, own_connection=True))
            for replica in cluster.replicas
        }
        yield Crew(cluster, ledger, client, channels)
