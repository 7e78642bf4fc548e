"""IngestService on the wire: protos in, domain calls, protos out. What may fail raises; the boundary answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import grpc
from structlog.contextvars import bind_contextvars

from ingest_service.create import NewSession, SessionCreator
from ingest_service.frames import parse_upload_message
from ingest_service.part_upload import ChunkStatus
from ingest_service.receipts import Receipts
from ingest_service.receive import StreamServices, UploadStream
from ingest_service.session_list import SessionLister, page_token
from ingest_service.sessions import Sessions
from ingest_service.statistics import Statistics
from ingest_service.stream_messages import StreamMessage
from ingest_service.watch import Watcher
from sealane import __version__
from sealane.domain import ids
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.views import SessionView
from sealane.rpc import convert
from sealane.rpc.call import this_call
from sealane.slots import Slots
from sealane.store.gate import Report
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc, session_pb2

SERVICE = "sealane.v1.IngestService"
RECEIPTS_PER_MESSAGE = 500
PAGE_BYTES = 3 << 20
"""Of ListSessions: a client takes answers of 4 MiB, if nobody told it otherwise, and a session may have 10 KiB."""
RECEIPT_STREAMS = 256
"""StreamReceipts calls at once: each holds a page of the store's, half a MiB, for as long as its reader takes."""

_STATUS = {
    ChunkStatus.STORED: pb.CHUNK_STATUS_STORED,
    ChunkStatus.DUPLICATE: pb.CHUNK_STATUS_DUPLICATE,
    ChunkStatus.MENDED: pb.CHUNK_STATUS_STORED,
}


