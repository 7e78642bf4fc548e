"""An audit of a small world; sessions in every state, and one ghost of each kind, for it to look at."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from assembly_world import CHUNK, TENANT, Replica, Session, World, content_of

from assembly_service.audit import Message
from assembly_service.audit_findings import AuditKind, Finding, Summary
from sealane.domain.ids import SessionId
from sealane.domain.records import DeletedRecord
from sealane.store import keys
from sealane.store.deadline import Deadline

QUARTER = timedelta(minutes=15)
LATER = QUARTER.total_seconds() + 2


async def audit(
    replica: Replica, *, min_age: timedelta = QUARTER, repair: bool = False
) -> tuple[list[Finding], Summary, list[Message]]:
    walk = replica.assembly.auditor.audit(TENANT, Deadline.after(3000), min_age=min_age, repair=repair)
    messages = [message async for message in walk]
    assert isinstance(messages[-1], Summary)
    findings = [message for message in messages if isinstance(message, Finding)]
    return findings, messages[-1], messages


def kinds(findings: list[Finding]) -> list[AuditKind]:
    return [finding.kind for finding in findings]


async def every_state(world: World) -> dict[str, Session]:
    """A session in each state that a living service has."""
    made = {name: await world.session(content_of(2 * CHUNK + 5, seed)) for seed, name in enumerate(STATES, start=1)}
    made["fresh"] = await world.open_session(b"")
    for name in ("committed", "deleted", "swept"):
        await world.replica().commit(made[name])
    await world.replica().abort(made["aborted"])
    await world.decide(made["committing"])
    await world.replica().assembly.deleter.delete(TENANT, made["deleted"].id, Deadline.after(60))
    return made


STATES = ("open", "committed", "aborted", "committing", "deleted", "swept")


async def forged_claims(world: World) -> set[str]:
    """Records that stop a key, and that no session names: the newest of its log, one of another log, a name."""
    sound = await world.session(content_of(CHUNK, 28), object_key="logs/sound")
    await world.replica().commit(sound)
    body = b"".join(world.bucket.object(keys.claim(TENANT, "logs/sound", 1)).read())
    forged = {
        keys.claim(TENANT, "logs/newest", 2): b'{"version": 7}',
        keys.claim(TENANT, "logs/copied", 1): body,
        keys.claim(TENANT, "logs/renumbered", 2): body.replace(b'"logs/sound"', b'"logs/renumbered"'),
        keys.claim(TENANT, "logs/folder", 0): b"not json",
    }
    for key, value in forged.items():
        await world.plain.put(key, value, timeout=30)
    await world.plain.put(keys.claim(TENANT, "logs/newest", 1), body, timeout=30)  # not the newest: not read
    return set(forged)


async def ghosts(world: World) -> dict[AuditKind, set[str]]:
    """One of each, put straight into the bucket; answers the keys that must be named."""
    expected: dict[AuditKind, set[str]] = {}
    store = world.plain
    missing = await world.session(content_of(CHUNK + 1, 21))
    await world.replica().commit(missing)
    await store.delete(missing.record.key, timeout=30)
    replaced = await world.session(content_of(CHUNK + 1, 22))
    await world.replica().commit(replaced)
    await store.put(replaced.record.key, b"another's", timeout=30)
    expected[AuditKind.OBJECT_MISSING] = {missing.record.key, replaced.record.key}

    stray = SessionId("f" * 32)
    of_nobody = keys.object_key(TENANT, stray, "ghost.bin")
    await store.put(of_nobody, b"boo", timeout=30)
    odd = f"{TENANT}/by-session/odd"
    await store.put(odd, b"boo", timeout=30)
    chosen = f"{TENANT}/reports/ghost.pdf"
    await store.put(chosen, b"boo", timeout=30)
    still_open = await world.session(content_of(CHUNK, 23))
    await store.put(still_open.record.key, b"boo", timeout=30)
    expected[AuditKind.OBJECT_WITHOUT_RECORDS] = {of_nobody, odd, chosen, still_open.record.key}

    torn = await world.session(content_of(3 * CHUNK, 24))
    await store.delete(keys.record(TENANT, torn.id, keys.SESSION), timeout=30)
    expected[AuditKind.RECORD_WITHOUT_SESSION] = {keys.record(TENANT, torn.id, keys.MULTIPART)}
    expected[AuditKind.RECEIPT_WITHOUT_SESSION] = {min(world.bucket.keys(keys.receipts_prefix(TENANT, torn.id)))}

    second = await world.session(content_of(CHUNK, 25))
    await world.start_upload(second)
    lone = await store.create_multipart(f"{TENANT}/reports/lone", timeout=30, metadata={})
    await store.upload_part(
        f"{TENANT}/reports/lone", lone, 1, b"xyz", sha256=hashlib.sha256(b"xyz").digest(), timeout=30
    )
    expected[AuditKind.UPLOAD_WITHOUT_SESSION] = {torn.record.key, second.record.key, f"{TENANT}/reports/lone"}

    half = await world.session(content_of(CHUNK, 26))
    await world.replica().commit(half)
    await world.put_record(half, keys.DELETED, DeletedRecord(half.id).encode())
    expected[AuditKind.SESSION_OVERDUE] = {keys.session_prefix(TENANT, half.id)}

    forged = await world.open_session(b"")
    await store.put(keys.record(TENANT, forged.id, keys.DONE), b'{"version": 7}', timeout=30)
    bad_receipt = await world.session(content_of(CHUNK, 27))
    await store.put(keys.receipts_prefix(TENANT, bad_receipt.id) + "00000001.x", b"", timeout=30)
    expected[AuditKind.BAD_RECORD] = {
        keys.session_prefix(TENANT, forged.id),
        keys.receipts_prefix(TENANT, bad_receipt.id) + "00000001.x",
        *await forged_claims(world),
    }

    ended = await world.session(content_of(2 * CHUNK, 29))
    await store.abort_multipart(ended.record.key, ended.upload_id, timeout=30)
    unnamed = await world.session(content_of(CHUNK, 30))
    await store.delete(keys.record(TENANT, unnamed.id, keys.MULTIPART), timeout=30)
    expected[AuditKind.UPLOAD_MISSING] = {ended.record.key, unnamed.record.key}

    unknown = {
        f".sealane/{TENANT}/sessions/not-a-session",
        f".sealane/{TENANT}/sessions/{second.id}/future.json",
        f".sealane/{TENANT}/who/knows",
        f".sealane/{TENANT}/requests/short.json",
        f".sealane/{TENANT}/claims/{'0' * 64}/1.json",
    }
    for key in unknown:
        await store.put(key, b"?", timeout=30)
    expected[AuditKind.UNKNOWN_KEY] = unknown
    return expected
