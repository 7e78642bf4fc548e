"""A real assembly beside the ingest under test, over gRPC, on the same store."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from grpc import aio
from ingest_replica import TINY, settings

from assembly_service.assembly import Assembly
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.servicer import AssemblyServicer
from sealane.domain.ids import Tenant
from sealane.identity.caller import StaticIdentity
from sealane.logs import get_logger
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import server_options
from sealane.store.port import ObjectStore
from sealane.store.retry import RetryingStore
from sealane.v1 import assembly_service_pb2_grpc


@dataclass
class Counts:
    errors_by_reason: Counter[str] = field(default_factory=Counter)


class Silent:
    """Events that nobody reads."""

    def alarm(self, event: str, **facts: object) -> None: ...

    def note(self, event: str, **facts: object) -> None: ...


@asynccontextmanager
async def assembly_at(address: str, store: ObjectStore, ingest: str) -> AsyncIterator[Any]:
    """An assembly that listens on ``address`` until the block ends; its stub."""
    rng = random.Random(5)
    async with channel(ingest, own_connection=True) as to_ingest:
        assembly = Assembly.on(
            RetryingStore(store, rng=rng),
            GrpcReceiptsClient(to_ingest, timeout=10.0),
            rng=rng,
            events=Silent(),
            limits=TINY,
        )
        server = aio.server(
            interceptors=server_interceptors(
                identity=StaticIdentity(Tenant("default")),
                settings=settings(),
                log=get_logger("test"),
                counters=Counts(),
            ),
            options=server_options(100, 1 << 20),
        )
        AssemblyServicer(assembly, limits=TINY).register(server)
        server.add_insecure_port(address)
        await server.start()
        try:
            async with channel(address, own_connection=True) as to_us:
                yield assembly_service_pb2_grpc.AssemblyServiceStub(to_us)
        finally:
            await server.stop(0)
