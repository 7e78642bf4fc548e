"""The channels of one client, and calls over them with one retry layer: ours.

Parallel upload streams get a TCP connection each: one HTTP/2 connection is one flow-control window and one socket.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

import grpc
from grpc import aio

from sealane import spans
from sealane.client.backoff import Backoff, BackoffPolicy
from sealane.client.credentials import Credentials, Metadata
from sealane.client.errors import ClientClosed, DeadlineExceeded, SealaneError, is_transient, translate
from sealane.client.stream_call import UploadStream
from sealane.rpc.channel import channel
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.status import REQUEST_ID_KEY
from sealane.v1 import assembly_service_pb2_grpc, ingest_service_pb2, ingest_service_pb2_grpc

T = TypeVar("T")

_UPLOAD_CHUNKS = "/sealane.v1.IngestService/UploadChunks"
ATTEMPT_SECONDS = 30.0
"""The longest one try of a unary call waits for its answer."""


class Connections:
    """Opened on first use, on the running loop; closed once, and then every use raises ClientClosed."""

    def __init__(
        self,
        ingest: str,
        assembly: str,
        *,
        tls: grpc.ChannelCredentials | ClientTls | None,
        credentials: Credentials,
        policy: BackoffPolicy,
        rng: random.Random,
    ) -> None:
        self.ingest_target = ingest
        self._assembly_target = assembly
        self._tls = tls
        self.credentials = credentials
        self._policy = policy
        self._rng = rng
        self._closed = asyncio.Event()
        self._lanes: list[aio.Channel] = []
        self._ingest_channel: aio.Channel | None = None
        self._assembly_channel: aio.Channel | None = None
        self._ingest: Any = None
        self._assembly: Any = None

    @property
    def ingest(self) -> Any:
        """The generated stub of ingest. Not on a lane's channel: there a replica's turn would come with every other
        call, and a stream could meet the same one, the one that drains, again and again.
        """
        self._check_open()
        if self._ingest is None:
            self._ingest_channel = channel(self.ingest_target, credentials=self._tls)
            self._ingest = ingest_service_pb2_grpc.IngestServiceStub(self._ingest_channel)  # type: ignore[no-untyped-call]  # generated
        return self._ingest

    @property
    def assembly(self) -> Any:
        """The generated stub of assembly."""
        self._check_open()
        if self._assembly is None:
            self._assembly_channel = channel(self._assembly_target, credentials=self._tls)
            self._assembly = assembly_service_pb2_grpc.AssemblyServiceStub(self._assembly_channel)  # type: ignore[no-untyped-call]  # generated
        return self._assembly

    def upload_stream(
        self, lane: int, *, seconds: float, stall_seconds: float, request_id: str, metadata: Metadata = ()
    ) -> UploadStream:
        """A new UploadChunks call on connection ``lane``, with the credentials' ``metadata``."""
        opener = self._lane(lane).stream_unary(
            _UPLOAD_CHUNKS,
            request_serializer=None,
            response_deserializer=ingest_service_pb2.UploadChunksResponse.FromString,
        )
        metadata = (*_with(metadata, request_id), *spans.headers())  # no interceptor sees a request stream
        return UploadStream(opener(timeout=seconds, metadata=metadata), stall_seconds=stall_seconds)

    def backoff(self) -> Backoff:
        """The pauses of one loop of tries."""
        return Backoff(self._policy, self._rng)

    async def unary(
        self,
        call: Callable[..., Awaitable[T]],
        request: object,
        *,
        timeout: float | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
        request_id: str = "",
        on_retry: Callable[[], None] | None = None,
    ) -> T:
        """Await ``call(request)``, again while the error is transient and time is left. All our unary calls are
        idempotent.

        ``timeout`` bounds the whole in seconds; the last error is raised then. None: until the patience ends
        (GaveUp).
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        backoff = self.backoff()
        renewed = False
        while True:
            self._check_open()
            metadata = _with(await self.credentials.metadata(), request_id)
            seconds = attempt_seconds if until is None else min(attempt_seconds, max(0.001, until - loop.time()))
            try:
                with self._cut_by_close(), spans.span(_name(request), kind="call"):
                    return await call(request, timeout=seconds, metadata=metadata)
            except grpc.RpcError as raised:
                error = translate(raised)
            if not renewed and self.credentials.may_be_renewed(error):
                renewed = True
                continue
            if not is_transient(error):
                raise error
            pause = backoff.next_pause(error)
            if until is not None and loop.time() + pause >= until:
                raise error
            if on_retry is not None:
                on_retry()
            await self.pause(pause)

    async def stream(
        self,
        call: Callable[..., Any],
        request: object,
        *,
        seconds: float,
        stall_seconds: float | None = None,
        request_id: str = "",
    ) -> AsyncGenerator[Any, None]:
        """The messages of one server stream, which may take ``seconds`` in all, and ``stall_seconds`` for each
        (DeadlineExceeded). Errors are ours; nothing is retried.
        """
        metadata = _with(await self.credentials.metadata(), request_id)
        with spans.span(_name(request), kind="call"):  # its beginning alone: a generator's block is not its own
            messages = call(request, timeout=seconds, metadata=metadata)
        each = aiter(messages)
        try:
            while True:
                try:
                    with self._cut_by_close():
                        async with asyncio.timeout(stall_seconds):
                            message = await anext(each, None)
                except TimeoutError:
                    raise DeadlineExceeded(f"The server said nothing for {stall_seconds:.0f} s.") from None
                if message is None:
                    return
                yield message
        except grpc.RpcError as raised:
            raise translate(raised) from None
        finally:
            messages.cancel()

    async def collect(
        self,
        call: Callable[..., Any],
        request: object,
        *,
        timeout: float | None,
        request_id: str = "",
    ) -> list[Any]:
        """All messages of a server stream; from the beginning again after a transient error, as :meth:`unary`."""
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        backoff = self.backoff()
        while True:
            seconds = 600.0 if until is None else max(0.001, until - loop.time())
            try:
                async with aclosing(self.stream(call, request, seconds=seconds, request_id=request_id)) as messages:
                    return [message async for message in messages]
            except SealaneError as raised:
                error = raised
            if not is_transient(error):
                raise error
            pause = backoff.next_pause(error)
            if until is not None and loop.time() + pause >= until:
                raise error
            await self.pause(pause)

    async def pause(self, seconds: float) -> None:
        """Sleep between two tries. A close wakes the sleeper."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return
        raise ClientClosed()

    async def close(self) -> None:
        """Close every connection; calls in progress and pauses between tries end with ClientClosed."""
        self._closed.set()
        channels = [*self._lanes, self._ingest_channel, self._assembly_channel]
        self._lanes = []
        self._ingest_channel = self._assembly_channel = self._ingest = self._assembly = None
        for each in channels:
            if each is not None:
                await each.close()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientClosed()

    @contextmanager
    def _cut_by_close(self) -> Iterator[None]:
        """Closing a channel cancels its calls: an awaiting task that nobody cancelled is told what happened."""
        try:
            yield
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not self._closed.is_set() or (caller is not None and caller.cancelling()):
                raise
            raise ClientClosed() from None

    def _lane(self, lane: int) -> aio.Channel:
        self._check_open()
        while len(self._lanes) <= lane:
            self._lanes.append(channel(self.ingest_target, credentials=self._tls, own_connection=True))
        return self._lanes[lane]


def _name(request: object) -> str:
    """The method that takes this message."""
    return f"client.{type(request).__name__.removesuffix('Request')}"


def _with(metadata: Metadata, request_id: str) -> Metadata:
    return (*metadata, (REQUEST_ID_KEY, request_id)) if request_id else metadata
