"""A process that serves the tiny service until a signal: what the drain is tried on. Argument: drain_seconds."""

from __future__ import annotations

import asyncio
import sys

from tiny_server import Counts, Settings
from tiny_service import RULES, Tiny

from sealane import logs
from sealane.domain.ids import Tenant
from sealane.identity.caller import StaticIdentity
from sealane.rpc.health import Readiness
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.server import serve


async def main(drain_seconds: float) -> int:
    logs.configure("INFO", "json", "tiny")
    settings, drain, tiny = Settings(drain_seconds=drain_seconds), asyncio.Event(), Tiny()

    async def tell_entered() -> None:
        await tiny.entered.wait()
        logs.get_logger("tiny").info("entered")

    interceptors = server_interceptors(
        identity=StaticIdentity(Tenant("acme")),
        settings=settings,
        log=logs.get_logger("tiny"),
        counters=Counts(),
        drain=drain,
        rules=RULES,
    )
    return await serve(
        name="tiny",
        settings=settings,
        register=tiny.register,
        service_names=["tiny.Tiny"],
        interceptors=interceptors,
        readiness=Readiness(waiting_for=()),
        drain=drain,
        background=[tell_entered()],
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]))))
