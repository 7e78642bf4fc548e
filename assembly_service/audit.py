"""AuditStore: walks a tenant's part of the store both ways, and tells what does not fit together.

From the records to the objects, and from the objects to the records; then the multipart uploads. Nothing is changed
unless it is asked for, and then only what the sweeper may remove, by the sweeper's own code: no object but one whose
deletion was begun (deleted.json, or a tombstone's decision) and was cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias, TypeVar

from assembly_service.audit_claims import ClaimAudit, NewestOfEach
from assembly_service.audit_findings import AuditKind, Finding, Progress, Summary
from assembly_service.audit_objects import ObjectAudit
from assembly_service.audit_session import SessionAudit
from assembly_service.audit_uploads import UploadAudit
from assembly_service.audit_walk import SessionInStore, Stray, sessions, walk
from assembly_service.events import Events
from assembly_service.orphans import Orphans
from assembly_service.purge import Purge
from assembly_service.sweep import Sweep
from sealane.domain.errors import SealaneError
from sealane.domain.ids import SessionId, Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ListedObject
from sealane.store.retry import RetryingStore

T = TypeVar("T")
Message: TypeAlias = Finding | Progress | Summary

AT_ONCE = 16
"""Sessions, or objects at chosen keys, that are looked at side by side."""
TELL_EVERY = 1000
"""Keys between two messages of progress."""
MIN_AGE = timedelta(minutes=15)


class Auditor:
    """Each :meth:`audit` is a walk of its own; nothing is remembered between two."""

    def __init__(
        self,
        store: RetryingStore,
        *,
        of_sessions: SessionAudit,
        of_objects: ObjectAudit,
        of_claims: ClaimAudit,
        orphans: Orphans,
        purge: Purge,
        sweep: Sweep,
        events: Events,
    ) -> None:
        self.store = store
        self.sessions = of_sessions
        self.objects = of_objects
        self.claims = of_claims
        self.orphans = orphans
        self.purge = purge
        self.sweep = sweep
        self.events = events

    async def audit(
        self, tenant: Tenant, deadline: Deadline, *, min_age: timedelta = MIN_AGE, repair: bool = False
    ) -> AsyncGenerator[Message, None]:
        """Findings and progress as they come; the :class:`Summary` is the last message.

        What was written less than ``min_age`` ago, by the store's clock, is left out: it may be just being written.
        Raises the port's errors if the store can't be read to the end, and OutOfOrder.
        """
        async with aclosing(_Walk(self, tenant, min_age, repair, deadline).run()) as messages:
            async for message in messages:
                yield message


class _Walk:
    """One audit under way."""

    def __init__(self, auditor: Auditor, tenant: Tenant, min_age: timedelta, repair: bool, deadline: Deadline) -> None:
        self._of = auditor
        self._store = auditor.store
        self._uploads = UploadAudit(auditor.store, auditor.orphans, tenant)
        self._tenant = tenant
        self._min_age = min_age
        self._repair = repair
        self._deadline = deadline
        self._summary = Summary()
        self._told = 0

    async def run(self) -> AsyncGenerator[Message, None]:
        await self._uploads.begin(self._deadline)  # ⚠ W6: before the records
        batch: list[SessionInStore] = []
        async with aclosing(sessions(self._store, self._tenant, self._deadline)) as found:
            async for item in found:
                if isinstance(item, Stray):
                    self._summary.keys += 1
                    async for finding in self._judge([_stray(self._tenant, item.listed)]):
                        yield finding
                    continue
                batch.append(item)
                if len(batch) == AT_ONCE:
                    async for message in self._sessions(batch):
                        yield message
                    batch.clear()
        async for message in self._sessions(batch):
            yield message
        async for message in self._other_records():
            yield message
        async for message in self._chosen_objects():
            yield message
        async with aclosing(self._uploads.findings(self._deadline)) as ghosts:
            async for ghost in ghosts:
                async for finding in self._judge([ghost]):
                    yield finding
        yield self._summary

    async def _sessions(self, batch: Sequence[SessionInStore]) -> AsyncGenerator[Message, None]:
        look = self._of.sessions.look
        for listed in batch:
            if keys.SESSION in listed.records and keys.DONE not in listed.records:
                await self._uploads.session(listed.session, self._deadline)
        looked = [look(self._tenant, listed, self._min_age, self._deadline) for listed in batch]
        for listed, findings in zip(batch, await _together(looked), strict=True):
            self._summary.sessions += bool(listed.keys > len(listed.objects))
            self._summary.saw_objects(listed.objects)
            self._summary.keys += listed.keys
            async for finding in self._judge(findings):
                yield finding
        for progress in self._progress():
            yield progress

    async def _other_records(self) -> AsyncGenerator[Message, None]:
        """requests/ and claims/ have a life of their own; other keys beside them have none. Of each log of claims the
        newest is read."""
        prefix = f"{keys.ROOT}{self._tenant}/"
        logs, batch = NewestOfEach(), list[ListedObject]()
        async with aclosing(walk(self._store, prefix, self._deadline, but=keys.sessions_prefix(self._tenant))) as found:
            async for listed in found:
                self._summary.keys += 1
                if keys.parse_request_key(listed.key) is None and keys.parse_claim_key(listed.key) is None:
                    async for finding in self._judge([_stray(self._tenant, listed)]):
                        yield finding
                if (newest := logs.next(listed)) is not None:
                    batch.append(newest)
                if len(batch) == AT_ONCE:
                    async for message in self._looked(self._of.claims, batch):
                        yield message
                    batch.clear()
                for progress in self._progress():
                    yield progress
        if logs.newest is not None:
            batch.append(logs.newest)
        async for message in self._looked(self._of.claims, batch):
            yield message

    async def _chosen_objects(self) -> AsyncGenerator[Message, None]:
        prefix, own = f"{self._tenant}/", keys.by_session_prefix(self._tenant)
        batch: list[ListedObject] = []
        async with aclosing(walk(self._store, prefix, self._deadline, but=own)) as found:
            async for listed in found:
                self._summary.keys += 1
                self._summary.saw_objects([listed])
                batch.append(listed)
                if len(batch) == AT_ONCE:
                    async for message in self._looked(self._of.objects, batch):
                        yield message
                    batch.clear()
        async for message in self._looked(self._of.objects, batch):
            yield message

    async def _looked(
        self, at: ClaimAudit | ObjectAudit, batch: Sequence[ListedObject]
    ) -> AsyncGenerator[Message, None]:
        looks = [at.look(self._tenant, listed, self._deadline) for listed in batch]
        for findings in await _together(looks):
            async for finding in self._judge(findings):
                yield finding
        for progress in self._progress():
            yield progress

    async def _judge(self, findings: Sequence[Finding]) -> AsyncGenerator[Finding, None]:
        """What is old enough; removed, if that was asked for and may be."""
        for finding in findings:
            age = max(timedelta(0), self._store.now() - finding.newest)
            if age < self._min_age:
                continue
            repaired = self._repair and await self._repaired(finding)
            told = replace(finding, age=age, repaired=repaired)
            self._summary.add(told)
            self._of.events.note(
                "audit finding",
                tenant=self._tenant,
                session_id=told.session,
                kind=told.kind.value,
                key=told.key,
                count=told.count,
                repaired=repaired,
            )
            yield told

    async def _repaired(self, finding: Finding) -> bool:
        """Remove, or finish, what the sweeper would; answer whether it is done."""
        session = SessionId(finding.session)
        match finding.kind:
            case AuditKind.RECORD_WITHOUT_SESSION | AuditKind.RECEIPT_WITHOUT_SESSION:
                await self._of.purge.gone(self._tenant, session, self._deadline)
                return True
            case AuditKind.SESSION_OVERDUE:
                with suppress(SealaneError):  # it waits for its client, or has just been lost: the sweeper's to tell
                    await self._of.sweep.session(self._tenant, session, self._deadline)
                    return True
            case AuditKind.UPLOAD_WITHOUT_SESSION:
                return await self._uploads.abort(finding, self._deadline)
        return False

    def _progress(self) -> Sequence[Progress]:
        if self._summary.keys - self._told < TELL_EVERY:
            return ()
        self._told = self._summary.keys
        return (Progress(self._summary.keys, self._summary.sessions),)


def _stray(tenant: Tenant, listed: ListedObject) -> Finding:
    if listed.key.startswith(keys.by_session_prefix(tenant)):
        text = "An object at a key of sealane's that is no session's: sealane never removes it."
        return Finding.of(AuditKind.OBJECT_WITHOUT_RECORDS, text, [listed])
    found = keys.parse_session_key(listed.key)
    text = "The layout knows no such key."
    return Finding.of(AuditKind.UNKNOWN_KEY, text, [listed], session=found.session if found else "")


async def _together(looks: Sequence[Awaitable[T]]) -> list[T]:
    """All of them side by side; the first error is raised once none is left running behind us."""
    outcomes = await asyncio.gather(*looks, return_exceptions=True)
    answers: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers
