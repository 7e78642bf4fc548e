"""The composition root: the one place of assembly that knows every part, the real store and the wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random

from structlog.stdlib import BoundLogger

from assembly_service.assembly import Assembly
from assembly_service.metrics import statistics_for
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.servicer import AssemblyServicer
from assembly_service.settings import AssemblySettings
from sealane import logs, tracing
from sealane.config.quota_watch import watch_quotas
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
from sealane.rpc.server import EXIT_FAILED, serve
from sealane.store.backoff import RetryPolicy
from sealane.store.opened import open_store
from sealane.store.retry import RetryingStore
from sealane.v1 import assembly_service_pb2

SERVICE_NAME = assembly_service_pb2.DESCRIPTOR.services_by_name["AssemblyService"].full_name


class LoggedEvents:
    """Events as lines of the log; an alarm is an error line with ``alarm: true``."""

    def __init__(self, log: BoundLogger) -> None:
        self._log = log

    def alarm(self, event: str, **facts: object) -> None:
        self._log.error(event, alarm=True, **facts)

    def note(self, event: str, **facts: object) -> None:
        self._log.info(event, **facts)


async def run(settings: AssemblySettings, *, limits: Limits | None = None) -> int:
    """Serve until a signal; answer the process's exit code. ``limits`` are for tests with tiny chunks."""
    limits = limits or Limits(default_ttl=settings.default_ttl)
    log = logs.get_logger("assembly_service")
    rng = random.Random(os.urandom(16))  # noqa: S311, TID251 - jitter, not secrets; this is where entropy enters
    metrics = SharedMetrics(new_registry(), "assembly")
    readiness = Readiness()
    drain = asyncio.Event()
    port, gate = open_store(
        settings.s3,
        readiness=readiness,
        ended=metrics.store_call_ended,
        waited=metrics.waited("connection"),
        rng=rng,
        entropy=os.urandom,  # noqa: TID251 - see above
        accept=settings.accepted_weaknesses,
        page_keys=settings.probe_page_keys,
        look_seconds=settings.store_look_seconds,
    )
    statistics = statistics_for(metrics, started=port.now())
    policy = RetryPolicy(attempt_seconds=settings.s3_attempt_seconds, part_seconds=settings.s3_part_seconds)
    metrics.readiness(readiness, lambda: gate.report)
    quotas = Quotas(settings.default_quota)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            tracing.sent_to(settings.traces_endpoint, service="sealane-assembly", sample=settings.traces_sample)
        )
        stack.push_async_callback(port.aclose)
        stack.enter_context(changed_by_signals(settings.log_level))
        try:
            stack.enter_context(exposed(settings.metrics_listen, metrics.registry))
        except OSError as error:
            log.error("cannot_listen", detail=str(error))
            return EXIT_FAILED
        secured = security(settings, port.now)
        stack.push_async_callback(secured.peer.close)
        if (tls := secured.tls) is not None:
            metrics.certificate(lambda: tls.not_after)
        assembly = Assembly.on(
            RetryingStore(port, rng=rng, policy=policy),
            GrpcReceiptsClient(secured.peer, timeout=settings.receipts_timeout, metadata=secured.peer_metadata),
            rng=rng,
            events=LoggedEvents(log),
            limits=limits,
            retention=settings.retention,
            pace=settings.pace,
            policy=policy,
            verify_block_bytes=settings.verify_block_bytes,
            may_sweep=lambda: gate.accepted,
            entropy=os.urandom,  # noqa: TID251 - see above
            statistics=statistics,
        )
        servicer = AssemblyServicer(
            assembly, limits=limits, readings=settings.readings_at_once, checks=settings.max_checks
        )
        return await serve(
            name="assembly",
            settings=settings,
            register=servicer.register,
            service_names=[SERVICE_NAME],
            interceptors=server_interceptors(
                identity=secured.identity,
                settings=settings,
                log=log,
                counters=statistics,
                drain=drain,
                gate=gate,
                observer=metrics,
                rates=RequestRates(quotas),
            ),
            readiness=readiness,
            drain=drain,
            background=[
                gate.run(),
                assembly.patrol.run(),
                watch_quotas(settings.quota_path, quotas),
                metrics.watch_loop(),
                metrics.watch_drain(drain, settings.drain_seconds),
                *secured.background,
            ],
            tls=secured.tls,
        )
