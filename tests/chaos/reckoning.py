"""The end: what is in the bucket, through plain S3, against what the clients were told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import urllib3
from minio import Minio, S3Error

from sealane.client import Client
from sealane.client.errors import SealaneError, is_transient
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.s3 import S3Settings, S3Store

from .cluster import TENANT, Cluster
from .ledger import Entry, Ledger

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
    uploads: list[str] = field(default_factory=list)


async def reckon(cluster: Cluster, ledger: Ledger, client: Client, *, patience: float) -> Verified:
    """Everything is up and no fault is on. Waits ``patience`` seconds for what has to go to be gone."""
    verified = Verified()
    s3 = _plain(cluster)
    bucket = cluster.store.bucket
    for entry in ledger.entries:
        _answers(entry, ledger)
    committed = {entry.session_id: entry for entry in ledger.entries if entry.answers}
    known = {entry.session_id for entry in ledger.entries}
    await _end_strangers(client, known, verified)
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while ghosts := await asyncio.to_thread(lambda: list(_ghosts(s3, bucket, committed, verified))):
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
    verified.gone = sum(not entry.answers for entry in ledger.entries)
    for entry in committed.values():
        await asyncio.to_thread(_object, s3, bucket, entry, ledger, verified)
    return verified


def _answers(entry: Entry, ledger: Ledger) -> None:
    name = f"{entry.kind} {entry.seed} {entry.session_id}"
    if any(answer != entry.answers[0] for answer in entry.answers):
        ledger.violation(f"I6: {name}: answers differ: {entry.answers}")
    if entry.answers and entry.refusals:
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


def _ghosts(s3: Minio, bucket: str, committed: dict[str, Entry], verified: Verified) -> Iterator[str]:
    """Every key of the bucket that no committed session explains."""
    verified.keys = verified.probe_leftovers = 0
    for found in s3.list_objects(bucket, recursive=True):
        key = found.object_name or ""
        verified.keys += 1
        if key.startswith(keys.PROBE):
            verified.probe_leftovers += 1  # of killed probes: they have a retention of their own
        elif keys.parse_request_key(key) is not None:
            continue  # remembered for a month
        elif owner := keys.parse_object_key(key):
            if owner.tenant != TENANT or owner.session not in committed:
                yield key
        elif (
            (record := keys.parse_session_key(key)) is None
            or record.session not in committed
            or record.rest not in _KEPT
        ):
            yield key


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
