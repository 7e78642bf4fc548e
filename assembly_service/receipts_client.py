"""Ingest's StreamReceipts, by gRPC: what assembly asks of the other service, and all of it (protocol.md section 3)."""

from __future__ import annotations

import grpc

from sealane import spans
from sealane.domain.chunks import Receipt
from sealane.domain.errors import (
    BadRecord,
    DeadlineExceeded,
    InternalError,
    PeerUnavailable,
    PermissionDenied,
    SealaneError,
    Unauthenticated,
)
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import MAX_PARTS
from sealane.rpc import convert
from sealane.rpc.peer import PeerMetadata, nothing, refused_by
from sealane.rpc.status import from_rpc_error, said_by_server
from sealane.store.deadline import Deadline
from sealane.v1 import ingest_service_pb2, ingest_service_pb2_grpc

MAX_RECEIPTS = 8 * MAX_PARTS
"""An index has one receipt, rarely two: more than this is no session's."""


class GrpcReceiptsClient:
    """Over ``channel``, which is the caller's to close and reconnects by itself; ``metadata`` goes with each call."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: float, metadata: PeerMetadata = nothing) -> None:
        """``timeout`` in seconds: ingest's share of a call's deadline, at most."""
        self._stub = ingest_service_pb2_grpc.IngestServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._timeout = timeout
        self._metadata = metadata

    async def receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        """All receipts of the session. PeerUnavailable if ingest does not answer in time; SessionNotFound.

        InternalError if ingest says so: a receipt that can't be parsed fails closed (section 11), and would again.
        """
        with spans.span("ingest.StreamReceipts", kind="call"):
            return await self._receipts(tenant, session, deadline)

    async def _receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        request = ingest_service_pb2.StreamReceiptsRequest(session_id=session)
        call = self._stub.StreamReceipts(request, timeout=deadline.cap(self._timeout), metadata=self._metadata(tenant))
        found: list[Receipt] = []
        try:
            async for batch in call:
                found.extend(convert.receipt_from_proto(receipt) for receipt in batch.receipts)
                if len(found) > MAX_RECEIPTS:
                    raise BadRecord(private=f"ingest names more than {MAX_RECEIPTS} receipts of session {session}")
        except grpc.aio.AioRpcError as error:
            raise _understood(error) from error
        finally:
            call.cancel()
        return found


def _understood(error: grpc.aio.AioRpcError) -> SealaneError:
    """What ingest said; and if it was not ingest that ended the call, nothing follows from that for the session."""
    said = said_by_server(error)
    if isinstance(said, Unauthenticated | PermissionDenied):
        return refused_by("ingest", said)
    if said is not None and not isinstance(said, DeadlineExceeded):
        said.private = f"ingest: {said.private}"
        return said
    failure = from_rpc_error(error)
    if isinstance(failure, DeadlineExceeded | InternalError | PeerUnavailable):
        return PeerUnavailable.of("ingest", private=f"ingest: {failure.message} {failure.private}")
    return failure
