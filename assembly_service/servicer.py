"""AssemblyService as gRPC calls it. Thin: protos in, the service's own words, protos out; errors are the boundary's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from structlog.contextvars import bind_contextvars

from assembly_service import answers
from assembly_service.assembly import Assembly
from sealane.domain import ids
from sealane.domain.errors import SessionNotFound
from sealane.domain.ids import SessionId
from sealane.domain.limits import Limits
from sealane.domain.states import SessionState
from sealane.rpc import convert
from sealane.rpc.call import this_call
from sealane.slots import Slots
from sealane.store.deadline import Deadline
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1 import assembly_service_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class AssemblyServicer(assembly_service_pb2_grpc.AssemblyServiceServicer):
    """Raises domain and store errors; :mod:`sealane.rpc.boundary` answers them."""

    def __init__(self, assembly: Assembly, *, limits: Limits, readings: int = 8, checks: int = 96) -> None:
        """How many at once: ``readings`` of objects (VerifyObject), ``checks`` of sessions (those that hold a session's
        receipts: CommitSession, VerifySession, ExplainSession). A quarter is for tenants that have none."""
        self._assembly = assembly
        self._limits = limits
        self._readings = Slots(readings, "readings of whole objects", reserved=0.25)
        self._checks = Slots(checks, "checks of sessions", reserved=0.25)

    def register(self, server: grpc.aio.Server) -> None:
        """Make ``server`` serve this."""
        assembly_service_pb2_grpc.add_AssemblyServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]  # generated

    async def VerifySession(  # noqa: N802 - the proto's name
        self, request: pb.VerifySessionRequest, context: Context
    ) -> pb.VerifySessionResponse:
        session = _session(request.session_id)
        parameters = convert.parameters_from_proto(request, limits=self._limits)
        call = this_call()
        with self._checks.hold(tenant=call.tenant):
            verified = await self._assembly.verifier.verify(call.tenant, session, parameters, call.deadline)
        return pb.VerifySessionResponse(
            state=convert.state_to_proto(verified.state),
            chunk_count=verified.parameters.chunk_count,
            size=verified.parameters.size,
            blake3=verified.parameters.blake3,
        )

    async def CommitSession(  # noqa: N802 - the proto's name
        self, request: pb.CommitSessionRequest, context: Context
    ) -> pb.CommitSessionResponse:
        session = _session(request.session_id)
        parameters = convert.parameters_from_proto(request, limits=self._limits)
        with self._checks.hold(tenant=this_call().tenant):
            committed = await self._assembly.committer.commit(this_call().tenant, session, parameters, _in_time())
        return pb.CommitSessionResponse(committed_object=convert.committed_to_proto(committed))

    async def GetCommit(  # noqa: N802 - the proto's name
        self, request: pb.GetCommitRequest, context: Context
    ) -> pb.GetCommitResponse:
        session = _session(request.session_id)
        state, committed = await self._assembly.outcomes.outcome(this_call().tenant, session, this_call().deadline)
        return pb.GetCommitResponse(
            state=convert.state_to_proto(state),
            committed_object=None if committed is None else convert.committed_to_proto(committed),
        )

    async def GetKey(  # noqa: N802 - the proto's name
        self, request: pb.GetKeyRequest, context: Context
    ) -> pb.GetKeyResponse:
        object_key = ids.object_key(request.object_key, this_call().tenant)
        state = await self._assembly.key_reader.key(this_call().tenant, object_key, this_call().deadline)
        cooling = state.cooling_until
        return pb.GetKeyResponse(
            holder=None if state.holder is None else convert.holder_to_proto(state.holder),
            generation=state.generation,
            cooling_until=None if cooling is None else convert.timestamp_to_proto(cooling),
        )

    async def AbortSession(  # noqa: N802 - the proto's name
        self, request: pb.AbortSessionRequest, context: Context
    ) -> pb.AbortSessionResponse:
        session = _session(request.session_id)
        state = await self._assembly.aborter.abort(this_call().tenant, session, _in_time())
        if state is SessionState.ABORTED:
            self._assembly.patrol.kick(this_call().tenant, session)
        return pb.AbortSessionResponse(state=convert.state_to_proto(state))

    async def DeleteSession(  # noqa: N802 - the proto's name
        self, request: pb.DeleteSessionRequest, context: Context
    ) -> pb.DeleteSessionResponse:
        session = _session(request.session_id)
        cut_short = True
        try:
            deletion = await self._assembly.deleter.delete(this_call().tenant, session, _in_time())
            cut_short = False
        except SessionNotFound:
            cut_short = False
            raise
        finally:
            if cut_short:  # whatever came between: what was begun is gone on with soon
                self._assembly.patrol.kick(this_call().tenant, session)
        return answers.deletion_to_proto(deletion)

    async def AuditStore(  # noqa: N802 - the proto's name
        self, request: pb.AuditStoreRequest, context: Context
    ) -> AsyncIterator[pb.AuditStoreResponse]:
        call, audit = this_call(), self._assembly.auditor.audit
        min_age = answers.min_age_from_proto(request)
        walk = audit(call.tenant, call.deadline, min_age=min_age, repair=request.repair)
        async with contextlib.aclosing(walk) as messages:
            async for message in messages:
                yield answers.audit_to_proto(message)

    async def ExplainSession(  # noqa: N802 - the proto's name
        self, request: pb.ExplainSessionRequest, context: Context
    ) -> AsyncIterator[pb.ExplainSessionResponse]:
        session = _session(request.session_id)
        call = this_call()
        with self._checks.hold(tenant=call.tenant):
            events = await self._assembly.explainer.explain(call.tenant, session, call.deadline)
        yield answers.events_to_proto(events)

    async def VerifyObject(  # noqa: N802 - the proto's name
        self, request: pb.VerifyObjectRequest, context: Context
    ) -> AsyncIterator[pb.VerifyObjectResponse]:
        session = _session(request.session_id)
        call, verify = this_call(), self._assembly.object_verifier.verify
        with self._readings.hold(tenant=call.tenant):
            async with contextlib.aclosing(verify(call.tenant, session, call.deadline)) as told:
                async for progress in told:  # closed with the call, so that a client who leaves frees the connection
                    yield pb.VerifyObjectResponse(
                        bytes_read=progress.bytes_read,
                        size=progress.size,
                        verified=progress.blake3 is not None,
                        blake3=progress.blake3 or b"",
                    )


def _session(text: str) -> SessionId:
    session = ids.session_id(text)
    bind_contextvars(session_id=session)
    return session


def _in_time() -> Deadline:
    """A little before the call's own deadline: "outcome unknown, repeat it" must be said before time is up."""
    deadline = this_call().deadline
    remaining = deadline.remaining()
    return Deadline(deadline.at - min(0.1 * remaining, 0.25))
