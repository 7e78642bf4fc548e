"""The S3 adapter on a scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scripted_server import Handler, Peer, ScriptedServer

from sealane.store.s3 import S3Settings, S3Store

SECRET = "a-very-secret-secret"
LONG = 60.0
"""Seconds that no call here needs; a call that takes them hangs."""
SHORT = 0.3
"""Seconds after which a call must give up that would never end by itself."""


def settings(server: ScriptedServer, **more: Any) -> S3Settings:
    return S3Settings(server.endpoint, "bucket", access_key="key-id", secret_key=SECRET, **more)


@asynccontextmanager
async def serving(handler: Handler, **more: Any) -> AsyncIterator[tuple[S3Store, ScriptedServer]]:
    with ScriptedServer(handler) as server:
        store = S3Store(settings(server, **more))
        try:
            yield store, server
        finally:
            server.stopping.set()
            await store.aclose()


def always(reply: bytes) -> Handler:
    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(reply)

    return handler
