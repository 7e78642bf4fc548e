"""Assembly's own work in the commit of a large object: its real code, in this process, on the simulated store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time

from assembly_service.assembly import Assembly
from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters
from sealane.domain.ids import SessionId, Tenant, new_session_id, new_token
from sealane.domain.limits import KiB, Limits
from sealane.domain.records import MultipartRecord, SessionRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore

_TENANT = Tenant("default")
_CHUNK = 1 * KiB
_LIMITS = Limits(min_chunk_bytes=_CHUNK, default_chunk_bytes=_CHUNK)
_SECONDS = 600.0


def commit_seconds(chunks: int) -> float:
    """Seconds that CommitSession takes of an object of ``chunks`` chunks whose parts and receipts are in the store."""
    return asyncio.run(_commit(chunks))


async def _commit(chunks: int) -> float:
    simulated = SimulatedStore()
    rng = random.Random(1)
    store = RetryingStore(simulated, rng=rng)
    deadline = Deadline.after(_SECONDS)
    session = new_session_id(os.urandom)
    receipts = await _stored(store, session, chunks, deadline)
    digest = object_digest([ChunkHash(receipt.blake3, receipt.chaining_value) for receipt in receipts])
    committer = Assembly.on(store, _Receipts(store), rng=rng, events=_Silent(), limits=_LIMITS).committer
    begin = time.perf_counter()
    committed = await committer.commit(_TENANT, session, CommitParameters(chunks, chunks * _CHUNK, digest), deadline)
    seconds = time.perf_counter() - begin
    if committed.blake3 != digest:
        raise AssertionError("the commit answered another digest")
    return seconds


async def _stored(store: RetryingStore, session: SessionId, chunks: int, deadline: Deadline) -> list[Receipt]:
    """What ingest leaves behind: the records, a part and a receipt for each chunk."""
    key = keys.object_key(_TENANT, session, "largest")
    record = SessionRecord(
        session_id=session,
        key=key,
        filename="largest",
        chunk_size=_CHUNK,
        size=chunks * _CHUNK,
        token=new_token(os.urandom),
        ttl=3600,
        content_type="application/octet-stream",
    )
    await store.put_if_absent(keys.record(_TENANT, session, keys.SESSION), record.encode(), deadline)
    upload = await store.create_multipart(key, deadline, metadata={keys.TOKEN_METADATA: record.token})
    multipart = MultipartRecord(session, upload)
    await store.put_if_absent(keys.record(_TENANT, session, keys.MULTIPART), multipart.encode(), deadline)
    receipts: list[Receipt] = []
    for index in range(chunks):
        data = index.to_bytes(8, "little") * (_CHUNK // 8)
        sha256 = hashlib.sha256(data).digest()
        etag = await store.upload_part(key, upload, index + 1, data, deadline, sha256=sha256)
        # No tree of the data: the commit merges chaining values, whatever they are of.
        receipt = Receipt(index, _CHUNK, sha256, hashlib.sha256(sha256).digest(), sha256, etag)
        await store.put(keys.receipt(_TENANT, session, receipt), b"", deadline)
        receipts.append(receipt)
    return receipts


class _Receipts:
    """What ingest answers assembly: the receipts by LIST."""

    def __init__(self, store: RetryingStore) -> None:
        self._store = store

    async def receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        prefix = keys.receipts_prefix(tenant, session)
        return [keys.parse_receipt(listed.key) async for listed in self._store.list_all(prefix, deadline)]


class _Silent:
    """Nobody to tell."""

    def alarm(self, event: str, **facts: object) -> None:
        raise AssertionError(f"alarm in a plain commit: {event} {facts}")

    def note(self, event: str, **facts: object) -> None:
        pass
