"""Every rpc as a blocking method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sealane.client.api import Client
from sealane.client.audit import AuditFinding, AuditSummary
from sealane.client.loop_thread import LoopThread
from sealane.client.results import (
    DeletedSession,
    KeyState,
    Outcome,
    ServerInfo,
    Session,
    SessionEvent,
    VerifiedObject,
    VerifiedSession,
)
from sealane.domain.chunks import Receipt
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject


class SyncCalls(LoopThread):
    """The methods of IngestCalls and AssemblyCalls; each means what it means there."""

    _client: Client

    def create_session(
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
        """See :meth:`Client.create_session`."""
        return self._run(
            self._client.create_session(
                filename=filename,
                size=size,
                chunk_size=chunk_size,
                content_type=content_type,
                metadata=metadata,
                ttl=ttl,
                object_key=object_key,
                if_generation_match=if_generation_match,
                overwrite=overwrite,
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

    def get_key(self, object_key: str, *, timeout: float | None = None) -> KeyState:
        """See :meth:`Client.get_key`."""
        return self._run(self._client.get_key(object_key, timeout=timeout))

    def delete_session(self, session_id: str, *, timeout: float | None = None) -> DeletedSession:
        """See :meth:`Client.delete_session`."""
        return self._run(self._client.delete_session(session_id, timeout=timeout))

    def audit(
        self,
        *,
        min_age: float | None = None,
        repair: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[AuditFinding | AuditSummary]:
        """See :meth:`Client.audit`. ``progress`` is called in the client's thread."""
        return self._iterate(self._client.audit(min_age=min_age, repair=repair, progress=progress))

    def explain_session(self, session_id: str, *, timeout: float | None = None) -> list[SessionEvent]:
        """See :meth:`Client.explain_session`."""
        return self._run(self._client.explain_session(session_id, timeout=timeout))
