"""The asynchronous client: ``upload``, and with it one thin typed method for every rpc."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from sealane.client.assembly_calls import AssemblyCalls
from sealane.client.backoff import BackoffPolicy
from sealane.client.connections import Connections
from sealane.client.credentials import Credentials, Metadata, Token, stays_here
from sealane.client.errors import ClientClosed, DeadlineExceeded
from sealane.client.ingest_calls import IngestCalls
from sealane.client.progress import ProgressCallback
from sealane.client.results import UploadResult
from sealane.client.source import UploadSource
from sealane.client.streams import StreamOptions
from sealane.client.upload import JournalChoice, Uploader
from sealane.client.upload_request import UploadRequest
from sealane.domain.ids import Entropy
from sealane.rpc.client_tls import ClientTls

DEFAULT_INGEST = "127.0.0.1:7301"
DEFAULT_ASSEMBLY = "127.0.0.1:7302"
MiB = 1 << 20


class Client(IngestCalls, AssemblyCalls):
    """A client of both services. Use it as an async context manager, on one event loop, from any number of tasks.

    ``ingest`` and ``assembly`` are gRPC targets: ``host:port``, ``dns:///name:port``, ``ipv4:a:1,b:2``.

    ``tls`` switches TLS on: ``Tls()`` trusts the system's authorities, and its files are read again when they change
    (``credentials`` are gRPC's own, in its place). ``token`` is a bearer token, a Path to a file with one, or a
    callable; without TLS it leaves this machine only with ``plaintext``. ``metadata`` goes with every call.

    ``backoff`` says how long to go on without progress. ``max_memory`` bounds, in bytes, what one upload from an
    iterator or a pipe buffers (at least three chunks); other sources buffer 2 × parallel + 1 chunks. ``rng`` and
    ``entropy`` are for simulations.

    Every method raises :class:`~sealane.domain.errors.SealaneError`: the class that the server raised. OSError naming
    it for a file of ``tls`` that can't be used when the first connection is opened.
    """

    def __init__(
        self,
        ingest: str = DEFAULT_INGEST,
        assembly: str = DEFAULT_ASSEMBLY,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        tls: ClientTls | None = None,
        token: Token | None = None,
        plaintext: bool = False,
        metadata: Metadata = (),
        timeout: float = 60.0,
        backoff: BackoffPolicy = BackoffPolicy(),  # noqa: B008 - frozen
        max_memory: int = 256 * MiB,
        rng: random.Random | None = None,
        entropy: Entropy = os.urandom,  # noqa: TID251 - the composition root of a client's process
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if token is not None and tls is None and credentials is None and not plaintext:
            _meant_for(ingest, assembly)
        self._timeout = timeout
        self._uploads: set[asyncio.Task[UploadResult]] = set()
        self._entropy = entropy
        rng = rng or random.Random(int.from_bytes(entropy(8), "big"))  # noqa: S311 - jitter, not a secret
        self._connections = Connections(
            ingest,
            assembly,
            tls=tls or credentials,
            credentials=Credentials(metadata, token),
            policy=backoff,
            rng=rng,
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
        """Close all connections; calls in progress end with ClientClosed (uploads keep a journal to resume by)."""
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
        object_key: str | None = None,
        if_generation_match: int | None = None,
        overwrite: bool = False,
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

        ``object_key`` names the object, relative to your tenant's prefix (None: a key of the session's own), and the
        commit replaces exactly generation ``if_generation_match`` of it (:meth:`get_key` answers it; None or 0: the key
        must be vacant), or with ``overwrite`` whatever is there. GenerationMismatch names who holds the key; KeyCooling
        comes at once if its object was deleted in the last hour; all bytes have arrived then, and the same call an hour
        later sends none again. Where the key holds the same bytes already, the answer is that object, ``duplicate``.

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
            object_key=object_key,
            if_generation_match=if_generation_match,
            overwrite=overwrite,
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
            raise ClientClosed() from None


def _meant_for(*targets: str) -> None:
    """ValueError where a token would go over a network that can be listened to."""
    for target in targets:
        if not stays_here(target):
            raise ValueError(
                f"the token would go to {target} without TLS: give tls=, or plaintext=True where a mesh protects it"
            )
