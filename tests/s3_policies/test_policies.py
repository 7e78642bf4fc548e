"""Each service's whole life under its own policy, on a store that enforces it: every call allowed, every right used."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import timedelta
from typing import Any

import pytest

from assembly_service.assembly import Assembly
from assembly_service.retention import Retention
from sealane.domain.claims import ANY
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import GenerationMismatch
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.domain.records import DeletedRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import AccessDenied, NoSuchKey
from sealane.store.probe import probe
from sealane.store.retry import RetryingStore
from sealane.store.s3 import S3Store
from sealane.v1 import ingest_service_pb2 as pb
from tests.s3_policies.conftest import Bucket
from tests.s3_policies.policy import Policy, Use
from tests.service.assembly.assembly_time import eventually
from tests.service.assembly.assembly_world import LIMITS, TENANT, Journal, ReceiptsOfStore, World, content_of
from tests.service.ingest.ingest_replica import running

pytestmark = pytest.mark.real_store
AT_ONCE = Retention(*(timedelta(0),) * 5)
"""Nothing is kept for a while: whatever the sweeper may do, it does now."""
SECONDS = 60.0


def assembly_on(
    guarded: Bucket, identity: str, retention: Retention | None = None
) -> tuple[Assembly, Journal, S3Store]:
    """An assembly with this identity's rights; ingest answers it with its own."""
    store, events, rng = guarded.store(identity), Journal(), random.Random(1)
    receipts = ReceiptsOfStore(guarded.store("ingest"))
    on = RetryingStore(store, rng=rng)
    return Assembly.on(on, receipts, rng=rng, events=events, limits=LIMITS, retention=retention), events, store


def accept(guarded: Bucket, identity: str) -> None:
    """Nothing that the policy refuses was asked, and nothing that it grants was left unused."""
    policy, uses = Policy.of(identity), guarded.uses(identity)
    assert [use for use in uses if not policy.allows(use)] == []
    assert policy.unused(uses) == []


async def proven(store: S3Store) -> None:
    report = await probe(store, entropy=os.urandom, page_keys=10, races=1)
    assert report.missing == ()
    assert report.cleaned


async def test_ingest_needs_what_its_policy_grants_and_no_more(guarded: Bucket) -> None:
    """Probe, create, upload, ask again, list, watch; two replicas that race to start one upload."""
    store, other = guarded.store("ingest"), guarded.store("ingest")
    await proven(store)
    data = content_of(1000)
    kinds: dict[str, Any] = {"limits": Limits(), "memory_budget": 64 << 20, "max_message_bytes": 2 << 20}
    async with running(store, **kinds) as one, running(other, **kinds) as two:
        made = [await one.create(size=len(data), request_id="once", filename="f.bin") for _ in range(2)]
        assert made[0].session_id == made[1].session_id
        session = made[0].session_id
        await one.upload(session, [data])
        assert [c.status for c in (await two.upload(session, [data])).chunks] == [pb.CHUNK_STATUS_DUPLICATE]
        assert (await two.get(session)).coverage.complete
        await one.call("ListSessions", pb.ListSessionsRequest(page_size=5))
        assert len(await one.receipts(session)) == 1
        await one.upload((await one.create(size=1000, object_key="a/chosen.key")).session_id, [data])
        for _ in range(20):  # who starts an upload first is the store's to say: until one has lost
            racing = (await one.create(size=len(data))).session_id
            await asyncio.gather(one.upload(racing, [data]), two.upload(racing, [data]))
            asked = guarded.uses("ingest")
            if any(use.action == "s3:AbortMultipartUpload" and "/by-session/" in use.resource for use in asked):
                break
    await asyncio.gather(store.aclose(), other.aclose())
    accept(guarded, "ingest")


async def test_who_may_not_list_is_not_told_that_old_signatures_are_refused(guarded: Bucket) -> None:
    """R6 is asked by a LIST: an answer to credentials that may not list says nothing of the store."""
    store = guarded.store("stranger")
    with pytest.raises(AccessDenied):
        await store.refuses_old_signature(timedelta(minutes=20), timeout=30)
    await store.aclose()


async def test_assembly_needs_what_its_policy_grants_and_no_more(guarded: Bucket) -> None:
    """Probe, commit at both kinds of key, mend, abort, delete, verify, explain, audit with repair; no sweeper."""
    assembly, events, store = assembly_on(guarded, "assembly")
    await proven(store)
    plain = guarded.store("admin")
    world, deadline = World(plain=plain), Deadline.after(SECONDS)

    async def commit(session: Any) -> Any:
        return await assembly.committer.commit(TENANT, session.id, session.parameters, deadline)

    own = await world.session(content_of(500))
    assert (await assembly.verifier.verify(TENANT, own.id, own.parameters, deadline)) is not None
    await commit(own)
    assert (await commit(own)).replayed
    await commit(await world.session(b""))
    first = await world.session(content_of(600), object_key="k/a")
    assert (await commit(first)).generation == 1
    second = await world.session(content_of(601), object_key="k/a", precondition=ANY)
    assert (await commit(second)).generation == 2
    with pytest.raises(GenerationMismatch):
        await commit(await world.session(content_of(602), object_key="k/a"))
    assert (await assembly.key_reader.key(TENANT, "k/a", deadline)).generation == 2
    overwritten = await world.session(content_of(700))
    await world.store_part(overwritten, 0, content_of(700, seed=3))
    await commit(overwritten)
    aborted = await world.session(content_of(50))
    assert await assembly.aborter.abort(TENANT, aborted.id, deadline) is SessionState.ABORTED
    assert (await assembly.outcomes.outcome(TENANT, aborted.id, deadline))[0] is SessionState.ABORTED
    read = [told async for told in assembly.object_verifier.verify(TENANT, own.id, deadline)]
    assert read[-1].blake3 is not None
    assert await assembly.explainer.explain(TENANT, own.id, deadline)
    for gone in (own, second, await world.session(content_of(80))):
        await assembly.deleter.delete(TENANT, gone.id, deadline)
    audited = [m async for m in assembly.auditor.audit(TENANT, deadline, min_age=timedelta(0), repair=True)]
    assert audited
    assert events.alarms == []
    await asyncio.gather(store.aclose(), plain.aclose())
    accept(guarded, "assembly")


