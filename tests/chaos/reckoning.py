"""The end: what is in the bucket, through plain S3, against what the clients were told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import urllib3
from minio import Minio, S3Error

from sealane.client import Client
from sealane.client.audit import AuditSummary
from sealane.client.errors import SealaneError, is_transient
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.s3 import S3Settings, S3Store

from .cluster import TENANT, Cluster
from .ledger import Entry, Ledger

TENANT_ID = Tenant(TENANT)
_KEPT = {keys.SESSION, keys.MULTIPART, keys.DECISION, keys.DONE}
"""What is left of a committed session, once its receipts are gone."""


@dataclass(slots=True)
class Verified:
    """What was found to be as it should."""

    objects: int = 0
    bytes: int = 0
    acknowledged_chunks: int = 0
    keys: int = 0
    gone: int = 0
    """Sessions of which nothing is left."""
    strangers: int = 0
    """Sessions made by calls whose answer never came."""
    probe_leftovers: int = 0
    generations: int = 0
    """Of chosen keys, each made once."""
    audited_keys: int = 0


async def reckon(cluster: Cluster, ledger: Ledger, client: Client, *, patience: float) -> Verified:
    """Everything is up and no fault is on. Waits ``patience`` seconds for what has to go to be gone."""
    verified = Verified()
    s3 = _plain(cluster)
    bucket = cluster.store.bucket
    for entry in ledger.entries:
        _answers(entry, ledger)
    holders = ledger.holders()
    own = (entry for entry in ledger.entries if entry.answers and not entry.object_key and not entry.deleted)
    committed = {entry.session_id: entry for entry in (*own, *holders.values())}
    released = {entry.object_key for entry in ledger.entries if entry.deleted and entry.object_key}
    known = {entry.session_id for entry in ledger.entries}
    await _end_strangers(client, known, verified)
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    explained = _Explained(s3, bucket, committed, set(holders), released)
    while ghosts := await asyncio.to_thread(lambda: list(_ghosts(explained, verified))):
        if loop.time() > until:
            for ghost in ghosts[:50]:
                ledger.violation(f"left after {patience:g} s: {ghost}")
            break
        await asyncio.sleep(1.0)
    while uploads := await _uploads(cluster):
        if loop.time() > until:
            for upload in uploads[:50]:
                ledger.violation(f"an upload is left after {patience:g} s: {upload}")
            break
        await asyncio.sleep(1.0)
    verified.gone = sum(entry.session_id not in committed for entry in ledger.entries)
    verified.generations = sum(entry.generation > 0 for entry in ledger.entries)
    for key, holder in holders.items():
        await _holds(client, key, holder, ledger)
    await _audit(client, ledger, verified)
    for entry in committed.values():
        await asyncio.to_thread(_object, s3, bucket, entry, ledger, verified)
    return verified


def _answers(entry: Entry, ledger: Ledger) -> None:
    name = f"{entry.kind} {entry.seed} {entry.session_id}"
    if any(answer != entry.answers[0] for answer in entry.answers):
        ledger.violation(f"I6: {name}: answers differ: {entry.answers}")
    if entry.answers and entry.refusals and not entry.deleted:
        ledger.violation(f"I8: {name}: committed, and yet answered {entry.refusals}")


async def _end_strangers(client: Client, known: set[str], verified: Verified) -> None:
    """A create whose answer was lost leaves an OPEN session to W1; its ttl is longer than we wait."""
    async for session in client.list_sessions(timeout=60.0):
        if session.session_id in known or session.state is not SessionState.OPEN:
            continue
        while True:
            try:
                await client.abort_session(session.session_id)
            except SealaneError as error:
                if is_transient(error):
                    continue
            break
        verified.strangers += 1


@dataclass
class _Explained:
    """What may be in the bucket."""

    s3: Minio
    bucket: str
    committed: dict[str, Entry]
    held: set[str]
    """Chosen keys with an object."""
    released: set[str]
    """Chosen keys whose object was deleted: the tombstone's session holds them."""
    tombstones: set[str] = field(default_factory=set)

    def record(self, session: str, rest: str) -> bool:
        if rest not in _KEPT:
            return False
        return session in self.committed or session in self.tombstones or self._is_tombstone(session)

    def _is_tombstone(self, session: str) -> bool:
        """Of a key that a client has deleted."""
        try:
            response = self.s3.get_object(self.bucket, keys.record(TENANT_ID, SessionId(session), keys.SESSION))
        except S3Error:
            return False
        try:
            record = SessionRecord.parse(response.data)
        finally:
            response.close()
            response.release_conn()
        if not record.tombstone or record.chosen_key not in self.released:
            return False
        self.tombstones.add(session)
        return True


