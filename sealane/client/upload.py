"""Upload: find or make the session, transfer, and keep the journal in step.

An upload that was begun by a process that died is found again by its journal. Whatever became of its session
meanwhile, the caller gets this file's object: a session that is gone, given up or holds other bytes is left alone, and
a new one takes its place, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sealane import spans
from sealane.client.blocking import DaemonThread
from sealane.client.connections import Connections
from sealane.client.convert import session_from_proto
from sealane.client.errors import (
    ChunkConflict,
    ChunkOutOfRange,
    DigestMismatch,
    RequestIdUsed,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionMismatch,
    SessionNotFound,
    SessionSealed,
)
from sealane.client.journal import Journal, JournalEntry, default_directory, default_path
from sealane.client.key_check import check_key, refuse_early
from sealane.client.progress import ProgressCallback
from sealane.client.results import Session, UploadResult
from sealane.client.source import FileIdentity, SeekableSource, SequentialSource, UploadSource, open_source
from sealane.client.streams import StreamOptions
from sealane.client.transfer import Transfer
from sealane.client.upload_request import UploadRequest
from sealane.client.wire_text import wire_id
from sealane.domain.ids import Entropy
from sealane.domain.states import SessionState
from sealane.v1 import ingest_service_pb2

_log = logging.getLogger(__name__)

JournalChoice = Path | Literal[False] | None
"""A journal file, no journal, or (None) one at the default place; only uploads from a path have one."""

_NOT_THIS_UPLOAD = (
    SessionNotFound,
    SessionAborted,
    SessionExpired,
    SessionLost,
    SessionSealed,
    SessionMismatch,
    DigestMismatch,
    ChunkConflict,
    ChunkOutOfRange,
)
"""What a session from the journal may turn out to be: never again of use for this file."""
_USABLE = frozenset({SessionState.OPEN, SessionState.COMMITTING, SessionState.COMMITTED, SessionState.DUPLICATE})


@dataclass(frozen=True, slots=True)
class _Begun:
    """A session to transfer into."""

    session: Session
    request_id: str
    resume: bool
    """It may hold something already."""
    from_journal: bool = False


class _DefaultJournal(Journal):
    """Nobody asked for it: where it can't be read or written (a full disk), the upload goes on without."""

    def load(self) -> JournalEntry | None:
        try:
            return super().load()
        except OSError as error:
            _log.warning("the resume journal can't be read: %s", error)
            return None

    def save(self, entry: JournalEntry) -> None:
        try:
            super().save(entry)
        except OSError as error:
            _log.warning("no resume journal: %s", error)


