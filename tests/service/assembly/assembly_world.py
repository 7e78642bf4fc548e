"""A small world for assembly's tests: a simulated bucket, sessions put straight into it, and replicas.

Time is virtual (assembly_time.py); what goes wrong is in assembly_faults.py.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from blake3 import blake3

from assembly_service.assembly import Assembly
from assembly_service.patrol import Pace
from assembly_service.retention import Retention
from assembly_service.statistics import Statistics
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.chunks import Receipt
from sealane.domain.claims import VACANT, ClaimRecord, Precondition
from sealane.domain.decision import CommitParameters, Decision
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits
from sealane.domain.records import DoneRecord, LostRecord, MultipartRecord, SessionRecord, parse_done
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ObjectStore
from sealane.store.retry import RetryBudget, RetryingStore
from sealane.store.simulated import Latency, SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import AWS, SEAWEEDFS, Dialect

T = TypeVar("T")
ChunkCv = Callable[[bytes, int, int], bytes]

TENANT = Tenant("acme")
CHUNK = 1024
LIMITS = Limits(
    min_chunk_bytes=CHUNK, default_chunk_bytes=CHUNK, unknown_size_chunk_bytes=CHUNK, max_chunk_bytes=4 * CHUNK
)
TTL = 3600
RETENTION = Retention()
EXPIRED_AFTER = TTL + RETENTION.grace.total_seconds() + 2
"""Seconds: a session is then older than ttl + grace, whatever the store's whole seconds cut off."""
OUTCOME_AFTER = RETENTION.outcome.total_seconds() + 2
DIALECTS = pytest.mark.parametrize("dialect", [SEAWEEDFS, AWS], ids=["seaweedfs", "aws"])
"""Of the store, where they differ."""
IMPATIENT = Retention(outcome=timedelta(0), receipts=timedelta(0))
"""Answers are forgotten as soon as the store's whole seconds tell then from now: a purge within one stalled call."""


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def chunk_receipt(
    data: bytes, index: int, etag: str, chunk_size: int = CHUNK, cv: ChunkCv = reference_chunk_cv
) -> Receipt:
    return Receipt(
        index=index,
        length=len(data),
        blake3=blake3(data).digest(),
        chaining_value=cv(data, index, chunk_size),
        sha256=hashlib.sha256(data).digest(),
        etag=etag,
    )


