"""One typed method for every rpc of ingest, but the streams of chunks, which are ``upload``'s."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from sealane.client.calls import STREAM_SECONDS, Calls
from sealane.client.convert import server_info_from_proto, session_from_proto
from sealane.client.errors import PeerUnavailable, SealaneError, is_transient
from sealane.client.results import ServerInfo, Session
from sealane.client.upload_request import UploadRequest
from sealane.client.wire_text import wire_id
from sealane.domain.chunks import Receipt
from sealane.domain.states import SessionState
from sealane.rpc.convert import receipt_from_proto, state_to_proto
from sealane.v1 import ingest_service_pb2


class IngestCalls(Calls):
    """Sessions, receipts, and what a server is."""

    async def create_session(
        self,
        *,
        filename: str = "",
        size: int | None = None,
        chunk_size: int = 0,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        ttl: float | None = None,
        object_key: str | None = None,
        if_generation_match: int | None = None,
        overwrite: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Session:
        """Start a session. Idempotent: without a ``request_id`` a random one covers this call's own retries.

        ``object_key``, ``if_generation_match``, ``overwrite``: see :meth:`sealane.client.Client.upload`.
        """
        request = UploadRequest(
            filename,
            size,
            content_type,
            metadata,
            ttl,
            chunk_size,
            object_key=object_key,
            if_generation_match=if_generation_match,
            overwrite=overwrite,
        )
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
            ingest_service_pb2.GetSessionRequest(session_id=wire_id(session_id)),
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
        request = ingest_service_pb2.WatchSessionRequest(session_id=wire_id(session_id))
        backoff = self._connections.backoff()
        shown = False
        while True:
            try:
                async with aclosing(
                    self._connections.stream(self._connections.ingest.WatchSession, request, seconds=STREAM_SECONDS)
                ) as messages:
                    async for message in messages:
                        backoff.progress()
                        shown = True
                        session = session_from_proto(message.session)
                        yield session
                        if session.state.final:
                            return
                raise PeerUnavailable("The watch ended before the session did.", retry_after=0.0)
            except SealaneError as error:
                renewed = shown and self._connections.credentials.may_be_renewed(error)
                if not renewed and not is_transient(error):
                    raise
                shown = False
                await self._connections.pause(backoff.next_pause(error))

    async def stream_receipts(self, session_id: str) -> AsyncGenerator[Receipt, None]:
        """All receipts of a session in ascending order of chunk index. Not retried: what was yielded is yielded."""
        request = ingest_service_pb2.StreamReceiptsRequest(session_id=wire_id(session_id))
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
