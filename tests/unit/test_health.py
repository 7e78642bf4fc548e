"""Readiness is told as it is, whatever changes while it is being told."""

from __future__ import annotations

import asyncio

import pytest
from grpc_health.v1 import health, health_pb2

from sealane.rpc.health import OVERALL, READINESS, Readiness, report


@pytest.mark.parametrize("turns", range(8))
async def test_two_changes_however_close_end_in_what_is_true(turns: int) -> None:
    """A change between the reading and the waiting must not be missed: probes would see it only at the next one."""
    readiness, servicer = Readiness(waiting_for=()), health.aio.HealthServicer()
    telling = asyncio.create_task(report(readiness, servicer, ()))

    async def told(service: str) -> int:
        answer = await servicer.Check(health_pb2.HealthCheckRequest(service=service), None)
        return int(answer.status)

    async with asyncio.timeout(10):
        for _ in range(10):
            await asyncio.sleep(0)
        readiness.set(False, "away", of="store")
        for _ in range(turns):
            await asyncio.sleep(0)
        readiness.set(True, of="store")
        for _ in range(20):
            await asyncio.sleep(0)
        for service in (READINESS, OVERALL):
            assert await told(service) == health_pb2.HealthCheckResponse.SERVING
    telling.cancel()
