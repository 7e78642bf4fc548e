"""ListSessions: a tenant's sessions in the order of their ids, by LIST, a page at a time.

A session's receipts stand in its prefix, too: the walk jumps over them, so a page costs about one LIST for each
session that has receipts, and not one for each thousand of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass

from ingest_service.sessions import Sessions, view_of
from sealane.domain import ids
from sealane.domain.errors import BadRecord, InvalidPageToken, InvalidRequest, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.domain.record_fields import b64, unb64
from sealane.domain.states import SessionState
from sealane.domain.views import SessionView
from sealane.logs import get_logger
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot

_log = get_logger(__name__)

DEFAULT_PAGE = 100
MAX_PAGE = 1000
READS_AT_ONCE = 8
_LAST = "~"
"""Sorts behind every name in a session's prefix, and behind every receipt."""
_CHECK_BYTES = 8


@dataclass(frozen=True, slots=True)
class SessionPage:
    """``next_token`` is empty at the end of the list. A page may be empty and still have a next one."""

    sessions: list[SessionView]
    next_token: str = ""


class SessionLister:
    """Store errors are the port's."""

    def __init__(self, *, store: RetryingStore, records: SessionRecords, sessions: Sessions, limits: Limits) -> None:
        self._store = store
        self._records = records
        self._sessions = sessions
        self._limits = limits

    async def page(
        self, tenant: Tenant, state: SessionState | None, size: int, token: str, deadline: Deadline
    ) -> SessionPage:
        """The next ``size`` sessions (0: the default), of which those in ``state`` are answered (None: all).

        InvalidRequest for a size out of bounds; InvalidPageToken.
        """
        if not 0 <= size <= MAX_PAGE:
            raise InvalidRequest(f"page_size must be from 1 to {MAX_PAGE}.", field="page_size")
        after = parse_page_token(tenant, state, token) if token else None
        found, more = await self._walk(tenant, after, size or DEFAULT_PAGE, deadline)
        views: list[SessionView | None] = []
        names = list(found)
        for start in range(0, len(names), READS_AT_ONCE):
            some = names[start : start + READS_AT_ONCE]
            async with asyncio.TaskGroup() as group:
                reads = [group.create_task(self._view(tenant, name, found[name], deadline)) for name in some]
            views += [read.result() for read in reads]
        shown = [view for view in views if view is not None and state in (None, view.state)]
        return SessionPage(shown, page_token(tenant, state, names[-1]) if more else "")

    async def _walk(
        self, tenant: Tenant, after: SessionId | None, size: int, deadline: Deadline
    ) -> tuple[dict[SessionId, set[str]], bool]:
        """The next ``size`` sessions with a session.json, each with its records' names, and whether more may follow."""
        prefix = keys.sessions_prefix(tenant)
        names: dict[SessionId, set[str]] = {}
        behind = None if after is None else f"{prefix}{after}/{_LAST}"
        cursor: str | None = None
        while True:
            page = await self._store.list_objects(prefix, deadline, cursor=cursor, start_after=behind)
            last: keys.SessionKey | None = None
            for listed in page.objects:
                last = keys.parse_session_key(listed.key)
                if last is not None and last.rest in keys.RECORDS:
                    names.setdefault(last.session, set()).add(last.rest)
            whole = [name for name, records in names.items() if keys.SESSION in records]
            if len(whole) > size:
                return {name: names[name] for name in whole[:size]}, True
            if page.cursor is None:
                return {name: names[name] for name in whole}, False
            if not page.objects:  # a page may be empty and not the last one
                behind, cursor = None, page.cursor
                continue
            behind, cursor = page.objects[-1].key, None
            if last is not None and last.rest.startswith("receipts/"):
                behind = f"{keys.receipts_prefix(tenant, last.session)}{_LAST}"

    async def _view(
        self, tenant: Tenant, session: SessionId, listed: set[str], deadline: Deadline
    ) -> SessionView | None:
        """None if it has gone since, or can't be read: that is alarmed, and costs nobody the rest of the list.

        Without a decision in the LIST it was open then: one read is enough.
        """
        try:
            if listed.isdisjoint((keys.DECISION, keys.DONE, keys.DELETED)):
                found = await self._records.session(tenant, session, deadline)
                return view_of(Snapshot(found), self._store.bucket, self._limits)
            return await self._sessions.glance(tenant, session, deadline)
        except SessionNotFound:
            return None
        except BadRecord as error:
            _log.error("a session can't be listed", alarm=True, listed_session=session, private=error.private)
            return None


def page_token(tenant: Tenant, state: SessionState | None, last: SessionId) -> str:
    """Continues behind ``last``, for the same tenant and filter."""
    return b64(bytes.fromhex(last) + _check(tenant, state, last))


def parse_page_token(tenant: Tenant, state: SessionState | None, token: str) -> SessionId:
    """The session that the page before ended with; InvalidPageToken."""
    try:
        value = unb64(token)
    except (ValueError, UnicodeEncodeError):
        value = b""
    last = SessionId(value[:-_CHECK_BYTES].hex())
    if len(value) != 16 + _CHECK_BYTES or not hmac.compare_digest(value[-_CHECK_BYTES:], _check(tenant, state, last)):
        raise InvalidPageToken("page_token is not one that was answered for this filter.", field="page_token")
    return ids.session_id(last)


def _check(tenant: Tenant, state: SessionState | None, last: SessionId) -> bytes:
    text = f"{tenant}\n{state or ''}\n{last}"
    return hashlib.sha256(text.encode()).digest()[:_CHECK_BYTES]