class Uploader:
    """Uploads over one client's connections."""

    def __init__(
        self, connections: Connections, *, entropy: Entropy, environment: Mapping[str, str], max_memory: int
    ) -> None:
        self._connections = connections
        self._entropy = entropy
        self._environment = environment
        self._max_memory = max_memory

    async def upload(
        self,
        source: UploadSource,
        request: UploadRequest,
        *,
        options: StreamOptions,
        journal: JournalChoice,
        resume: bool,
        report: ProgressCallback | None,
    ) -> UploadResult:
        """See :meth:`sealane.client.Client.upload`."""
        with spans.span("client.upload") as span:
            result = await self._upload(source, request, options, journal, resume, report)
            span.set({"sealane.session_id": result.session_id, "sealane.size": result.size})
            return result

    async def _upload(
        self,
        source: UploadSource,
        request: UploadRequest,
        options: StreamOptions,
        journal: JournalChoice,
        resume: bool,
        report: ProgressCallback | None,
    ) -> UploadResult:
        opened = await _open(source)
        held: Journal | None = None
        try:
            request = _completed(request, opened)
            identity = opened.identity if isinstance(opened, SeekableSource) else None
            if identity is not None and journal is not False and not (request.session_id or request.request_id):
                held = await self._hold(journal, identity, request.object_key or "")
            entry = self._entry(request, identity) if held is not None and identity is not None else None
            begun = await self._begin(request, held, entry, resume=resume)
            try:
                return await self._transfer(opened, request, begun, options, report, held)
            except _NOT_THIS_UPLOAD as error:
                if not begun.from_journal:
                    raise
                _log.warning("session %s can't be resumed, starting anew: %s", begun.session.session_id, error)
            begun = await self._begin(request, held, entry, resume=False)
            return await self._transfer(opened, request, begun, options, report, held)
        finally:
            await _close(opened, held)

    async def _transfer(
        self,
        source: SeekableSource | SequentialSource,
        request: UploadRequest,
        begun: _Begun,
        options: StreamOptions,
        report: ProgressCallback | None,
        journal: Journal | None,
    ) -> UploadResult:
        declared = begun.session.size
        if declared is not None and request.size is not None and declared != request.size:
            raise SessionMismatch(f"The session is for {declared} bytes; the source has {request.size}.")
        transfer = Transfer(
            self._connections,
            source,
            begun.session,
            size=request.size if request.size is not None else declared,
            options=options,
            max_memory=self._max_memory,
            request_id=begun.request_id,
            report=report,
        )
        try:
            result = await transfer.run(resume=begun.resume)
        except _NOT_THIS_UPLOAD:
            await _forget(journal)
            raise
        await _forget(journal)
        return result

    # --- the session ---

    async def _begin(
        self, request: UploadRequest, journal: Journal | None, entry: JournalEntry | None, *, resume: bool
    ) -> _Begun:
        """The session that was asked for, or the journal's, or a new one."""
        if request.session_id:
            request_id = self._entropy(16).hex()
            session = await self._get(request.session_id, request_id)
            check_key(request, session)
            return _Begun(session, request_id, resume=True)
        if journal is None or entry is None:
            request_id = request.request_id or self._entropy(16).hex()
            if request.request_id is None:  # else the session may be there
                await refuse_early(self._connections, request, request_id)
            session = await self._create(request, request_id)
            return _Begun(session, request_id, resume=request.request_id is not None)
        if resume and (begun := await self._from_journal(request, journal, entry)) is not None:
            return begun
        entry = replace(entry, request_id=self._entropy(16).hex())
        await refuse_early(self._connections, request, entry.request_id)
        await asyncio.to_thread(journal.save, entry)
        session = await self._create(request, entry.request_id)
        await self._note(journal, entry, session)
        return _Begun(session, entry.request_id, resume=False)

    async def _from_journal(self, request: UploadRequest, journal: Journal, wanted: JournalEntry) -> _Begun | None:
        found = await asyncio.to_thread(journal.load)
        if found is None or found.key != wanted.key:
            return None
        try:
            if found.session_id:
                session = await self._get(found.session_id, found.request_id)
            else:
                session = await self._create(request, found.request_id)
                await self._note(journal, found, session)
        except (SessionNotFound, RequestIdUsed):
            return None
        if session.state not in _USABLE:
            return None
        return _Begun(session, found.request_id, resume=True, from_journal=True)

    async def _get(self, session_id: str, request_id: str) -> Session:
        response = await self._connections.unary(
            self._connections.ingest.GetSession,
            ingest_service_pb2.GetSessionRequest(session_id=wire_id(session_id)),
            request_id=request_id,
        )
        return session_from_proto(response.session)

    async def _create(self, request: UploadRequest, request_id: str) -> Session:
        response = await self._connections.unary(
            self._connections.ingest.CreateSession, request.proto(request_id), request_id=request_id
        )
        session = session_from_proto(response.session)
        check_key(request, session)
        return session

    # --- the journal ---

    async def _hold(self, choice: Path | None, identity: FileIdentity, object_key: str) -> Journal | None:
        """The journal, taken; None if another upload of this file has it, or the default place can't be written."""
        endpoint = self._connections.ingest_target
        path = choice or default_path(default_directory(self._environment), endpoint, identity, object_key)
        journal = _DefaultJournal(path) if choice is None else Journal(path)
        try:
            if await asyncio.to_thread(journal.acquire):
                return journal
        except OSError as error:
            if choice is not None:
                raise
            _log.warning("no resume journal: %s", error)
            return None
        _log.info("another upload of this file is in progress: this one goes without a journal")
        return None

    def _entry(self, request: UploadRequest, identity: FileIdentity) -> JournalEntry:
        return JournalEntry(
            endpoint=self._connections.ingest_target,
            path=identity.path,
            size=identity.size,
            mtime_ns=identity.mtime_ns,
            inode=identity.inode,
            parameters=request.digest(),
            request_id="",
        )

    @staticmethod
    async def _note(journal: Journal, entry: JournalEntry, session: Session) -> None:
        entry = replace(entry, session_id=session.session_id, chunk_size=session.chunk_size)
        await asyncio.to_thread(journal.save, entry)


def _completed(request: UploadRequest, source: SeekableSource | SequentialSource) -> UploadRequest:
    """``request`` with the source's own name and size."""
    if isinstance(source, SeekableSource):
        if request.size is not None and request.size != source.size:
            raise ValueError(f"size is {request.size}, and the source has {source.size} bytes")
        request = replace(request, size=source.size)
    return request if request.filename is not None else replace(request, filename=source.name)


async def _open(source: UploadSource) -> SeekableSource | SequentialSource:
    # To open a FIFO that nobody writes to blocks for ever: a pooled thread would keep the whole process from ending.
    thread = DaemonThread("sealane-open")
    try:
        return await thread.run(lambda: open_source(source))
    finally:
        thread.close()


async def _forget(journal: Journal | None) -> None:
    """Remove the journal. What the session has become is more important than a file that stays."""
    if journal is None:
        return
    try:
        await asyncio.to_thread(journal.remove)
    except OSError as error:
        _log.warning("the resume journal %s stays behind: %s", journal.path, error)


async def _close(source: SeekableSource | SequentialSource, journal: Journal | None) -> None:
    if isinstance(source, SequentialSource):
        await source.close()
    else:
        source.close()
    if journal is not None:
        journal.release()
