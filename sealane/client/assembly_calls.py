"""One typed method for every rpc of assembly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from sealane.client.audit import AuditFinding, AuditSummary, audit
from sealane.client.calls import Calls
from sealane.client.convert import (
    deleted_from_proto,
    event_from_proto,
    key_state_from_proto,
    outcome_from_proto,
    verified_from_proto,
)
from sealane.client.errors import InvalidObjectKey
from sealane.client.results import DeletedSession, KeyState, Outcome, SessionEvent, VerifiedObject, VerifiedSession
from sealane.client.transfer import COMMIT_SECONDS
from sealane.client.verification import verify_object
from sealane.client.wire_text import wire_id, wire_text
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.convert import committed_from_proto, state_from_proto
from sealane.v1 import assembly_service_pb2


class AssemblyCalls(Calls):
    """Commits, outcomes, keys, removal, and what is really at rest."""

    async def verify_session(
        self, session_id: str, *, chunk_count: int, size: int, blake3: bytes, timeout: float | None = None
    ) -> VerifiedSession:
        """What the commit's checks would answer; writes nothing. ``blake3`` is 32 bytes."""
        response = await self._connections.unary(
            self._connections.assembly.VerifySession,
            assembly_service_pb2.VerifySessionRequest(
                session_id=wire_id(session_id), chunk_count=chunk_count, size=size, blake3=blake3
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
                session_id=wire_id(session_id), chunk_count=chunk_count, size=size, blake3=blake3
            ),
            timeout=self._seconds(timeout),
            attempt_seconds=COMMIT_SECONDS,
        )
        return committed_from_proto(response.committed_object)

    async def get_commit(self, session_id: str, *, timeout: float | None = None) -> Outcome:
        """What became of a session, from the store."""
        response = await self._connections.unary(
            self._connections.assembly.GetCommit,
            assembly_service_pb2.GetCommitRequest(session_id=wire_id(session_id)),
            timeout=self._seconds(timeout),
        )
        return outcome_from_proto(response)

    async def abort_session(self, session_id: str, *, timeout: float | None = None) -> SessionState:
        """Give a session up: ABORTED, or EXPIRED if that came first."""
        response = await self._connections.unary(
            self._connections.assembly.AbortSession,
            assembly_service_pb2.AbortSessionRequest(session_id=wire_id(session_id)),
            timeout=self._seconds(timeout),
        )
        return state_from_proto(response.state)

    async def verify_object(
        self, session_id: str, *, progress: Callable[[int, int], None] | None = None
    ) -> VerifiedObject:
        """Have assembly read the committed object back and hash it. ``progress(bytes_read, size)``.

        Starts over when the stream breaks. ObjectCorrupt if the bytes at rest are not those committed.
        """
        return await verify_object(self._connections, wire_id(session_id), progress)

    async def get_key(self, object_key: str, *, timeout: float | None = None) -> KeyState:
        """Who holds a key that callers choose: what ``if_generation_match`` needs. True at the moment it was read."""
        response = await self._connections.unary(
            self._connections.assembly.GetKey,
            assembly_service_pb2.GetKeyRequest(object_key=wire_text(object_key, InvalidObjectKey, "object_key")),
            timeout=self._seconds(timeout),
        )
        return key_state_from_proto(object_key, response)

    async def delete_session(self, session_id: str, *, timeout: float | None = None) -> DeletedSession:
        """Remove a session with all that it has, its object too. Answered when the store confirms that it is gone.

        Repeatable; SessionNotFound says that nothing is left. ``timeout``: COMMIT_SECONDS if None, for a large object
        has many parts.
        """
        response = await self._connections.unary(
            self._connections.assembly.DeleteSession,
            assembly_service_pb2.DeleteSessionRequest(session_id=wire_id(session_id)),
            timeout=COMMIT_SECONDS if timeout is None else timeout,
            attempt_seconds=COMMIT_SECONDS,
        )
        return deleted_from_proto(session_id, response)

    async def audit(
        self,
        *,
        min_age: float | None = None,
        repair: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> AsyncGenerator[AuditFinding | AuditSummary, None]:
        """Walk the caller's part of the store: every finding, and an AuditSummary as the last item.

        ``min_age`` in seconds: what is younger is left out (None: the server's default). ``repair`` removes what the
        sweeper may remove, an object only to finish a deletion that was begun. ``progress(keys, sessions)``. Not
        retried: what was yielded is yielded.
        """
        async with aclosing(audit(self._connections, min_age=min_age, repair=repair, progress=progress)) as found:
            async for each in found:
                yield each

    async def explain_session(self, session_id: str, *, timeout: float | None = None) -> list[SessionEvent]:
        """What happened to a session, in order of the store's times: from its records, receipts and object."""
        responses = await self._connections.collect(
            self._connections.assembly.ExplainSession,
            assembly_service_pb2.ExplainSessionRequest(session_id=wire_id(session_id)),
            timeout=self._seconds(timeout),
        )
        return [event_from_proto(event) for response in responses for event in response.events]
