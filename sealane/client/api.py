"""The asynchronous client: uploads, and one thin typed method for every rpc."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import grpc

from sealane.client.backoff import BackoffPolicy
from sealane.client.connections import Connections, Metadata
from sealane.client.convert import outcome_from_proto, server_info_from_proto, session_from_proto, verified_from_proto
from sealane.client.errors import DeadlineExceeded, PeerUnavailable, SealaneError, is_transient
from sealane.client.progress import ProgressCallback
from sealane.client.results import Outcome, ServerInfo, Session, UploadResult, VerifiedObject, VerifiedSession
from sealane.client.source import UploadSource
from sealane.client.streams import StreamOptions
from sealane.client.transfer import COMMIT_SECONDS
from sealane.client.upload import JournalChoice, Uploader
from sealane.client.upload_request import UploadRequest
from sealane.client.verification import verify_object
from sealane.domain.chunks import Receipt
from sealane.domain.ids import Entropy
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.convert import committed_from_proto, receipt_from_proto, state_from_proto, state_to_proto
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

DEFAULT_INGEST = "127.0.0.1:7301"
DEFAULT_ASSEMBLY = "127.0.0.1:7302"
MiB = 1 << 20
STREAM_SECONDS = 600.0
"""The deadline of one server stream (watch, receipts)."""


class Client:
    """A client of both services. Use it as an async context manager, on one event loop, from any number of tasks.

    ``ingest`` and ``assembly`` are gRPC targets: ``host:port``, ``dns:///name:port``, ``ipv4:a:1,b:2``. ``metadata``
    goes with every call (a bearer token, say); ``credentials`` switch TLS on. ``backoff`` says how long to go on
    without progress. ``max_memory`` bounds, in bytes, what one upload from an iterator or a pipe buffers (at least
    three chunks); other sources buffer 2 × parallel + 1 chunks. ``rng`` and ``entropy`` are for simulations.

    Every method raises :class:`~sealane.domain.errors.SealaneError`: the class that the server raised.
    """

    def __init__(
        self,
        ingest: str = DEFAULT_INGEST,
        assembly: str = DEFAULT_ASSEMBLY,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata = (),
        timeout: float = 60.0,
        backoff: BackoffPolicy = BackoffPolicy(),  # noqa: B008 - frozen
        max_memory: int = 256 * MiB,
        rng: random.Random | None = None,
        entropy: Entropy = os.urandom,  # noqa: TID251 - the composition root of a client's process
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._uploads: set[asyncio.Task[UploadResult]] = set()
        self._entropy = entropy
        rng = rng or random.Random(int.from_bytes(entropy(8), "big"))  # noqa: S311 - jitter, not a secret
        self._connections = Connections(
            ingest, assembly, credentials=credentials, metadata=metadata, policy=backoff, rng=rng
        )
        self._uploader = Uploader(
            self._connections,
            entropy=entropy,
            environment=os.environ if environment is None else environment,
            max_memory=max_memory,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls in progress end, uploads with PeerUnavailable (and a journal to resume by)."""
        ending = [*self._uploads]
        for each in ending:
            each.cancel()
        if ending:
            await asyncio.wait(ending)
        await self._connections.close()

    # --- the main thing ---

    async def upload(
        self,
        source: UploadSource,
        *,
        filename: str | None = None,
        size: int | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl: float | None = None,
        chunk_size: int | None = None,
        parallel: int = 4,
        chunks_per_stream: int = 16,
        max_bytes_per_second: float | None = None,
        journal: JournalChoice = None,
        resume: bool = True,
        request_id: str | None = None,
        session_id: str | None = None,
        progress: ProgressCallback | None = None,
        timeout: float | None = None,
        stream_options: StreamOptions | None = None,
    ) -> UploadResult:
        """Upload ``source`` and commit it; answers only when the object is durable, whole and verified.

        ``source``: a path, a binary file object (from where it stands), bytes, or an iterator of bytes, async or not.
        ``size`` (bytes) helps for iterators and pipes: without it the server plans chunks of 64 MiB. ``ttl`` in
        seconds. ``chunk_size`` in bytes, a power of two; None: the server plans it.

        Broken streams, restarts and full servers are ridden out: the upload goes on from the server's coverage as long
        as there is progress within the client's patience, and ``timeout`` seconds in all if given. A path is resumed
        by a later process through its ``journal`` (default: under ``$XDG_STATE_HOME/sealane``; False: none);
        ``resume=False`` starts anew. ``session_id`` resumes a session by name; ``request_id`` makes the upload
        repeatable under a name of the caller's own: these two use no journal.

        ``progress`` is called on the event loop with a :class:`~sealane.client.Progress`; ``stream_options`` replaces
        ``parallel``, ``chunks_per_stream`` and ``max_bytes_per_second`` (of all streams) and tunes time-outs.

        Raises SealaneError (SourceChanged and GaveUp among them), OSError of the source or of a journal named
        by the caller, ValueError for a size that is not the source's.
        """
        options = stream_options or StreamOptions(
            parallel, chunks_per_stream, max_bytes_per_second=max_bytes_per_second
        )
        request = UploadRequest(
            filename=filename,
            size=size,
            content_type=content_type,
            metadata=metadata,
            ttl=ttl,
            chunk_size=chunk_size,
            request_id=request_id,
            session_id=session_id,
        )
        over = asyncio.timeout(timeout)
        try:
            async with over:
                return await self._until_closed(
                    self._uploader.upload(
                        source, request, options=options, journal=journal, resume=resume, report=progress
                    )
                )
        except TimeoutError:
            if not over.expired():
                raise  # the source's own
            raise DeadlineExceeded(f"The upload did not end within {timeout:g} s. Repeat it: it resumes.") from None

    # --- IngestService ---

    async def create_session(
        self,
        *,
        filename: str = "",
        size: int | None = None,
        chunk_size: int = 0,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        ttl: float | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Session:
        """Start a session. Idempotent: without a ``request_id`` a random one covers this call's own retries."""
        request = UploadRequest(filename, size, content_type, metadata, ttl, chunk_size)
        response = await self._connections.unary(
            self._connections.ingest.CreateSession,
            request.proto(request_id or self._entropy(16).hex()),
            timeout=self._seconds(timeout),
        )
        return session_from_proto(response.session)

    async def get_session(self, session_id: str, *, timeout: float | None = None) -> Session:
        """Where a session stands, with its coverage."""
        response = await self._connections.unary(
            self._connections.ingest.GetSession,
            ingest_service_pb2.GetSessionRequest(session_id=session_id),
            timeout=self._seconds(timeout),
        )
        return session_from_proto(response.session)

    async def list_sessions(
        self, *, state: SessionState | None = None, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Session, None]:
        """All of the caller's sessions, in order of their ids, page by page. ``timeout`` is a page's."""
        request = ingest_service_pb2.ListSessionsRequest(page_size=page_size)
        if state is not None:
            request.state = state_to_proto(state)
        while True:
            response = await self._connections.unary(
                self._connections.ingest.ListSessions, request, timeout=self._seconds(timeout)
            )
            for session in response.sessions:
                yield session_from_proto(session)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def watch_session(self, session_id: str) -> AsyncGenerator[Session, None]:
        """The session now, on every change, and unchanged as a heartbeat; ends after a final state.

        A stream that breaks is opened again, until the client's patience ends (GaveUp).
        """
        request = ingest_service_pb2.WatchSessionRequest(session_id=session_id)
        backoff = self._connections.backoff()
        while True:
            try:
                async with aclosing(
                    self._connections.stream(self._connections.ingest.WatchSession, request, seconds=STREAM_SECONDS)
                ) as messages:
                    async for message in messages:
                        backoff.progress()
                        session = session_from_proto(message.session)
                        yield session
                        if session.state.final:
                            return
                raise PeerUnavailable("The watch ended before the session did.", retry_after=0.0)
            except SealaneError as error:
                if not is_transient(error):
                    raise
                await backoff.pause(error)

    async def stream_receipts(self, session_id: str) -> AsyncGenerator[Receipt, None]:
        """All receipts of a session in ascending order of chunk index. Not retried: what was yielded is yielded."""
        request = ingest_service_pb2.StreamReceiptsRequest(session_id=session_id)
        async with aclosing(
            self._connections.stream(self._connections.ingest.StreamReceipts, request, seconds=STREAM_SECONDS)
        ) as batches:
            async for batch in batches:
                for receipt in batch.receipts:
                    yield receipt_from_proto(receipt)

    async def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """What the ingest replica that answers is, and what it has done."""
        response = await self._connections.unary(
            self._connections.ingest.GetServerInfo,
            ingest_service_pb2.GetServerInfoRequest(),
            timeout=self._seconds(timeout),
        )
        return server_info_from_proto(response)

    # --- AssemblyService ---

    async def verify_session(
        self, session_id: str, *, chunk_count: int, size: int, blake3: bytes, timeout: float | None = None
    ) -> VerifiedSession:
        """What the commit's checks would answer; writes nothing. ``blake3`` is 32 bytes."""
        response = await self._connections.unary(
            self._connections.assembly.VerifySession,
            assembly_service_pb2.VerifySessionRequest(
                session_id=session_id, chunk_count=chunk_count, size=size, blake3=blake3
            ),
            timeout=self._seconds(timeout),
            attempt_seconds=COMMIT_SECONDS,
        )
        return verified_from_proto(response)

    async def commit_session(
        self, session_id: str, *, chunk_count: int, size: int, blake3: bytes, timeout: float | None = None
    ) -> CommittedObject:
        """Commit. Repeatable: the same parameters always get the same answer. ``blake3`` is 32 bytes."""
        response = await self._connections.unary(
            self._connections.assembly.CommitSession,
            assembly_service_pb2.CommitSessionRequest(
                session_id=session_id, chunk_count=chunk_count, size=size, blake3=blake3
            ),
            timeout=self._seconds(timeout),
            attempt_seconds=COMMIT_SECONDS,
        )
        return committed_from_proto(response.committed_object)

    async def get_commit(self, session_id: str, *, timeout: float | None = None) -> Outcome:
        """What became of a session, from the store."""
        response = await self._connections.unary(
            self._connections.assembly.GetCommit,
            assembly_service_pb2.GetCommitRequest(session_id=session_id),
            timeout=self._seconds(timeout),
        )
        return outcome_from_proto(response)

    async def abort_session(self, session_id: str, *, timeout: float | None = None) -> SessionState:
        """Give a session up: ABORTED, or EXPIRED if that came first."""
        response = await self._connections.unary(
            self._connections.assembly.AbortSession,
            assembly_service_pb2.AbortSessionRequest(session_id=session_id),
            timeout=self._seconds(timeout),
        )
        return state_from_proto(response.state)

    async def verify_object(
        self, session_id: str, *, progress: Callable[[int, int], None] | None = None
    ) -> VerifiedObject:
        """Have assembly read the committed object back and hash it. ``progress(bytes_read, size)``.

        Starts over when the stream breaks. ObjectCorrupt if the bytes at rest are not those committed.
        """
        return await verify_object(self._connections, session_id, progress)

    async def _until_closed(self, work: Coroutine[Any, Any, UploadResult]) -> UploadResult:
        """``work`` in a task that :meth:`close` can end without taking the caller's own task with it."""
        task = asyncio.get_running_loop().create_task(work)
        self._uploads.add(task)
        task.add_done_callback(self._uploads.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            raise PeerUnavailable("The client was closed.", retry_after=0.0) from None

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout
