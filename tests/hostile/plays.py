"""What a hostile client does, one play at a time: streams, calls, headers and plain TCP. Nothing here knows the code.

A play never raises what the server said; it judges it. What must never be said: INTERNAL of ours, UNKNOWN, a text with
a traceback or a name of the store's in it; and no answer at all within the deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from blake3 import blake3
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from sealane.client.errors import WRITE_FAILED
from sealane.client.frames import frame, header
from sealane.rpc.status import said_by_server
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

from .garbage import NASTY_INTS, NASTY_TEXTS, filled, metadata, spoilt, wire_noise
from .world import UPLOAD, World

KIB = 1024
DEADLINE = 15.0
METHODS = [
    method
    for service in (
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
        assembly_service_pb2.DESCRIPTOR.services_by_name["AssemblyService"],
    )
    for method in service.methods
]
_CLIENTS_OWN = ("Invalid metadata", WRITE_FAILED)
"""What grpc.aio says of headers that it doesn't send, and of a write that the server's answer has overtaken."""
_ENDING = {"AbortSession", "DeleteSession"}
SECRETS = ("Traceback", "127.0.0.1:1", ".py", "simulated", "UploadId", "Exception")


@dataclass
class Judge:
    """Counts what was sent and answered, and keeps what must not be."""

    answers: Counter[str] = field(default_factory=Counter)
    plays: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    wrong: list[str] = field(default_factory=list)

    def answered(self, play: str, error: aio.AioRpcError | None) -> None:
        if error is None:
            self.answers["OK"] += 1
            return
        code, text = error.code(), error.details() or ""
        said = said_by_server(error)
        ours, reason = said is not None, said.reason.value if said is not None else f"gRPC's own {code.name}"
        if not ours and text in _CLIENTS_OWN:
            self.answers["refused by the client's own gRPC"] += 1
            return
        self.answers[reason] += 1
        if not ours and code is grpc.StatusCode.INTERNAL:
            self.wrong.append(f"{play}: gRPC's INTERNAL: {text}")
        if ours and reason == "INTERNAL":
            self.wrong.append(f"{play}: INTERNAL: {text}")
        elif code is grpc.StatusCode.UNKNOWN:
            self.wrong.append(f"{play}: UNKNOWN: {text}")
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED and not ours:
            self.wrong.append(f"{play}: no answer within {DEADLINE:g} s")
        elif ours and any(secret in text for secret in SECRETS):
            self.wrong.append(f"{play}: says too much: {text}")


@dataclass
class Attacker:
    """Plays on one world."""

    world: World
    judge: Judge
    rng: random.Random
    sessions: list[str] = field(default_factory=list)
    """Ids of sessions that are really there: noise about them goes deeper."""

    async def play(self) -> None:
        """One, picked at random."""
        rng = self.rng
        kinds: tuple[tuple[float, Callable[[], Awaitable[None]]], ...] = (
            (30, self.long_stream),
            (22, self.odd_stream),
            (10, self.left_stream),
            (26, self.call),
            (6, self.compressed),
            (3, self.unknown_method),
            (3, self.not_grpc),
        )
        kind = rng.choices([play for _, play in kinds], [weight for weight, _ in kinds])[0]
        self.judge.plays[getattr(kind, "__name__", "?")] += 1
        await kind()

    # --- streams ---

    async def long_stream(self) -> None:
        """Right to the last message but one: many small frames, empty chunks' worth of them, then something odd."""
        rng, session = self.rng, self._session()
        piece = rng.choice((1, 2, 3, 8, 40, 100))
        messages = [header(session)]
        for index in rng.sample(range(4), rng.randrange(1, 4)):
            data = blake3(session.encode() + bytes([index])).digest(length=KIB)
            digest = blake3(data).digest()
            for offset in range(0, KIB, piece):
                part = data[offset : offset + piece]
                messages.append(frame(index, offset, part, digest if offset + len(part) == KIB else b""))
        if rng.random() < 0.7:
            messages.append(self._odd_message(session))
        await self._stream("long stream", messages)

    async def odd_stream(self) -> None:
        """A few messages, in no order, some of them none."""
        session = self._session()
        messages = [self._odd_message(session) for _ in range(self.rng.randrange(6))]
        if self.rng.random() < 0.7:
            messages.insert(0, header(session))
        await self._stream("odd stream", messages)

    async def left_stream(self) -> None:
        """Begun, and left: cancelled in the middle, or its connection's peer gone."""
        session = self._session()
        call = self._upload(metadata=())
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError):
            for message in [header(session), frame(0, 0, b"x" * 10), frame(0, 10, b"y" * 10)][: self.rng.randrange(4)]:
                await call.write(message)
                self.judge.sent += 1
        call.cancel()
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            await call

    def _upload(self, **options: Any) -> Any:
        opener = self.world.to_ingest.stream_unary(UPLOAD, request_serializer=None, response_deserializer=None)
        return opener(timeout=DEADLINE, **options)

    async def _stream(self, play: str, messages: list[bytes], **options: Any) -> None:
        async def each() -> AsyncIterator[bytes]:
            for message in messages:
                self.judge.sent += 1
                yield message

        opener = self.world.to_ingest.stream_unary(UPLOAD, request_serializer=None, response_deserializer=None)
        await self._judged(play, lambda: opener(each(), timeout=DEADLINE, metadata=metadata(self.rng), **options))

    def _odd_message(self, session: str) -> bytes:
        rng = self.rng
        data = rng.randbytes(rng.choice((0, 1, 100, KIB, KIB + 1, 5000)))
        index, offset = rng.choice((0, 1, 3, *NASTY_INTS)), rng.choice((0, 0, 0, 1, *NASTY_INTS))
        digest = rng.choice((b"", b"", blake3(data).digest(), rng.randbytes(32), rng.randbytes(31), b"x" * 64))
        match rng.randrange(7):
            case 0:
                return wire_noise(rng)
            case 1:
                return rng.randbytes(rng.randrange(200))
            case 2:
                return header(rng.choice((session, rng.choice(NASTY_TEXTS))))
            case 3:
                return spoilt(rng, frame(0, 0, data, digest))
            case 4:
                return spoilt(rng, header(session))
            case 5:
                return b""
            case _:
                return frame(index & (2**64 - 1), offset & (2**64 - 1), data, digest)

    # --- calls ---

    async def call(self) -> None:
        """Any method of either service with any bytes for a request; server streams are left half-read."""
        rng = self.rng
        method = rng.choice(METHODS)
        # One session is enough to be aborted and deleted: the others' streams shall go deeper.
        sessions = self.sessions[:1] if method.name in _ENDING else self.sessions
        request = filled(rng, GetMessageClass(method.input_type)(), [*sessions, *NASTY_TEXTS[:4]])
        body = request.SerializeToString()
        if rng.random() < 0.3:
            body = spoilt(rng, body)
        elif rng.random() < 0.1:
            body = wire_noise(rng)
        await self._call(method, body, metadata(rng))

    async def _call(self, method: Any, body: bytes, headers: Any, **options: Any) -> None:
        service = method.containing_service
        to = self.world.to_ingest if service.name == "IngestService" else self.world.to_assembly
        path = f"/{service.full_name}/{method.name}"
        self.judge.sent += 1
        name = method.name
        if method.client_streaming:
            opener = to.stream_unary(path, request_serializer=None, response_deserializer=None)

            async def one() -> AsyncIterator[bytes]:
                yield body

            await self._judged(name, lambda: opener(one(), timeout=DEADLINE, metadata=headers, **options))
        elif method.server_streaming:
            opener = to.unary_stream(path, request_serializer=None, response_deserializer=None)
            await self._judged(name, lambda: self._some(opener(body, timeout=DEADLINE, metadata=headers, **options)))
        else:
            opener = to.unary_unary(path, request_serializer=None, response_deserializer=None)
            await self._judged(name, lambda: opener(body, timeout=DEADLINE, metadata=headers, **options))

    async def _some(self, call: Any) -> None:
        """A few messages of a server stream; then it is left."""
        try:
            for _ in range(self.rng.randrange(1, 3)):
                if await call.read() is aio.EOF:
                    return
        finally:
            call.cancel()

    async def compressed(self) -> None:
        """Compression is refused, a bomb before it is in memory."""
        kind = self.rng.choice((grpc.Compression.Gzip, grpc.Compression.Deflate))
        bomb = header("0" * 32) + b"\0" * self.rng.choice((10, 1 << 20))
        if self.rng.random() < 0.5:
            await self._stream("compressed stream", [bomb], compression=kind)
        else:
            await self._call(self.rng.choice(METHODS), bomb, (), compression=kind)

    async def unknown_method(self) -> None:
        path = self.rng.choice(("/sealane.v1.IngestService/Drop", "/x.Y/Z", "/", "//", "/sealane.v1.IngestService/"))
        call = self.world.to_ingest.unary_unary(path, request_serializer=None, response_deserializer=None)
        self.judge.sent += 1
        await self._judged("unknown method", lambda: call(b"", timeout=DEADLINE))

    # --- below gRPC ---

    async def not_grpc(self) -> None:
        """Bytes on the port that are no HTTP/2, or that stop being it."""
        rng = self.rng
        address = rng.choice((self.world.ingest_address, self.world.assembly_address))
        host, _, port = address.rpartition(":")
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
        body = rng.choice(
            (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                rng.randbytes(100),
                preface + rng.randbytes(60),
                preface + b"\0\0\4\x08\0\0\0\0\0\xff\xff\xff\xff",
                preface + (b"\0\0\x08\6\0\0\0\0\0" + b"pingping") * 50,
                b"\x16\x03\x01\x02\0\x01\0",
            )
        )
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(body)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(200), 0.05)
            writer.close()
        except OSError:
            pass  # the server ended it first
        self.judge.sent += 1

    # --- judging ---

    async def _judged(self, play: str, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(DEADLINE + 5.0):
                await call()
        except aio.AioRpcError as error:
            self.judge.answered(play, error)
        except TimeoutError:
            self.judge.wrong.append(f"{play}: gRPC itself never answered")
        except (ValueError, aio.InternalError):
            self.judge.answers["refused by the client's own gRPC"] += 1
        else:
            self.judge.answered(play, None)

    def _session(self) -> str:
        return self.rng.choice(self.sessions) if self.sessions and self.rng.random() < 0.9 else "0" * 32
