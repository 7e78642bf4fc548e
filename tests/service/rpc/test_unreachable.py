"""Why a server can't be reached is said in words: every way in which a handshake fails, as gRPC really tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from grpc import aio

from sealane.dev.ports import free_ports
from sealane.domain.errors import PeerUnavailable
from sealane.rpc.channel import channel
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.status import from_rpc_error
from sealane.rpc.unreachable import UNREACHABLE, is_about_tls
from tests.authority import Authority

Serve = Callable[[grpc.ServerCredentials | None], int]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
async def ports(authority: Authority) -> AsyncIterator[dict[str, int]]:
    """Servers with TLS, with an old certificate, with mTLS, without any; and nobody."""
    ca = authority.ca_file.read_bytes()

    def pair(name: str, days: float) -> list[tuple[bytes, bytes]]:
        cert, key = authority.issue(name, days=days)
        return [(key.read_bytes(), cert.read_bytes())]

    kinds = {
        "tls": grpc.ssl_server_credentials(pair("server", 2)),
        "expired": grpc.ssl_server_credentials(pair("old", -0.5)),
        "mtls": grpc.ssl_server_credentials(pair("mutual", 2), ca, require_client_auth=True),
        "plain": None,
    }
    found: dict[str, int] = {"nobody": free_ports(1)[0]}
    servers = []
    for kind, credentials in kinds.items():
        server = aio.server()
        if credentials is None:
            found[kind] = server.add_insecure_port("127.0.0.1:0")
        else:
            found[kind] = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        servers.append(server)
    yield found
    for server in servers:
        await server.stop(0)


@pytest.mark.parametrize(
    ("server", "how", "told"),
    [
        ("tls", "stranger", "not signed by an authority that is trusted here"),
        ("tls", "system", "not signed by an authority that is trusted here"),
        ("tls", "other name", "The name in the server's certificate"),
        ("tls", "plaintext", "closed the connection at once. It may want TLS, or a client certificate"),
        ("mtls", "trusting", "closed the connection at once. It may want TLS, or a client certificate"),
        ("mtls", "forged", "closed the connection at once. It may want TLS, or a client certificate"),
        ("expired", "trusting", "The server's certificate has expired"),
        ("plain", "trusting", "The server does not speak TLS"),
        ("nobody", "trusting", UNREACHABLE),
        ("nobody", "plaintext", UNREACHABLE),
    ],
)
async def test_each_failed_handshake_is_said_in_words(
    authority: Authority, ports: dict[str, int], tmp_path: Path, server: str, how: str, told: str
) -> None:
    """Nobody should have to read OpenSSL's at three in the morning."""
    stranger = Authority(tmp_path / "other")
    credentials = {
        "trusting": ClientTls(authority.ca_file),
        "stranger": ClientTls(stranger.ca_file),
        "system": ClientTls(),
        "other name": ClientTls(authority.ca_file, server_name="other.example"),
        "forged": ClientTls(authority.ca_file, *stranger.issue("client")),
        "plaintext": None,
    }[how]
    async with channel(f"127.0.0.1:{ports[server]}", credentials=credentials, own_connection=True) as line:
        with pytest.raises(aio.AioRpcError) as caught:
            await line.unary_unary("/a.B/C")(b"", timeout=20)
    error = from_rpc_error(caught.value)
    assert type(error) is PeerUnavailable
    assert told in error.message
    assert is_about_tls(error.message) is (told != UNREACHABLE)