class IngestServicer(ingest_service_pb2_grpc.IngestServiceServicer):
    """``now()`` is the store's clock; ``report()`` is the probe's, None until it has a verdict."""

    def __init__(
        self,
        *,
        creator: SessionCreator,
        sessions: Sessions,
        lister: SessionLister,
        watcher: Watcher,
        receipts: Receipts,
        stream_services: StreamServices,
        streams: Slots,
        statistics: Statistics,
        report: Callable[[], Report | None],
        now: Callable[[], datetime],
    ) -> None:
        self._creator = creator
        self._sessions = sessions
        self._lister = lister
        self._watcher = watcher
        self._receipts = receipts
        self._services = stream_services
        self._streams = streams
        self._receipt_streams = Slots(RECEIPT_STREAMS, "streams of receipts", reserved=0.125)
        self._statistics = statistics
        self._report = report
        self._now = now
        self._started = asyncio.get_running_loop().time()
        self._limits = stream_services.limits

    # ruff: noqa: N802 - the names are the proto file's
    async def CreateSession(self, request: pb.CreateSessionRequest, context: object) -> pb.CreateSessionResponse:
        call = this_call()
        view = await self._creator.create(call.tenant, call.subject, new_session(request, call.tenant), call.deadline)
        bind_contextvars(session_id=view.record.session_id)
        return pb.CreateSessionResponse(session=convert.session_to_proto(view))

    async def UploadChunks(self, messages: AsyncIterator[StreamMessage], context: object) -> pb.UploadChunksResponse:
        call = this_call()
        stream = UploadStream(self._services, call.tenant, messages, call.deadline, call.recheck)
        with self._streams.hold(stream.drain, call.tenant):
            answer = await stream.run()
        return pb.UploadChunksResponse(
            chunks=[pb.ChunkResult(chunk_index=index, status=_STATUS[status]) for index, status in answer.chunks],
            coverage=convert.coverage_to_proto(answer.coverage, self._limits.max_missing_ranges),
        )

    async def GetSession(self, request: pb.GetSessionRequest, context: object) -> pb.GetSessionResponse:
        call = this_call()
        view = await self._sessions.get(call.tenant, _session_id(request.session_id), call.deadline)
        return pb.GetSessionResponse(session=self._session(view))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: object) -> pb.ListSessionsResponse:
        call = this_call()
        state = convert.state_filter_from_proto(request.state)
        page = await self._lister.page(call.tenant, state, request.page_size, request.page_token, call.deadline)
        answer = pb.ListSessionsResponse(next_page_token=page.next_token)
        size = 0
        for view in page.sessions:
            session = self._session(view)
            size += session.ByteSize()
            if size > PAGE_BYTES:
                answer.next_page_token = page_token(call.tenant, state, SessionId(answer.sessions[-1].session_id))
                break
            answer.sessions.append(session)
        return answer

    async def WatchSession(
        self, request: pb.WatchSessionRequest, context: object
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        call = this_call()
        session = _session_id(request.session_id)
        async for view in self._watcher.watch(call.tenant, session, call.deadline):
            yield pb.WatchSessionResponse(session=self._session(view))

    async def StreamReceipts(
        self, request: pb.StreamReceiptsRequest, context: object
    ) -> AsyncIterator[pb.StreamReceiptsResponse]:
        call = this_call()
        session = _session_id(request.session_id)
        # A commit that waits for these goes on while the service drains, as long as any other call.
        with self._receipt_streams.hold(tenant=call.tenant):
            await self._sessions.require(call.tenant, session, call.deadline)
            async for page in self._receipts.pages(call.tenant, session, call.deadline):
                for start in range(0, len(page), RECEIPTS_PER_MESSAGE):
                    some = page[start : start + RECEIPTS_PER_MESSAGE]
                    yield pb.StreamReceiptsResponse(receipts=[convert.receipt_to_proto(receipt) for receipt in some])
            # Receipts go before session.json does: if it is still there, these were not a purge's leftovers.
            await self._sessions.require(call.tenant, session, call.deadline)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: object) -> pb.GetServerInfoResponse:
        report = self._report()
        uptime = asyncio.get_running_loop().time() - self._started
        statistics, memory = self._statistics, self._services.memory
        return pb.GetServerInfoResponse(
            version=__version__,
            limits=convert.limits_to_proto(self._limits),
            store_probe=[
                pb.ProbeVerdict(guarantee=verdict.guarantee, ok=verdict.ok, detail=verdict.detail)
                for verdict in (report.verdicts if report is not None else ())
            ],
            statistics=pb.ServerStatistics(
                sessions_created=statistics.sessions_created,
                chunks_stored=statistics.chunks_stored,
                chunks_duplicate=statistics.chunks_duplicate,
                bytes_stored=statistics.bytes_stored,
                errors_by_reason=dict(statistics.errors_by_reason),
                open_streams=self._streams.held,
                memory_in_use=memory.in_use,
                memory_budget=memory.size,
            ),
            start_time=convert.timestamp_to_proto((self._now() - timedelta(seconds=uptime)).replace(microsecond=0)),
        )

    def _session(self, view: SessionView) -> session_pb2.Session:
        return convert.session_to_proto(view, cap=self._limits.max_missing_ranges)


def register(servicer: IngestServicer, server: grpc.aio.Server) -> None:
    """Add the service to ``server``, with the deserializer of UploadChunks that copies no data."""
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]  # generated
    upload = grpc.stream_unary_rpc_method_handler(
        servicer.UploadChunks,
        request_deserializer=parse_upload_message,
        response_serializer=pb.UploadChunksResponse.SerializeToString,
    )
    server.add_registered_method_handlers(SERVICE, {"UploadChunks": upload})  # in place of the generated one


def new_session(request: pb.CreateSessionRequest, tenant: Tenant) -> NewSession:
    """The request, each field checked by itself: InvalidRequest and its kinds."""
    precondition = convert.precondition_from_proto(request)
    object_key = ids.object_key(request.object_key, tenant) if precondition is not None else ""
    return NewSession(
        filename=ids.filename(request.filename or object_key.rpartition("/")[2]),
        size=request.size if request.HasField("size") else None,
        chunk_size=request.chunk_size,
        content_type=ids.content_type(request.content_type),
        metadata=ids.metadata(request.metadata),
        ttl=convert.duration_from_proto(request.ttl, field="ttl") if request.HasField("ttl") else None,
        request_id=ids.request_id(request.request_id),
        object_key=object_key,
        precondition=precondition,
    )


def _session_id(text: str) -> SessionId:
    session = ids.session_id(text)
    bind_contextvars(session_id=session)
    return session