def _ghosts(explained: _Explained, verified: Verified) -> Iterator[str]:
    """Every key of the bucket that neither a committed session nor a chosen key explains."""
    verified.keys = verified.probe_leftovers = 0
    for found in explained.s3.list_objects(explained.bucket, recursive=True):
        key = found.object_name or ""
        verified.keys += 1
        if key.startswith(keys.PROBE):
            verified.probe_leftovers += 1  # of killed probes: they have a retention of their own
        elif keys.parse_request_key(key) is not None or keys.parse_claim_key(key) is not None:
            continue  # remembered for a month, and for ever
        elif owner := keys.parse_object_key(key):
            if owner.tenant != TENANT or owner.session not in explained.committed:
                yield key
        elif record := keys.parse_session_key(key):
            if not explained.record(record.session, record.rest):
                yield key
        elif key.removeprefix(f"{TENANT}/") not in explained.held:
            yield key


async def _holds(client: Client, key: str, holder: Entry, ledger: Ledger) -> None:
    """I16: the key's holder is the highest generation that was answered."""
    state = await client.get_key(key, timeout=60.0)
    if state.generation != holder.generation:
        ledger.violation(f"I16: {key}: generation {holder.generation} was answered, and {state.generation} holds it")


async def _audit(client: Client, ledger: Ledger, verified: Verified) -> None:
    """Sealane's own audit, of everything however young."""
    async for each in client.audit(min_age=0.0):
        if isinstance(each, AuditSummary):
            verified.audited_keys = each.keys
        else:
            ledger.violation(f"audit: {each}")


async def _uploads(cluster: Cluster) -> list[str]:
    store = cluster.store
    adapter = S3Store(
        S3Settings(store.endpoint, store.bucket, access_key=store.access_key, secret_key=store.secret_key)
    )
    try:
        page = await adapter.list_uploads("", timeout=30.0)
        return [upload.key for upload in page.uploads if not upload.key.startswith(keys.PROBE)]
    finally:
        await adapter.aclose()


def _object(s3: Minio, bucket: str, entry: Entry, ledger: Ledger, verified: Verified) -> None:
    """I4: the object's bytes are the chunks in their order."""
    answer = entry.answers[0]
    try:
        response = s3.get_object(bucket, answer.key)
    except S3Error as error:
        ledger.violation(f"I4: {entry.session_id}: answered as committed, and plain S3 says {error.code}")
        return
    try:
        body, etag = response.data, response.headers["etag"].strip('"')
    finally:
        response.close()
        response.release_conn()
    if body != entry.content or etag != answer.etag or answer.size != len(body):
        ledger.violation(f"I4: {entry.session_id}: {len(body)} bytes with ETag {etag} are not what was committed")
        return
    verified.objects += 1
    verified.bytes += len(body)
    verified.acknowledged_chunks += len(entry.acknowledged)


def _plain(cluster: Cluster) -> Minio:
    store = cluster.store
    return Minio(
        store.endpoint.removeprefix("http://"),
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(
            retries=urllib3.Retry(total=False), timeout=urllib3.Timeout(connect=5.0, read=120.0)
        ),
    )
