"""Delete and audit on the real store: what plain S3 sees, and that its LIST is walked right across its pages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from assembly_world import TENANT, Journal, ReceiptsOfStore, Session, World, content_of
from minio import Minio
from minio.error import S3Error

from assembly_service.assembly import Assembly
from assembly_service.audit_findings import AuditKind, Finding, Summary
from assembly_service.delete import Deletion
from sealane.dev.seaweed import SeaweedFS
from sealane.domain.errors import KeyCooling, SessionNotFound
from sealane.domain.ids import SessionId
from sealane.domain.states import SessionState
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.s3 import S3Settings, S3Store

pytestmark = pytest.mark.real_store
PAGE = 3
"""Rows of a page of LIST, so that a few keys have many edges."""


class SmallPages(RetryingStore):
    """The real store, asked for little at a time."""

    async def list_objects(self, prefix: str, deadline: Deadline, **asked: Any) -> port.ObjectPage:
        return await super().list_objects(prefix, deadline, **asked | {"limit": PAGE})


@dataclass
class Real:
    store: S3Store
    world: World
    assembly: Assembly
    events: Journal

    async def committed(self, size: int, object_key: str = "") -> Session:
        session = await self.world.session(content_of(size, size), object_key=object_key)
        await self.assembly.committer.commit(TENANT, session.id, session.parameters, Deadline.after(60))
        return session

    async def delete(self, session: Session) -> Deletion:
        return await self.assembly.deleter.delete(TENANT, session.id, Deadline.after(60))

    async def audit(self, *, repair: bool = False) -> tuple[list[Finding], Summary]:
        walk = self.assembly.auditor.audit(TENANT, Deadline.after(120), min_age=timedelta(0), repair=repair)
        messages = [message async for message in walk]
        assert isinstance(messages[-1], Summary)
        return [message for message in messages if isinstance(message, Finding)], messages[-1]


@pytest.fixture
async def real(seaweed: SeaweedFS, bucket: str) -> AsyncIterator[Real]:
    settings = S3Settings(
        endpoint=seaweed.endpoint, bucket=bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key
    )
    store, events, rng = S3Store(settings), Journal(), random.Random(1)
    assembly = Assembly.on(SmallPages(store, rng=rng), ReceiptsOfStore(store), rng=rng, events=events)
    yield Real(store, World(plain=store), assembly, events)
    await store.aclose()


async def test_i9_a_deleted_object_is_gone_for_plain_s3_with_everything_of_its_session(
    real: Real, plain_s3: Minio
) -> None:
    """I9, at a key of its own, and of a session that was never committed."""
    done, unfinished = await real.committed(900), await real.world.session(content_of(700))
    answers = await asyncio.gather(*(real.delete(session) for session in (done, unfinished)))
    assert [answer.state for answer in answers] == [SessionState.DELETED, SessionState.ABORTED]
    kinds = [{some.kind.value for some in answer.removed} for answer in answers]
    assert kinds == [{"object", "receipt", "record"}, {"upload", "part", "receipt", "record"}]
    with pytest.raises(S3Error):
        plain_s3.stat_object(real.store.bucket, done.record.key)
    assert [listed.object_name for listed in plain_s3.list_objects(real.store.bucket, recursive=True)] == []
    assert (await real.store.list_uploads("", timeout=30)).uploads == []
    with pytest.raises(SessionNotFound):
        await real.delete(done)
    assert await real.audit() == ([], Summary())


async def test_i16_a_deleted_chosen_key_rests_and_an_old_delete_is_refused(real: Real) -> None:
    """I16, R6: the real store refuses the DELETE that a process held back for twenty minutes."""
    key = "reports/a b+ü.bin"
    kept = await real.committed(300, key)
    old = real.store.now() - timedelta(minutes=20)
    with pytest.raises(port.AccessDenied):
        await real.store.delete(kept.record.key, timeout=30, signed_at=old)
    assert (await real.store.head(kept.record.key, timeout=30)).size == 300
    answer = await real.delete(kept)
    assert next(some for some in answer.removed if some.kind == "object").size == 300
    with pytest.raises(port.NoSuchKey):
        await real.store.head(kept.record.key, timeout=30)
    again = await real.world.session(content_of(10), object_key=key)
    with pytest.raises(KeyCooling):
        await real.assembly.committer.commit(TENANT, again.id, again.parameters, Deadline.after(60))
    assert (await real.audit())[0] == []
    assert real.events.alarms == []


async def test_a_clean_bucket_has_no_findings_and_forged_ghosts_are_found_beyond_the_first_page(real: Real) -> None:
    """The store lists segment by segment: neighbours of by-session/ and of sessions/ come before or behind them."""
    store = real.store
    chosen = ["by", "by-session-", "by-session.x/y", "zz/top"]
    sessions = [await real.committed(100 + number, key) for number, key in enumerate(["", "", *chosen])]
    await real.world.session(content_of(50))
    for number in range(2 * PAGE):
        await store.put(keys.request_record(TENANT, str(number)), b"{}", timeout=30)
    findings, summary = await real.audit()
    assert findings == []
    assert (summary.objects, summary.sessions) == (len(sessions), len(sessions) + 1)
    assert summary.keys > 10 * PAGE
    ghosts = {
        keys.object_key(TENANT, SessionId("0" * 32), "ghost"): AuditKind.OBJECT_WITHOUT_RECORDS,
        keys.object_key(TENANT, SessionId("f" * 32), "ghost"): AuditKind.OBJECT_WITHOUT_RECORDS,
        f"{TENANT}/by-session/odd": AuditKind.OBJECT_WITHOUT_RECORDS,
        f"{TENANT}/zz/ghost": AuditKind.OBJECT_WITHOUT_RECORDS,
        keys.record(TENANT, SessionId("8" * 32), keys.DECISION): AuditKind.RECORD_WITHOUT_SESSION,
        f".sealane/{TENANT}/sessions-x": AuditKind.UNKNOWN_KEY,
        f".sealane/{TENANT}/sessions/x": AuditKind.UNKNOWN_KEY,
        f".sealane/{TENANT}/zzz": AuditKind.UNKNOWN_KEY,
    }
    for key in ghosts:
        await store.put(key, b"boo", timeout=30)
    lone = keys.object_key(TENANT, SessionId("9" * 32), "part")
    await store.create_multipart(lone, timeout=30, metadata={})
    await store.delete(sessions[0].record.key, timeout=30)
    expected = ghosts | {
        lone: AuditKind.UPLOAD_WITHOUT_SESSION,
        sessions[0].record.key: AuditKind.OBJECT_MISSING,
    }
    findings, _ = await real.audit(repair=True)
    assert {finding.key: finding.kind for finding in findings} == expected
    repaired = {finding.kind for finding in findings if finding.repaired}
    assert repaired == {AuditKind.RECORD_WITHOUT_SESSION, AuditKind.UPLOAD_WITHOUT_SESSION}
    findings, _ = await real.audit()
    assert {finding.kind for finding in findings} == set(expected.values()) - repaired
    for session in sessions[1:]:
        assert (await store.head(session.record.key, timeout=30)).size == len(session.content)