async def test_the_sweeper_needs_what_its_policy_grants_and_no_more(guarded: Bucket) -> None:
    """W1 to W7, each on what it is there for; in the end only what is committed is left."""
    sweeper, events, store = assembly_on(guarded, "sweeper", AT_ONCE)
    committing, _, committer = assembly_on(guarded, "assembly")
    plain = guarded.store("admin")
    world, deadline = World(plain=plain), Deadline.after(SECONDS)
    world._sessions = 1000  # none of the test before
    expired = await world.session(content_of(10), ttl=0)  # W1, W2
    undone = await world.session(content_of(20))
    await world.decide(undone)  # W4
    lone = SessionId("d" * 32)
    await plain.put(keys.record(TENANT, lone, keys.DECISION), Decision(lone, Outcome.ABORT).encode(), timeout=30)  # W3
    deleted = await world.session(content_of(30))
    replaced, newer = [await world.session(content_of(n), object_key="w/k", precondition=ANY) for n in (40, 41)]
    for session in (deleted, replaced, newer):
        await committing.committer.commit(TENANT, session.id, session.parameters, deadline)
    await world.put_record(deleted, keys.DELETED, DeletedRecord(deleted.id).encode())  # W5
    orphans = keys.object_key(TENANT, SessionId("e" * 32), "x"), f"{TENANT}/nobody/s", f"{keys.PROBE}a/b"
    for key in orphans:  # W6
        await plain.create_multipart(key, timeout=30, metadata={})
    await plain.put(f"{keys.PROBE}a/c", b"left", timeout=30)
    await plain.put(keys.request_record(TENANT, "old"), b"{}", timeout=30)

    gone = [keys.session_prefix(TENANT, session) for session in (expired.id, lone, deleted.id, replaced.id)]
    gone += [keys.PROBE, keys.requests_prefix(TENANT)]
    gone += [keys.receipts_prefix(TENANT, session.id) for session in (undone, newer)]

    async def swept() -> bool:
        await sweeper.patrol.sweep(full=True)
        pages = [await plain.list_objects(prefix, timeout=30) for prefix in gone]
        return not any(page.objects for page in pages)

    await eventually(swept, seconds=SECONDS)
    for session in (undone, newer):
        assert (await plain.get(session.record.key, timeout=30)).body == session.content
    with pytest.raises(NoSuchKey):
        await plain.head(deleted.record.key, timeout=30)
    assert [u.key for u in (await plain.list_uploads("", timeout=30)).uploads if u.key in orphans] == []
    assert events.alarms == []
    await asyncio.gather(store.aclose(), committer.aclose(), plain.aclose())
    accept(guarded, "sweeper")


SESSION = SessionId("a" * 32)
OTHER = Tenant("acme")
DECIDING = [keys.record(OTHER, SESSION, name) for name in (keys.DECISION, keys.DONE, keys.DELETED)]
RECEIPT = f"{keys.receipts_prefix(OTHER, SESSION)}00000000.1.x"


@pytest.mark.parametrize(
    ("identity", "method", "key"),
    [
        *(("ingest", "put", key) for key in (*DECIDING, keys.claim(OTHER, "k", 1))),
        *(("ingest", "delete", key) for key in (*DECIDING, RECEIPT, f"{OTHER}/object")),
        ("ingest", "get", f"{OTHER}/object"),
        *((who, "put", key) for who in ("assembly", "sweeper") for key in (RECEIPT, keys.request_record(OTHER, "r"))),
        *((who, "delete", keys.claim(OTHER, "k", 1)) for who in ("assembly", "sweeper")),
        *(("stranger", what, keys.record(OTHER, SESSION, keys.SESSION)) for what in ("get", "put", "delete")),
    ],
)
async def test_what_a_policy_does_not_grant_the_store_refuses(
    guarded: Bucket, identity: str, method: str, key: str
) -> None:
    """A service that is broken into can do what it does, and not what the other one does."""
    store = guarded.store(identity)
    asked = {"put": (key, b"x"), "get": (key,), "delete": (key,)}[method]
    with pytest.raises(AccessDenied):
        await getattr(store, method)(*asked, timeout=30.0)
    await store.aclose()
    action = {"put": "s3:PutObject", "get": "s3:GetObject", "delete": "s3:DeleteObject"}[method]
    if identity != "stranger":
        assert not Policy.of(identity).allows(Use(action, f"arn:aws:s3:::sealane/{key}"))
