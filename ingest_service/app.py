"""The composition root of ingest: everything is made here, once, and handed to whoever needs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from ingest_service.admission import MemoryBudget
from ingest_service.create import SessionCreator
from ingest_service.hashing import Blake3Hashes, ChunkHasher
from ingest_service.metrics import expose, statistics_for
from ingest_service.multipart import MultipartUploads
from ingest_service.outcome_client import GrpcOutcomeClient
from ingest_service.part_upload import PartUploads
from ingest_service.quota_guard import QuotaGuard
from ingest_service.receipts import Receipts
from ingest_service.receive import Patience, StreamServices
from ingest_service.servicer import SERVICE, IngestServicer, register
from ingest_service.session_list import SessionLister
from ingest_service.sessions import OutcomeClient, Sessions
from ingest_service.settings import IngestSettings
from ingest_service.sha256_batches import Sha256Batches
from ingest_service.standing import Standing
from ingest_service.statistics import Statistics
from ingest_service.task_scope import TaskScope
from ingest_service.usage import Usage
from ingest_service.watch import Watcher, WatchPace
from sealane import logs, tracing
from sealane.config.quota_watch import watch_quotas
from sealane.domain.ids import Entropy
from sealane.domain.limits import Limits
from sealane.domain.quotas import Quotas
from sealane.log_level import changed_by_signals
from sealane.metrics.exposition import exposed
from sealane.metrics.families import new_registry
from sealane.metrics.shared import SharedMetrics
from sealane.rpc.health import Readiness
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.rates import RequestRates
from sealane.rpc.security import security
from sealane.rpc.server import EXIT_FAILED, MAX_FRAME_MESSAGE_BYTES, serve
from sealane.slots import Slots
from sealane.store.backoff import RetryBudget, RetryPolicy
from sealane.store.gate import Report
from sealane.store.opened import open_store
from sealane.store.port import ObjectStore
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords

LAST_UPLOADS_SECONDS = 3.0
"""After the drain, for uploads whose clients have left."""


@dataclass(frozen=True, slots=True)
class Ingest:
    """One replica without its server. ``scope`` must be entered before the first stream, and left last."""

    servicer: IngestServicer
    memory: MemoryBudget
    streams: Slots
    watchers: Slots
    statistics: Statistics
    usage: Usage
    scope: TaskScope

    def drain(self) -> None:
        """Streams finish the chunk in hand, watches end."""
        self.streams.drain()
        self.watchers.drain()


def compose(
    settings: IngestSettings,
    *,
    store: ObjectStore,
    outcome: OutcomeClient,
    blake3_hashes: Blake3Hashes,
    executor: Executor | None,
    entropy: Entropy,
    rng: random.Random,
    limits: Limits,
    report: Callable[[], Report | None],
    batches: Sha256Batches | None = None,
    statistics: Statistics | None = None,
    quotas: Quotas | None = None,
) -> Ingest:
    """Everything between the wire and the store's port; nothing in here knows which store or which executor it is."""
    policy = RetryPolicy(attempt_seconds=settings.s3_attempt_seconds, part_seconds=settings.s3_part_seconds)
    retrying = RetryingStore(store, rng=rng, policy=policy, budget=RetryBudget())
    records = SessionRecords(retrying)
    statistics = statistics or Statistics()
    receipts = Receipts(retrying, executor, at_once=settings.receipts_at_once)
    standing = Standing(records, limits, cached_sessions=settings.cached_sessions)
    scope = TaskScope(grace=min(LAST_UPLOADS_SECONDS, settings.drain_seconds))
    usage = Usage(retrying, scope, refresh_seconds=settings.quota_refresh_seconds)
    guard = QuotaGuard(quotas or Quotas(settings.default_quota), usage)
    memory = MemoryBudget(
        settings.memory_budget,
        max_wait=settings.memory_wait_seconds,
        waited=statistics.memory_wait,
        # What the streams that may be there can have in hand: uploads whose clients have left count, too.
        max_leases=settings.max_streams * settings.parts_in_flight,
        reserved=settings.reserved_share,
        most=guard.bytes_in_flight,
    )
    streams = Slots(settings.max_streams, "upload streams", reserved=settings.reserved_share)
    watchers = Slots(settings.max_watchers, "watchers", reserved=settings.reserved_share)
    sessions = Sessions(
        records=records,
        receipts=receipts,
        outcome=outcome,
        limits=limits,
        bucket=store.bucket,
        outcome_seconds=settings.outcome_seconds,
    )
    parts = PartUploads(
        store=retrying,
        standing=standing,
        receipts=receipts,
        multipart=MultipartUploads(retrying, records, cached=settings.cached_sessions),
        hasher=ChunkHasher(blake3_hashes, executor, batches),
        statistics=statistics,
        quotas=guard,
        scope=scope,
        seconds=settings.chunk_store_seconds,
        at_once=settings.parts_at_once,
    )
    servicer = IngestServicer(
        creator=SessionCreator(
            records=records,
            limits=limits,
            entropy=entropy,
            statistics=statistics,
            quotas=guard,
            bucket=store.bucket,
        ),
        sessions=sessions,
        lister=SessionLister(store=retrying, records=records, sessions=sessions, limits=limits),
        watcher=Watcher(sessions, watchers, WatchPace(settings.watch_seconds, settings.watch_heartbeat_seconds)),
        receipts=receipts,
        stream_services=StreamServices(
            limits=limits,
            standing=standing,
            receipts=receipts,
            memory=memory,
            chunks=parts,
            patience=Patience(settings.stream_idle_seconds, settings.stream_min_rate),
            parts_in_flight=settings.parts_in_flight,
            statistics=statistics,
        ),
        streams=streams,
        statistics=statistics,
        report=report,
        now=store.now,
    )
    return Ingest(servicer, memory, streams, watchers, statistics, usage, scope)


