"""The same client for code without an event loop: blocking methods, plain iterators, callbacks in the caller's thread.

It runs a loop of its own in one thread. KeyboardInterrupt, or an exception out of a progress callback, cancels the
call, waits for its end (streams closed, journal kept for the resume) and goes on its way.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import grpc

from sealane.client.api import DEFAULT_ASSEMBLY, DEFAULT_INGEST, Client, MiB
from sealane.client.backoff import BackoffPolicy
from sealane.client.credentials import Metadata, Token
from sealane.client.progress import ProgressCallback
from sealane.client.results import UploadResult
from sealane.client.source import UploadSource
from sealane.client.streams import StreamOptions
from sealane.client.sync_calls import SyncCalls
from sealane.domain.ids import Entropy
from sealane.rpc.client_tls import ClientTls


class SyncClient(SyncCalls):
    """:class:`~sealane.client.Client` with blocking methods. Use it as a context manager, from any thread.

    The arguments are :class:`Client`'s; every method means what it means there.
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
        super().__init__()
        self._client = Client(
            ingest,
            assembly,
            credentials=credentials,
            tls=tls,
            token=token,
            plaintext=plaintext,
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
        """Close all connections and end the thread. Harmless twice. Calls of other threads end with ClientClosed."""
        self._close(self._client.close)

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
        object_key: str | None = None,
        if_generation_match: int | None = None,
        overwrite: bool = False,
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
                object_key=object_key,
                if_generation_match=if_generation_match,
                overwrite=overwrite,
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
