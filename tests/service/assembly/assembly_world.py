"""A small world for assembly's tests: a simulated bucket, sessions put straight into it, replicas, and what goes wrong.

Time is virtual: nothing here waits for real seconds, and one seed gives one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import selectors
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

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
from sealane.store.port import ObjectStore, OutcomeUnknown, StoreError
from sealane.store.retry import RetryBudget, RetryingStore
from sealane.store.simulated import Latency, SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import SEAWEEDFS, Dialect

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
IMPATIENT = Retention(outcome=timedelta(0), receipts=timedelta(0))
"""Answers are forgotten as soon as the store's whole seconds tell then from now: a purge within one stalled call."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeps take no time: waiting moves the clock instead."""

    def __init__(self) -> None:
        loop = self
        self.virtual_now = 1_000_000.0

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                assert timeout is not None, "nothing left to wait for: a deadlock"
                loop.virtual_now += max(0.0, timeout)
                return super().select(0)

        super().__init__(Selector())
        self._clock_resolution = 1e-6  # years from 0, a float can't tell nanoseconds apart

    def time(self) -> float:
        return self.virtual_now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once, on the loop: a thread's end is nothing that virtual time could wait for."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the awaiting code gets whatever the job raised
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def wait(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


async def eventually(condition: Callable[[], bool | Coroutine[Any, Any, bool]], seconds: float = 30) -> None:
    """Wait for a condition, in real time; TimeoutError if it never holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.01)


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


# --- what goes wrong ---


class Crash(BaseException):
    """The process is gone: no handler may run on, and none may catch this."""


class Fault:
    """``action`` at the ``nth`` call that ``op`` and the key's ending fit; all others pass. ``fired`` counts."""

    def __init__(
        self,
        op: str,
        ending: str,
        action: Callable[[Callable[[], Any]], Any],
        *,
        nth: int = 1,
        times: int = 1,
    ) -> None:
        self.op, self.ending, self.action = op, ending, action
        self.nth, self.times = nth, times
        self.seen = self.fired = 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        if op == self.op and key.endswith(self.ending):
            self.seen += 1
            if self.nth <= self.seen < self.nth + self.times:
                self.fired += 1
                return await _awaited(self.action(effect))
        return effect()


class Faults:
    """Several at once: the first whose call fits acts."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        for fault in self.faults:
            if op == fault.op and key.endswith(fault.ending):
                return await fault.around(op, key, effect)
        return effect()


async def _awaited(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


def refuses(error: StoreError) -> Callable[[Callable[[], Any]], Any]:
    """The call never takes effect, and answers ``error``."""

    def act(effect: Callable[[], Any]) -> Any:
        raise error

    return act


def loses_answer(effect: Callable[[], Any]) -> Any:
    """The call takes effect; its answer is lost."""
    effect()
    raise OutcomeUnknown("the answer was lost")


def lands_late(seconds: float) -> Callable[[Callable[[], Any]], Any]:
    """No answer now; the call takes effect ``seconds`` later, if it still can."""

    def act(effect: Callable[[], Any]) -> Any:
        def land() -> None:
            with contextlib.suppress(StoreError):
                effect()

        asyncio.get_running_loop().call_later(seconds, land)
        raise OutcomeUnknown("no answer")

    return act


def first(other: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[Callable[[], Any]], Any]:
    """``other`` happens to the end while the call is on its way."""

    async def act(effect: Callable[[], Any]) -> Any:
        await other()
        return effect()

    return act


def stalls(until: asyncio.Event) -> Callable[[Callable[[], Any]], Any]:
    """The process stands still before the call, as under SIGSTOP."""

    async def act(effect: Callable[[], Any]) -> Any:
        await until.wait()
        return effect()

    return act


class CrashAt:
    """The process dies at its ``nth`` call, "before" it takes effect or "after"."""

    def __init__(self, nth: int, moment: str) -> None:
        self.nth, self.moment = nth, moment
        self.calls = 0

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.nth:
            if self.moment == "after":
                with contextlib.suppress(StoreError):
                    effect()
            raise Crash(f"{self.moment} call {self.nth}: {op} {key}")
        return effect()


def seeded_latency(seed: int) -> Latency:
    """0…50 ms each way, and one call in twenty takes seconds: as on a bad day."""
    rng = random.Random(seed)

    def latency(op: str, key: str) -> float:
        return rng.uniform(0.5, 8.0) if rng.random() < 0.05 else rng.uniform(0.0, 0.05)

    return latency
