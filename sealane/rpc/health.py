"""Whether this replica should get calls: named conditions, and ``grpc.health.v1`` that tells them to whoever probes.

Services: "liveness" serves as long as the process answers at all; "readiness", "" and the real services serve while
every condition holds. A store that is away makes a replica not ready, never not alive: a restart would mend nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from grpc_health.v1 import health, health_pb2

from sealane.logs import get_logger

LIVENESS, READINESS, OVERALL = "liveness", "readiness", ""
STORE, SERVICE, DRAIN = "store", "service", "drain"
"""Conditions: the gate's, the application's own, and :func:`sealane.rpc.server.serve`'s."""

_log = get_logger(__name__)


class Readiness:
    """Ready while every named condition holds. Each party sets its own, so none can undo another's "not ready"."""

    def __init__(self, waiting_for: Iterable[str] = (STORE,)) -> None:
        """``waiting_for`` names conditions that must be set before the replica can be ready at all."""
        self._unmet: dict[str, str] = dict.fromkeys(waiting_for, "not yet known")
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        return not self._unmet

    @property
    def unmet(self) -> tuple[str, ...]:
        """Conditions that do not hold."""
        return tuple(self._unmet)

    @property
    def why(self) -> str:
        """What is missing, "" if nothing is."""
        return "; ".join(f"{name}: {why}" for name, why in sorted(self._unmet.items()))

    def set(self, ready: bool, why: str = "", *, of: str = SERVICE) -> None:
        """Say whether condition ``of`` holds, and if not, why."""
        before = dict(self._unmet)
        if ready:
            self._unmet.pop(of, None)
        else:
            self._unmet[of] = why or "no reason given"
        if before == self._unmet:
            return
        if bool(before) != bool(self._unmet):
            _log.info("ready" if self.ready else "not_ready", why=self.why)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return after the next change."""
        await self._changed.wait()

    def change(self) -> asyncio.Event:
        """Set at the next change from this call on."""
        return self._changed


async def report(readiness: Readiness, servicer: health.aio.HealthServicer, service_names: Sequence[str]) -> None:
    """Keep ``servicer`` telling what ``readiness`` says, until cancelled."""
    await servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
    while True:
        change = readiness.change()  # before reading: a change in between is not missed
        status = (
            health_pb2.HealthCheckResponse.SERVING if readiness.ready else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in (READINESS, OVERALL, *service_names):
            await servicer.set(name, status)
        await change.wait()
