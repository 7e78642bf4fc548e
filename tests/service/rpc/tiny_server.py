"""A real grpc.aio server on a free port, its log caught line by line."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import structlog
from grpc import aio
from tiny_service import RULES, Tiny

from sealane.domain.ids import Tenant
from sealane.identity.caller import StaticIdentity
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import server_options


@dataclass
class Settings:
    """What serve() and the interceptors are told."""

    listen: str = "127.0.0.1:0"
    health_listen: str = "127.0.0.1:0"
    drain_seconds: float = 30.0
    max_concurrent_streams: int = 100
    default_timeout: float = 30.0
    max_timeout: float = 60.0
    max_stream_timeout: float = 90.0
    max_connection_age: float = 1800.0


@dataclass
class Counts:
    """What the boundary counts into, where no test looks at it."""

    errors_by_reason: Counter[str] = field(default_factory=Counter)


@dataclass
class Served:
    """A running server and what is seen from outside and inside."""

    tiny: Tiny
    target: str
    channel: aio.Channel
    drain: asyncio.Event
    lines: list[Any] = field(default_factory=list)
    errors_by_reason: Counter[str] = field(default_factory=Counter)

    @property
    def outcomes(self) -> list[Any]:
        """The lines of calls that ended."""
        return [line for line in self.lines if line["event"] == "rpc"]


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@contextlib.asynccontextmanager
async def serving(settings: Settings | None = None, **changes: Any) -> AsyncIterator[Served]:
    """A server with our interceptors and options; ``changes`` go to server_interceptors()."""
    settings = settings or Settings()
    capture = structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, capture])
    served = Served(Tiny(), "", None, asyncio.Event(), capture.entries)
    arguments: dict[str, Any] = {
        "identity": StaticIdentity(Tenant("acme"), "tester"),
        "settings": settings,
        "log": log,
        "counters": served,
        "drain": served.drain,
        "rules": RULES,
        **changes,
    }
    server = aio.server(
        interceptors=tuple(server_interceptors(**arguments)), options=server_options(100, max_message_bytes=1 << 20)
    )
    served.tiny.register(server)
    served.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    served.channel = channel(served.target, own_connection=True)
    try:
        async with asyncio.timeout(60):
            yield served
    finally:
        await served.channel.close()
        await server.stop(0)


async def eventually(condition: Callable[[], bool], wake: Callable[[], Awaitable[Any]] | None = None) -> None:
    """Return once ``condition()`` holds; the test's own time limit ends the wait."""
    while not condition():
        await (wake() if wake else asyncio.sleep(0.005))
