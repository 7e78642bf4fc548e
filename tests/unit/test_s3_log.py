"""The S3 adapter's lines in the log: the store's own request id, and nothing that no log may hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from scripted_server import Peer, ScriptedServer, answer
from structlog.testing import capture_logs

from sealane.store import s3_http
from sealane.store.port import OutcomeUnknown
from sealane.store.s3 import S3Settings, S3Store

LONG = 60.0


@pytest.fixture
def verbose() -> Iterator[None]:
    logger = logging.getLogger(s3_http.__name__)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)


async def put(reply: bytes) -> None:
    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(reply)

    with ScriptedServer(handler) as server:
        store = S3Store(S3Settings(server.endpoint, "bucket", access_key="key-id", secret_key="very-secret"))
        try:
            await store.put("a/key", b"body", timeout=LONG)
        finally:
            server.stopping.set()
            await store.aclose()


async def test_at_debug_every_call_has_a_line_with_the_stores_request_id(verbose: None) -> None:
    with capture_logs() as lines:
        await put(answer(200, ETag='"e"', x_amz_request_id="17A8"))
    (line,) = [line for line in lines if line["event"] == "store"]
    assert line["log_level"] == "debug"
    assert (line["call"], line["status"], line["store_request_id"]) == ("PUT /a/key", 200, "17A8")
    assert line["duration_ms"] >= 0
    assert "secret" not in str(lines)


async def test_at_info_only_what_was_slow_or_what_the_store_failed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = answer(200, ETag='"e"', x_amz_request_id="1")
    with capture_logs() as lines:
        await put(fine)
        assert lines == []
        with pytest.raises(OutcomeUnknown):
            await put(answer(500, x_amz_request_id="2"))
        monkeypatch.setattr(s3_http, "SLOW_SECONDS", 0.0)
        await put(fine)
    assert [(line["log_level"], line["store_request_id"]) for line in lines] == [("info", "2"), ("info", "1")]
