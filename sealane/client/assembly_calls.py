"""One typed method for every rpc of assembly."""

from __future__ import annotations

from collections.abc import Callable

from sealane.client.calls import Calls
from sealane.client.convert import outcome_from_proto, verified_from_proto
from sealane.client.results import Outcome, VerifiedObject, VerifiedSession
from sealane.client.transfer import COMMIT_SECONDS
from sealane.client.verification import verify_object
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.convert import committed_from_proto, state_from_proto
from sealane.v1 import assembly_service_pb2


class AssemblyCalls(Calls):
    """Commits, outcomes, and the proof at rest."""

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
