"""The S3 adapter over TLS: whom it trusts, and that its calls end there, too."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from scripted_server import OK, Peer, ScriptedServer
from scripted_store import LONG, SHORT, always, settings

from sealane.store.port import (
    OutcomeUnknown,
)
from sealane.store.s3 import S3Store
from tests.authority import Authority


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str, str]:
    """The files of a certificate for 127.0.0.1, of its key, and of the authority that signed it."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("store")
    return str(cert), str(key), str(authority.ca_file)


async def test_https_trusts_the_given_authority_and_no_other(certificate: tuple[str, str, str]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate[:2])
    with ScriptedServer(always(OK), tls) as server:
        store = S3Store(settings(server, ca_file=certificate[2]))
        body = bytes(3 << 20)
        for _ in range(2):
            await store.upload_part("k", "u", 1, body, sha256=hashlib.sha256(body).digest(), timeout=LONG)
        assert server.connections == 1
        await store.aclose()
        stranger = S3Store(settings(server))
        with pytest.raises(OutcomeUnknown, match="CERTIFICATE"):
            await stranger.put("k", b"", timeout=LONG)
        await stranger.aclose()
    assert len(server.requests) == 2


async def test_i14_a_tls_store_that_never_reads_ends_with_the_timeout_too(certificate: tuple[str, str, str]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate[:2])

    def handler(peer: Peer) -> None:
        peer.head()
        server.stopping.wait(30)

    with ScriptedServer(handler, tls) as server:
        store = S3Store(settings(server, ca_file=certificate[2], max_connections=1))
        body = bytearray(32 << 20)
        with pytest.raises(OutcomeUnknown):
            await store.upload_part("k", "u", 1, body, sha256=b"\0" * 32, timeout=SHORT)
        body.clear()  # BufferError while anyone still has a view of it
        await store.aclose()
