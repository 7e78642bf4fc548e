"""The same client for code without an event loop: blocking methods, plain iterators, callbacks in the caller's thread.

It runs a loop of its own in one thread. KeyboardInterrupt, or an exception out of a progress callback, cancels the
call, waits for its end (streams closed, journal kept for the resume) and goes on its way.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import random
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import grpc

from sealane.client.api import DEFAULT_ASSEMBLY, DEFAULT_INGEST, Client, MiB
from sealane.client.backoff import BackoffPolicy
from sealane.client.connections import Metadata
from sealane.client.progress import ProgressCallback
from sealane.client.results import Outcome, ServerInfo, Session, UploadResult, VerifiedObject, VerifiedSession
from sealane.client.source import UploadSource
from sealane.client.streams import StreamOptions
from sealane.client.thread_call import CANCEL_SECONDS, ThreadCall
from sealane.domain.chunks import Receipt
from sealane.domain.ids import Entropy
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject

T = TypeVar("T")
Event = TypeVar("Event")

_END = object()


class SyncClient:
    """:class:`~sealane.client.Client` with blocking methods. Use it as a context manager, from any thread.

    The arguments are :class:`Client`'s; every method means what it means there.
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
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sealane-client", daemon=True)
        self._thread.start()
        self._closed = False
        self._lock = threading.Lock()
        self._live: set[ThreadCall[Any]] = set()
        self._client = Client(
            ingest,
            assembly,
            credentials=credentials,
            metadata=metadata,
            timeout=timeout,
            backoff=backoff,
            max_memory=max_memory,
            rng=rng,
            entropy=entropy,
            environment=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread. Harmless twice. Calls of other threads end with PeerUnavailable."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            live = [*self._live]
        for call in live:
            call.close()
        concurrent.futures.wait([call.outcome for call in live], timeout=CANCEL_SECONDS)
        try:
            for last in (self._client.close, self._loop.shutdown_asyncgens, self._loop.shutdown_default_executor):
                ThreadCall(self._loop, last()).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    # --- the main thing ---

    def upload(
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
        journal: Path | Literal[False] | None = None,
        resume: bool = True,
        request_id: str | None = None,
        session_id: str | None = None,
        progress: ProgressCallback | None = None,
        timeout: float | None = None,
        stream_options: StreamOptions | None = None,
    ) -> UploadResult:
        """See :meth:`Client.upload`. ``progress`` is called in this thread, with the latest state only."""
        return self._with_events(
            lambda report: self._client.upload(
                source,
                filename=filename,
                size=size,
                content_type=content_type,
                metadata=metadata,
                ttl=ttl,
                chunk_size=chunk_size,
                parallel=parallel,
                chunks_per_stream=chunks_per_stream,
                max_bytes_per_second=max_bytes_per_second,
                journal=journal,
                resume=resume,
                request_id=request_id,
                session_id=session_id,
                progress=report,
                timeout=timeout,
                stream_options=stream_options,
            ),
            progress,
        )

    # --- IngestService ---

    def create_session(
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
        """See :meth:`Client.create_session`."""
        return self._run(
            self._client.create_session(
                filename=filename,
                size=size,
                chunk_size=chunk_size,
                content_type=content_type,
                metadata=metadata,
                ttl=ttl,
                request_id=request_id,
                timeout=timeout,
            )
        )

    def get_session(self, session_id: str, *, timeout: float | None = None) -> Session:
        """See :meth:`Client.get_session`."""
        return self._run(self._client.get_session(session_id, timeout=timeout))

    def list_sessions(
        self, *, state: SessionState | None = None, page_size: int = 0, timeout: float | None = None
    ) -> Iterator[Session]:
        """See :meth:`Client.list_sessions`."""
        return self._iterate(self._client.list_sessions(state=state, page_size=page_size, timeout=timeout))

    def watch_session(self, session_id: str) -> Iterator[Session]:
        """See :meth:`Client.watch_session`."""
        return self._iterate(self._client.watch_session(session_id))

    def stream_receipts(self, session_id: str) -> Iterator[Receipt]:
        """See :meth:`Client.stream_receipts`."""
        return self._iterate(self._client.stream_receipts(session_id))

    def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """See :meth:`Client.get_server_info`."""
        return self._run(self._client.get_server_info(timeout=timeout))

    # --- AssemblyService ---

    def verify_session(
        self, session_id: str, *, chunk_count: int, size: int, blake3: bytes, timeout: float | None = None
    ) -> VerifiedSession:
        """See :meth:`Client.verify_session`."""
        return self._run(
            self._client.verify_session(session_id, chunk_count=chunk_count, size=size, blake3=blake3, timeout=timeout)
        )

    def commit_session(
        self, session_id: str, *, chunk_count: int, size: int, blake3: bytes, timeout: float | None = None
    ) -> CommittedObject:
        """See :meth:`Client.commit_session`."""
        return self._run(
            self._client.commit_session(session_id, chunk_count=chunk_count, size=size, blake3=blake3, timeout=timeout)
        )

    def get_commit(self, session_id: str, *, timeout: float | None = None) -> Outcome:
        """See :meth:`Client.get_commit`."""
        return self._run(self._client.get_commit(session_id, timeout=timeout))

    def abort_session(self, session_id: str, *, timeout: float | None = None) -> SessionState:
        """See :meth:`Client.abort_session`."""
        return self._run(self._client.abort_session(session_id, timeout=timeout))

    def verify_object(self, session_id: str, *, progress: Callable[[int, int], None] | None = None) -> VerifiedObject:
        """See :meth:`Client.verify_object`. ``progress`` is called in this thread."""
        call = None if progress is None else (lambda event: progress(*event))
        return self._with_events(
            lambda report: self._client.verify_object(
                session_id, progress=None if report is None else lambda done, size: report((done, size))
            ),
            call,
        )

    # --- between the threads ---

    def _start(self, work: Coroutine[Any, Any, T]) -> ThreadCall[T]:
        with self._lock:
            if not self._closed:
                call = ThreadCall(self._loop, work)
                self._live.add(call)
                call.outcome.add_done_callback(lambda _: self._live.discard(call))
                return call
        work.close()
        raise RuntimeError("the client is closed")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._start(work).result()

    def _with_events(
        self,
        start: Callable[[Callable[[Event], None] | None], Coroutine[Any, Any, T]],
        handle: Callable[[Event], None] | None,
    ) -> T:
        """Run a call whose events are handled here, in the caller's thread: of those that wait, the latest."""
        if handle is None:
            return self._run(start(None))
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        call = self._start(start(events.put))
        call.outcome.add_done_callback(lambda _: events.put(None))
        try:
            ended = False
            while not ended:
                lot = [events.get()]
                while not events.empty():
                    lot.append(events.get())
                ended = lot[-1] is None
                news = [event for event in lot if event is not None]
                if news:
                    handle(news[-1])
        except BaseException:
            call.cancel()
            raise
        return call.result()

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while (item := self._run(_next(items))) is not _END:
                yield item  # type: ignore[misc]  # not _END, so a T
        finally:
            if not self._closed:
                self._run(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> T | object:
    return await anext(items, _END)
