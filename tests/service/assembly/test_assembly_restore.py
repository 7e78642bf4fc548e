"""A bucket that was copied by plain S3, records first and then objects, as docs/operations.md says ("Back up")."""

from __future__ import annotations

import dataclasses
import io
import random
import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
from assembly_world import TENANT, Journal, ReceiptsOfStore, Session, World, content_of
from minio import Minio
from minio.commonconfig import CopySource

from assembly_service.assembly import Assembly
from assembly_service.audit_findings import AuditKind, Finding
from assembly_service.retention import Retention
from sealane.dev.seaweed import SeaweedFS
from sealane.domain.claims import ANY
from sealane.domain.errors import SessionLost
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.s3 import S3Settings, S3Store

pytestmark = pytest.mark.real_store


@pytest.fixture
def restored(plain_s3: Minio) -> Iterator[str]:
    """An empty bucket to restore into."""
    name = f"restored-{secrets.token_hex(6)}"
    plain_s3.make_bucket(name)
    yield name
    plain_s3.remove_bucket(name)


def copy(plain_s3: Minio, source: str, target: str, *, metadata: bool = True) -> None:
    """As `aws s3 sync` would: one listing for the records, one for the objects; multipart uploads are not listed."""
    for records in (True, False):
        for listed in plain_s3.list_objects(source, recursive=True):
            key = str(listed.object_name)
            if key.startswith(".sealane/") is not records:
                continue
            if metadata:
                plain_s3.copy_object(target, key, CopySource(source, key))
            else:
                body = plain_s3.get_object(source, key).data
                plain_s3.put_object(target, key, io.BytesIO(body), len(body))


def assembly_on(seaweed: SeaweedFS, bucket: str) -> tuple[Assembly, World, S3Store, Journal]:
    settings = S3Settings(
        endpoint=seaweed.endpoint, bucket=bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key
    )
    store, events, rng = S3Store(settings), Journal(), random.Random(1)
    on, retention = RetryingStore(store, rng=rng), Retention(receipts=timedelta(0))
    assembly = Assembly.on(on, ReceiptsOfStore(store), rng=rng, events=events, retention=retention)
    return assembly, World(plain=store), store, events


async def findings(assembly: Assembly) -> list[Finding]:
    walk = assembly.auditor.audit(TENANT, Deadline.after(60), min_age=timedelta(0))
    return [message async for message in walk if isinstance(message, Finding)]


async def commit(assembly: Assembly, session: Session) -> object:
    return await assembly.committer.commit(TENANT, session.id, session.parameters, Deadline.after(60))


@pytest.mark.parametrize("metadata", [True, False], ids=["with user metadata", "without"])
async def test_a_restored_bucket_answers_as_before_if_user_metadata_was_kept(
    seaweed: SeaweedFS, bucket: str, restored: str, plain_s3: Minio, metadata: bool
) -> None:
    """Own key and chosen key, with a generation that was replaced: same answers, same bytes, nothing strange; without
    metadata nobody can tell whose an object is, and the audit says so."""
    assembly, world, store, _ = assembly_on(seaweed, bucket)
    own = await world.session(content_of(900))
    first = await world.session(content_of(901), object_key="a/key")
    second = await world.session(content_of(902), object_key="a/key", precondition=ANY)
    answers = [await commit(assembly, session) for session in (own, first, second)]
    open_ = await world.session(content_of(30))
    copy(plain_s3, bucket, restored, metadata=metadata)

    other, _, copied, events = assembly_on(seaweed, restored)
    found = await findings(other)
    if not metadata:
        assert {own.id, second.id} <= {finding.session for finding in found}
    else:
        assert [(finding.kind, finding.session) for finding in found] == [(AuditKind.UPLOAD_MISSING, open_.id)]
        again = [await commit(other, session) for session in (own, first, second)]
        wanted = [dataclasses.replace(answer, bucket=restored, replayed=True) for answer in answers]  # type: ignore[type-var]
        assert again == wanted
        for session in (own, second):
            read = [told async for told in other.object_verifier.verify(TENANT, session.id, Deadline.after(60))]
            assert read[-1].blake3 == session.parameters.blake3
        await other.patrol.sweep(full=True)
        assert [finding.session for finding in await findings(other)] == [open_.id]
        with pytest.raises(SessionLost):  # its parts were nowhere to be copied from
            await commit(other, open_)
        assert (await copied.head(own.record.key, timeout=30)).size == 900
        assert all("lost" in event for event, _ in events.alarms)
    await store.aclose()
    await copied.aclose()