class Journal:
    """Events that can be asserted on."""

    def __init__(self) -> None:
        self.alarms: list[tuple[str, dict[str, object]]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []

    def alarm(self, event: str, **facts: object) -> None:
        self.alarms.append((event, facts))

    def note(self, event: str, **facts: object) -> None:
        self.notes.append((event, facts))


class ReceiptsOfStore:
    """Ingest as assembly sees it: one LIST of the store, over a network of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.asked = 0
        self.failure: Exception | None = None
        self.before: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        self.asked += 1
        if self.before is not None:
            await self.before()
        if self.failure is not None:
            raise self.failure
        found: list[Receipt] = []
        cursor: str | None = None
        while True:
            page = await self.store.list_objects(keys.receipts_prefix(tenant, session), timeout=30, cursor=cursor)
            found.extend(keys.parse_receipt(listed.key, listed.last_modified) for listed in page.objects)
            cursor = page.cursor
            if cursor is None:
                return found


@dataclass
class Session:
    """A session in the store, and what its client knows of it."""

    id: SessionId
    record: SessionRecord
    content: bytes
    upload_id: str = ""
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def parameters(self) -> CommitParameters:
        count = -(-len(self.content) // self.record.chunk_size)
        return CommitParameters(count, len(self.content), blake3(self.content).digest())

    def chunk(self, index: int) -> bytes:
        size = self.record.chunk_size
        return self.content[index * size : (index + 1) * size]


@dataclass
class Replica:
    """One assembly, with its own connection to the store and its own ears."""

    assembly: Assembly
    store: SimulatedStore
    receipts: ReceiptsOfStore
    events: Journal

    async def commit(self, session: Session, parameters: CommitParameters | None = None, seconds: float = 300) -> Any:
        return await self.assembly.committer.commit(
            TENANT, session.id, parameters or session.parameters, Deadline.after(seconds)
        )

    async def verify(self, session: Session, parameters: CommitParameters | None = None) -> Any:
        return await self.assembly.verifier.verify(
            TENANT, session.id, parameters or session.parameters, Deadline.after(300)
        )

    async def abort(self, session: Session, seconds: float = 300) -> Any:
        return await self.assembly.aborter.abort(TENANT, session.id, Deadline.after(seconds))

    async def key(self, object_key: str) -> Any:
        return await self.assembly.key_reader.key(TENANT, object_key, Deadline.after(300))

    async def outcome(self, session: Session) -> Any:
        return await self.assembly.outcomes.outcome(TENANT, session.id, Deadline.after(300))

    async def sweep(self, session: Session) -> Any:
        return await self.assembly.sweep.session(TENANT, session.id, Deadline.after(600))

    async def sweep_all(self, *, full: bool = True) -> None:
        await self.assembly.patrol.sweep(full=full)


def ops(replica: Replica) -> list[str]:
    """What the replica has asked of its store."""
    return [call.op for call in replica.store.calls]


class World:
    """One bucket. Make it within :func:`run`."""

    def __init__(
        self,
        dialect: Dialect = SEAWEEDFS,
        *,
        seed: int = 0,
        keep_bytes: bool = True,
        plain: ObjectStore | None = None,
    ) -> None:
        """``plain`` puts sessions into another store; then only what makes sessions is of use here."""
        self.bucket = SimulatedBucket(dialect=dialect, keep_bytes=keep_bytes)
        self.rng = random.Random(seed)
        self.plain: ObjectStore = plain or SimulatedStore(self.bucket)
        """Without latency and faults: the tests' own hands."""
        self._sessions = 0

    def replica(
        self,
        *,
        faults: Any = None,
        latency: Latency | None = None,
        skew: timedelta = timedelta(0),
        retention: Retention = RETENTION,
        pace: Pace | None = None,
        limits: Limits = LIMITS,
        statistics: Statistics | None = None,
    ) -> Replica:
        store = SimulatedStore(self.bucket, faults=faults, latency=latency, skew=skew)
        receipts = ReceiptsOfStore(SimulatedStore(self.bucket, latency=latency))
        events = Journal()
        rng = random.Random(self.rng.random())
        assembly = Assembly.on(
            RetryingStore(store, rng=rng, budget=RetryBudget(per_second=1000)),
            receipts,
            rng=rng,
            events=events,
            limits=limits,
            retention=retention,
            pace=pace,
            statistics=statistics,
        )
        return Replica(assembly, store, receipts, events)

    async def open_session(
        self,
        content: bytes,
        *,
        size: int | None = None,
        ttl: int = TTL,
        chunk_size: int = CHUNK,
        object_key: str = "",
        precondition: Precondition = VACANT,
        content_type: str = "application/x-test",
    ) -> Session:
        """session.json alone. ``precondition`` only counts with ``object_key``."""
        self._sessions += 1
        identity = SessionId(hashlib.sha256(f"session {self._sessions}".encode()).hexdigest()[:32])
        record = SessionRecord(
            session_id=identity,
            key=keys.chosen_object_key(TENANT, object_key)
            if object_key
            else keys.object_key(TENANT, identity, "data.bin"),
            filename="data.bin",
            chunk_size=chunk_size,
            size=size,
            token=f"token-{self._sessions}",
            ttl=ttl,
            content_type=content_type,
            metadata={"colour": "blue"},
            chosen_key=object_key,
            precondition=precondition if object_key else None,
        )
        await self.put_record(Session(identity, record, b""), keys.SESSION, record.encode())
        return Session(identity, record, content)

    async def start_upload(self, session: Session) -> str:
        """A multipart upload as ingest makes it; nothing names it yet."""
        return await self.plain.create_multipart(
            session.record.key,
            timeout=30,
            metadata={**session.record.metadata, keys.TOKEN_METADATA: session.record.token},
            content_type=session.record.content_type,
        )

    async def store_chunk(
        self, session: Session, index: int, data: bytes | None = None, cv: ChunkCv = reference_chunk_cv
    ) -> Receipt:
        """Part and receipt."""
        data = session.chunk(index) if data is None else data
        if not session.upload_id:
            session.upload_id = await self.start_upload(session)
            await self.put_record(session, keys.MULTIPART, MultipartRecord(session.id, session.upload_id).encode())
        etag = await self.store_part(session, index, data)
        receipt = chunk_receipt(data, index, etag, session.record.chunk_size, cv)
        await self.plain.put(keys.receipt(TENANT, session.id, receipt), b"", timeout=30)
        session.receipts.append(receipt)
        return receipt

    async def store_part(self, session: Session, index: int, data: bytes) -> str:
        return await self.plain.upload_part(
            session.record.key, session.upload_id, index + 1, data, sha256=hashlib.sha256(data).digest(), timeout=30
        )

    async def session(self, content: bytes | None = None, *, without: Sequence[int] = (), **given: Any) -> Session:
        """A session whose chunks are all stored, but for ``without``."""
        content = content_of(3 * CHUNK + 100) if content is None else content
        session = await self.open_session(content, **given)
        for index in range(session.parameters.chunk_count):
            if index not in without:
                await self.store_chunk(session, index)
        return session

    async def put_record(self, session: Session, name: str, body: bytes) -> None:
        await self.plain.put(keys.record(TENANT, session.id, name), body, timeout=30, if_absent=True)

    async def claim(self, session: Session, generation: int) -> Decision:
        """A claim of its chosen key and nothing after it: a committer that crashed between claim and decision."""
        key = session.record.chosen_key
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)
        decision = replace(decision, generation=generation)
        body = ClaimRecord(key, decision).encode()
        await self.plain.put(keys.claim(TENANT, key, generation), body, timeout=30, if_absent=True)
        return decision

    async def decide(self, session: Session) -> Decision:
        """decision=COMMIT and nothing after it: a committer that crashed behind C4."""
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)
        await self.put_record(session, keys.DECISION, decision.encode())
        return decision

    # --- what is there ---

    def names(self, session: Session) -> list[str]:
        """Records and receipts of the session, by name."""
        prefix = keys.session_prefix(TENANT, session.id)
        return [key.removeprefix(prefix) for key in self.bucket.keys(prefix)]

    def read(self, session: Session, name: str) -> bytes | None:
        stored = self.bucket.object(keys.record(TENANT, session.id, name))
        return None if stored is None else b"".join(stored.read())

    def done(self, session: Session) -> DoneRecord | LostRecord | None:
        body = self.read(session, keys.DONE)
        return None if body is None else parse_done(body)

    def decision(self, session: Session) -> Decision | None:
        body = self.read(session, keys.DECISION)
        return None if body is None else Decision.parse(body)

    def claims(self, object_key: str) -> list[ClaimRecord]:
        """The log of a chosen key, from generation 1 on."""
        found = []
        for key in self.bucket.keys(keys.claims_prefix(TENANT, object_key)):
            stored = self.bucket.object(key)
            if stored is not None and not key.endswith("/000000000000.json"):
                found.append(ClaimRecord.parse(b"".join(stored.read())))
        return found

    def object(self, session: Session) -> bytes | None:
        stored = self.bucket.object(session.record.key)
        return None if stored is None else b"".join(stored.read())

    def leftovers(self, session: Session) -> list[str]:
        """Everything in the bucket that belongs to the session: object, records, receipts, uploads."""
        prefixes = (keys.session_prefix(TENANT, session.id), keys.own_object_prefix(TENANT, session.id))
        return [
            *(key for prefix in prefixes for key in self.bucket.keys(prefix)),
            *self.bucket.open_uploads(keys.own_object_prefix(TENANT, session.id)),
        ]