async def run(settings: IngestSettings, *, limits: Limits = Limits()) -> int:  # noqa: B008 - frozen
    """Serve until a signal; the process's exit code. ``settings.default_ttl`` replaces the limits' own."""
    logs.configure(settings.log_level, settings.log_format, "ingest")
    rng = random.SystemRandom()
    entropy: Entropy = os.urandom  # noqa: TID251 - the composition root: entropy is injected from here
    metrics = SharedMetrics(new_registry(), "ingest")
    readiness = Readiness()
    store, gate = open_store(
        settings.s3,
        readiness=readiness,
        ended=metrics.store_call_ended,
        waited=metrics.waited("connection"),
        rng=rng,
        entropy=entropy,
        accept=settings.accepted_weaknesses,
        page_keys=settings.probe_page_keys,
        look_seconds=settings.store_look_seconds,
    )
    metrics.readiness(readiness, lambda: gate.report)
    drain = asyncio.Event()
    quotas = Quotas(settings.default_quota)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(changed_by_signals(settings.log_level))
        try:
            stack.enter_context(exposed(settings.metrics_listen, metrics.registry))
        except OSError as error:
            logs.get_logger("ingest").error("cannot_listen", detail=str(error))
            return EXIT_FAILED
        await stack.enter_async_context(
            tracing.sent_to(settings.traces_endpoint, service="sealane-ingest", sample=settings.traces_sample)
        )
        stack.push_async_callback(store.aclose)
        executor = stack.enter_context(ThreadPoolExecutor(_hashing_threads(), thread_name_prefix="hash"))
        # Side by side: the probe mostly waits for the store, and the kernels keep a processor busy for seconds.
        probing = asyncio.create_task(gate.run(), name="probe and watch")
        stack.push_async_callback(_cancelled, probing)
        blake3_hashes, batches = await asyncio.get_running_loop().run_in_executor(executor, _load_kernels, executor)
        secured = security(settings, store.now)
        stack.push_async_callback(secured.peer.close)
        if (tls := secured.tls) is not None:
            metrics.certificate(lambda: tls.not_after)
        ingest = compose(
            settings,
            store=store,
            outcome=GrpcOutcomeClient(secured.peer, secured.peer_metadata),
            blake3_hashes=blake3_hashes,
            executor=executor,
            entropy=entropy,
            rng=rng,
            limits=replace(limits, default_ttl=settings.default_ttl),
            report=lambda: gate.report,
            batches=batches,
            statistics=statistics_for(metrics),
            quotas=quotas,
        )
        expose(metrics, ingest.memory, ingest.streams, ingest.watchers)
        await stack.enter_async_context(ingest.scope)
        return await serve(
            name="ingest",
            settings=settings,
            register=partial(register, ingest.servicer),
            service_names=(SERVICE,),
            interceptors=server_interceptors(
                identity=secured.identity,
                settings=settings,
                log=logs.get_logger("ingest"),
                counters=ingest.statistics,
                drain=drain,
                gate=gate,
                observer=metrics,
                rates=RequestRates(quotas),
            ),
            readiness=readiness,
            drain=drain,
            background=(
                _result(probing),
                _drain(ingest, drain),
                watch_quotas(settings.quota_path, quotas),
                metrics.watch_loop(),
                metrics.watch_drain(drain, settings.drain_seconds),
                *secured.background,
            ),
            tls=secured.tls,
            max_message_bytes=MAX_FRAME_MESSAGE_BYTES,
        )


def _load_kernels(executor: Executor) -> tuple[Blake3Hashes, Sha256Batches | None]:
    """Compile the kernels, or load them; no batches where SHA-256 is as well computed chunk by chunk."""
    # They cost 150 MiB and 2 s, and only this service needs them: so neither tests nor the simulation load them.
    from sealane.domain import blake3_kernel, sha256_extensions, sha256_kernel

    blake3_kernel.compile_kernel()
    batches: Sha256Batches | None = None
    if sha256_extensions.available():
        sha256_extensions.compile_kernel()
        in_step, lanes = sha256_extensions.sha256_of_each, sha256_extensions.LANES
        batches = Sha256Batches(in_step, executor, lanes=lanes, fewest=sha256_extensions.FEWEST)
    elif (fewest := sha256_kernel.fewest_worthwhile()) is not None:
        sha256_kernel.compile_kernel()
        batches = Sha256Batches(sha256_kernel.sha256_of_each, executor, lanes=sha256_kernel.LANES, fewest=fewest)
    return blake3_kernel.digest_and_cv, batches


async def _result(task: asyncio.Task[None]) -> None:
    """What a task that began before its scope ends with; a scope that is cancelled takes it along."""
    await task


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # said already, or overtaken by a worse one


async def _drain(ingest: Ingest, drain: asyncio.Event) -> None:
    await drain.wait()
    ingest.drain()


def _hashing_threads() -> int:
    """One a processor, and two at least: a chunk's hashing must not wait for a coverage being merged."""
    return max(2, len(os.sched_getaffinity(0)))
