"""A proxy that the environment names: what is not encrypted never goes to it."""

from __future__ import annotations

import socket

import pytest
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sealane.rpc.channel import channel


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_a_plaintext_call_goes_to_its_target_and_to_no_proxy(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token would be read there: the settings let a token go without TLS to this machine alone."""
    server = aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            proxy.setblocking(False)
            for name in ("no_proxy", "no_grpc_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
            async with channel(f"127.0.0.1:{port}", own_connection=True) as connection:
                stub = health_pb2_grpc.HealthStub(connection)
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=20, metadata=(("authorization", "Bearer x"),))
            with pytest.raises(BlockingIOError):
                proxy.accept()
    finally:
        await server.stop(0)
