"""Assembly's GetCommit, by gRPC: what ingest asks of the other service, and all of it."""

from __future__ import annotations

import grpc

from sealane import spans
from sealane.domain.errors import DeadlineExceeded, PeerUnavailable, PermissionDenied, SealaneError, Unauthenticated
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc import convert
from sealane.rpc.peer import PeerMetadata, nothing, refused_by
from sealane.rpc.status import from_rpc_error
from sealane.store.deadline import Deadline
from sealane.v1 import assembly_service_pb2, assembly_service_pb2_grpc


class GrpcOutcomeClient:
    """Over ``channel``, which is the caller's to close and reconnects by itself; ``metadata`` goes with each call."""

    def __init__(self, channel: grpc.aio.Channel, metadata: PeerMetadata = nothing) -> None:
        self._stub = assembly_service_pb2_grpc.AssemblyServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._metadata = metadata

    async def get_commit(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None]:
        """What became of the session. PeerUnavailable if assembly does not answer in time; SessionNotFound."""
        request = assembly_service_pb2.GetCommitRequest(session_id=session)
        try:
            with spans.span("assembly.GetCommit", kind="call"):
                metadata = self._metadata(tenant)
                answer = await self._stub.GetCommit(request, timeout=deadline.remaining(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _as_peer(from_rpc_error(error)) from error
        committed = (
            convert.committed_from_proto(answer.committed_object) if answer.HasField("committed_object") else None
        )
        return convert.state_from_proto(answer.state), committed


def _as_peer(error: SealaneError) -> SealaneError:
    """No answer in time is the peer's absence, not this call's own deadline."""
    if isinstance(error, Unauthenticated | PermissionDenied):
        return refused_by("assembly", error)
    if isinstance(error, DeadlineExceeded | PeerUnavailable):
        return PeerUnavailable.of("assembly", private=f"assembly: {error.private}")
    return error
