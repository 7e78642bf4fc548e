"""The S3 adapter against a server that misbehaves on demand: every call ends, once, and lets go of what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from scripted_server import OK, Handler, Peer, ScriptedServer, answer, error

from sealane.store.port import (
    AccessDenied,
    ClockSkewed,
    NoListener,
    NoSuchKey,
    NoSuchUpload,
    OutcomeUnknown,
    Part,
    Rejected,
    StoreError,
    Throttled,
)
from sealane.store.s3 import S3Settings, S3Store
from tests.authority import Authority

SECRET = "a-very-secret-secret"
LONG = 60.0
"""Seconds that no call here needs; a call that takes them hangs."""
SHORT = 0.3
"""Seconds after which a call must give up that would never end by itself."""
NOVEMBER = "Sun, 22 Nov 2026 06:24:43 GMT"


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


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


# --- what is sent ---


async def test_every_put_carries_its_sha256_twice_and_never_an_md5() -> None:
    """Section 2: SeaweedFS doesn't check x-amz-content-sha256, so records and empty receipts carry the checksum too."""
    async with serving(always(OK)) as (store, server):
        await store.put("record", b"{}", timeout=LONG)
        await store.put("receipt", b"", timeout=LONG)
        await store.put("once", b"1", timeout=LONG, if_absent=True)
        for body in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
            await store.upload_part("k", "u", 1, body, sha256=hashlib.sha256(b"abc").digest(), timeout=LONG)
    bodies = [b"{}", b"", b"1", b"abc", b"abc", b"abc"]
    for request, body in zip(server.requests, bodies, strict=True):
        assert request["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
        assert request["x-amz-checksum-sha256"]
        assert request["content-length"] == str(len(body))
        assert "content-md5" not in request
        assert "transfer-encoding" not in request
    assert [request.get("if-none-match") for request in server.requests[:3]] == [None, None, "*"]


async def test_an_upload_carries_its_token_and_is_asked_for_its_composite() -> None:
    """R4: SeaweedFS has no composite SHA-256 of an upload that did not ask for one at its create."""
    async with serving(always(OK)) as (store, server):
        with contextlib.suppress(StoreError):  # the answer is none of a store's
            await store.create_multipart("k", timeout=LONG, metadata={"sealane-token": "t"}, content_type="a/b")
        with contextlib.suppress(StoreError):
            await store.head("k", timeout=LONG)
    create, head = server.requests
    assert create["x-amz-checksum-algorithm"] == "SHA256"
    assert create["x-amz-meta-sealane-token"] == "t"
    assert create["content-type"] == "a/b"
    assert head["x-amz-checksum-mode"] == "ENABLED"


async def test_keys_are_sent_percent_encoded_and_no_segment_is_resolved_away() -> None:
    async with serving(always(OK)) as (store, server):
        await store.put("a//b/../c d+é%2F~", b"", timeout=LONG)
    assert server.requests[0]["target"] == "/bucket/a//b/../c%20d%2B%C3%A9%252F~"


async def test_a_key_that_would_address_something_else_is_never_sent() -> None:
    """An empty key is the bucket itself: DELETE would remove it."""
    async with serving(always(OK)) as (store, server):
        for key in ("", "x" * 1025, "\ud800"):
            with pytest.raises(Rejected):
                await store.delete(key, timeout=LONG)
        with pytest.raises(Rejected):
            await store.create_multipart("k", timeout=LONG, metadata={"a": "line\r\nx-amz-acl: public-read"})
        with pytest.raises(Rejected):
            await store.list_objects("", timeout=LONG, cursor='{"prefix":"other/"}')
    assert server.requests == []


# --- nothing is sent twice ---


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 9\r\n\r\nhalf", b"garbage\r\n\r\n"]
)
async def test_a_cut_or_unreadable_answer_is_an_unknown_outcome_and_is_not_repeated(reply: bytes) -> None:
    """Section 6: a hidden retry turns one's own success into a 412."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(reply)

    async with serving(handler) as (store, server):
        with pytest.raises(OutcomeUnknown):
            await store.put("k", b"x", timeout=LONG, if_absent=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(307, Location="/elsewhere"), Rejected),
        (answer(301, Location="/elsewhere"), Rejected),
        (error(500, "InternalError"), OutcomeUnknown),
        (error(503, "SlowDown"), Throttled),
    ],
)
async def test_neither_a_redirect_nor_a_server_error_is_followed_up(reply: bytes, kind: type[StoreError]) -> None:
    async with serving(always(reply)) as (store, server):
        with pytest.raises(kind):
            await store.get("k", timeout=LONG)
    assert len(server.requests) == 1


async def test_a_store_that_is_not_there_is_an_unknown_outcome_of_a_kind_of_its_own() -> None:
    """A refused connection is evidence that the store's process was away (protocol.md, section 2)."""
    with ScriptedServer(always(OK)) as server:
        pass
    store = S3Store(settings(server))
    with pytest.raises(NoListener, match="refused"):
        await store.get("k", timeout=LONG)
    assert issubclass(NoListener, OutcomeUnknown)
    await store.aclose()


async def test_a_connection_that_is_reset_says_nothing_of_the_kind() -> None:
    """Whether it is an old one or a new one: a proxy, a time-out and a full store do that too."""

    def handler(peer: Peer) -> None:
        if server.connections == 1:
            peer.request()
            peer.send(OK)
            peer.head()
        peer.reset()

    async with serving(handler) as (store, server):
        await store.put("k", b"x", timeout=LONG)
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as raised:
                await store.get("k", timeout=LONG)
            assert raised.type is OutcomeUnknown
    assert server.connections == 2


# --- connections ---


async def test_a_connection_is_used_again_and_replaced_when_the_store_has_closed_it() -> None:
    def handler(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.send(OK)

    async with serving(handler) as (store, server):
        for _ in range(2):
            await store.put("k", b"x", timeout=LONG)
        assert server.connections == 1
        await happened(server.hung_up)
        await store.put("k", b"x", timeout=LONG)
        assert server.connections == 2


async def test_no_more_than_max_connections_are_in_hand() -> None:
    """The pool and the threads are bounded; what is beyond waits its turn."""
    full, lock = threading.Event(), threading.Lock()
    now = most = 0

    def handler(peer: Peer) -> None:
        nonlocal now, most
        while True:
            peer.request()
            with lock:
                now += 1
                most = max(most, now)
                if now == 3:
                    full.set()
            full.wait(30)
            with lock:
                now -= 1
            peer.send(OK)

    async with serving(handler, max_connections=3) as (store, server):
        await asyncio.gather(*(store.put(f"k{i}", b"", timeout=LONG) for i in range(20)))
        assert most == 3
        assert server.connections == 3
        assert sum(thread.name.startswith("s3") for thread in threading.enumerate()) <= 3


async def test_waiting_for_a_connection_counts_and_a_cancelled_wait_costs_none() -> None:
    held, release = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            held.set()
            release.wait(30)
            peer.send(OK)

    async with serving(handler, max_connections=1) as (store, server):
        first = asyncio.create_task(store.put("first", b"", timeout=LONG))
        await happened(held)
        waiting = asyncio.create_task(store.put("cancelled", b"", timeout=LONG))
        with pytest.raises(OutcomeUnknown, match="nothing was sent"):
            await store.put("late", b"", timeout=SHORT)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        await first
        await store.put("last", b"", timeout=LONG)
    assert [request["target"] for request in server.requests] == ["/bucket/first", "/bucket/last"]


# --- every call ends ---


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 1000000\r\n\r\n"])
async def test_i14_a_store_that_dribbles_holds_a_call_no_longer_than_its_timeout_and_a_thread_neither(
    part: bytes,
) -> None:
    """Each byte comes well within any socket time-out; only the whole call's own end stops it."""

    def handler(peer: Peer) -> None:
        if peer.request()["target"].endswith("dribble"):
            peer.send(part)
            while not server.stopping.wait(0.02):
                peer.send(b"x")
        else:
            peer.send(OK + b"")

    async with serving(handler, max_connections=1) as (store, server):
        with pytest.raises(OutcomeUnknown):
            await store.get("dribble", timeout=SHORT)
        await store.put("next", b"", timeout=LONG)  # the one thread is free again


async def test_i14_a_store_that_never_answers_or_never_reads_ends_with_the_timeout() -> None:
    def handler(peer: Peer) -> None:
        peer.head()
        server.stopping.wait(30)

    async with serving(handler) as (store, server):
        with pytest.raises(OutcomeUnknown):
            await store.head("k", timeout=SHORT)
        body = bytes(32 << 20)
        with pytest.raises(OutcomeUnknown):
            await store.upload_part("k", "u", 1, body, sha256=hashlib.sha256(body).digest(), timeout=SHORT)


@pytest.mark.parametrize("how", ["cancelled", "cancelled twice", "timed out"])
async def test_i13_when_a_part_upload_ends_nothing_reads_its_buffer_any_more(how: str) -> None:
    """The buffer is recycled for another chunk: not a byte of that one may leave under the old one's request."""
    size = 64 << 20  # more than the sockets' buffers hold, so that the thread is in the midst of sending
    begun, go_on = threading.Event(), threading.Event()
    received = b""

    def handler(peer: Peer) -> None:
        nonlocal received
        peer.head()
        first = peer.body(1)
        begun.set()
        go_on.wait(30)
        received = first + peer.rest()

    async with serving(handler) as (store, server):
        body = bytearray(b"\xaa") * size
        call = asyncio.create_task(
            store.upload_part("k", "u", 1, body, sha256=b"\0" * 32, timeout=2.0 if how == "timed out" else LONG)
        )
        await happened(begun)
        if how == "timed out":
            with pytest.raises(OutcomeUnknown):
                await call
        else:
            call.cancel()
            if how == "cancelled twice":
                asyncio.get_running_loop().call_soon(call.cancel)
            with pytest.raises(asyncio.CancelledError):
                await call
        body[:] = b"\xbb" * size
        body.clear()  # BufferError while anyone still has a view of it
        go_on.set()
        server.stopping.set()
    assert 0 < len(received) < size
    assert received.count(b"\xaa") == len(received)


async def test_a_cancelled_call_gives_its_thread_back_at_once() -> None:
    held = threading.Event()

    def handler(peer: Peer) -> None:
        if peer.request()["target"].endswith("held"):
            held.set()
            server.stopping.wait(30)
        else:
            peer.send(OK)

    async with serving(handler, max_connections=1) as (store, server):
        call = asyncio.create_task(store.get("held", timeout=LONG))
        await happened(held)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await store.put("next", b"", timeout=LONG)


# --- refusals ---


async def test_a_refusal_that_comes_before_the_body_is_read_is_understood() -> None:
    """The store hangs up in the midst of the body: the answer it left behind says why."""
    body = bytes(32 << 20)

    def handler(peer: Peer) -> None:
        peer.head()
        peer.send(error(403, "AccessDenied"))

    async with serving(handler) as (store, _):
        with pytest.raises((AccessDenied, OutcomeUnknown)):  # TCP may drop the answer with the connection
            await store.upload_part("k", "u", 1, body, sha256=hashlib.sha256(body).digest(), timeout=LONG)

    def patient(peer: Peer) -> None:
        peer.head()
        peer.send(error(403, "AccessDenied"))
        peer.rest()

    async with serving(patient) as (store, _):
        with pytest.raises(AccessDenied):
            await store.upload_part("k", "u", 1, body, sha256=hashlib.sha256(body).digest(), timeout=LONG)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b"<Error><Code>InternalError</Code></Error>", OutcomeUnknown),
        (b"<Error><Code>SomethingNew</Code></Error>", OutcomeUnknown),
        (b"<Error><Code>NoSuchUpload</Code></Error>", NoSuchUpload),
        (b"", OutcomeUnknown),
        (b"<CompleteMultipartUploadResult/>", OutcomeUnknown),
        (b"<html>welcome</html>", OutcomeUnknown),
    ],
)
async def test_a_200_that_is_no_success_is_none(document: bytes, kind: type[StoreError]) -> None:
    """Section 6, CMU: 200 with an <Error> body."""
    async with serving(always(answer(200, b"\n \n" + document))) as (store, _):
        with pytest.raises(kind) as raised:
            await store.complete_multipart("k", "u", [Part(1, "e", b"\0" * 32)], timeout=LONG)
        assert raised.type is kind


async def test_a_404_that_no_store_wrote_is_not_taken_for_a_missing_record() -> None:
    """A proxy that has lost its route answers 404 too; believed, it would deny what exists (I8)."""
    async with serving(always(answer(404, b"404 page not found"))) as (store, _):
        with pytest.raises(OutcomeUnknown):
            await store.get("k", timeout=LONG)
    async with serving(always(error(404, "NoSuchKey"))) as (store, _):
        with pytest.raises(NoSuchKey):
            await store.get("k", timeout=LONG)


async def test_answers_are_bounded() -> None:
    async with serving(always(answer(200, bytes(2000), ETag="e"))) as (store, _):
        with pytest.raises(Rejected):
            await store.get("k", timeout=LONG, max_bytes=1999)
    async with serving(always(answer(200, b"<!--" + b"x" * (9 << 20)))) as (store, _):
        with pytest.raises(OutcomeUnknown):
            await store.list_objects("", timeout=LONG)
    async with serving(always(answer(400, b"<Error>" + b" " * (1 << 20) + b"<Code>NoSuchKey</Code></Error>"))) as (
        store,
        _,
    ):
        with pytest.raises(Rejected):
            await store.get("k", timeout=LONG)


@pytest.mark.parametrize("seed", range(5))
async def test_garbage_on_the_wire_is_an_error_of_the_port_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    page = answer(200, b"<ListBucketResult/>", ETag="e", Last_Modified=NOVEMBER, Date=NOVEMBER)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: e\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    def handler(peer: Peer) -> None:
        peer.request()
        reply = bytearray(rng.choice([page, chunked]))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(reply))
            reply[at : at + rng.choice([0, 0, 1, 8])] = rng.choice([b"\r\n", b":", b"\0", b"9" * 20, rng.randbytes(3)])
        peer.send(bytes(reply))

    async with serving(handler) as (store, _):
        for _ in range(60):
            for call in (store.get, store.head, store.list_objects):
                with contextlib.suppress(StoreError):
                    await call("k", timeout=LONG)


async def test_no_error_tells_a_secret() -> None:
    """A log line names method, key, status, code and request id; never a signature, a key or an upload id."""
    replies = [error(403, "SignatureDoesNotMatch"), b"nonsense\r\n\r\n", answer(200, b"<x/>")]
    for reply in replies:
        async with serving(always(reply)) as (store, server):
            with pytest.raises(StoreError) as raised:
                await store.list_parts("some/key", "the-upload-id", timeout=LONG)
            text = f"{raised.value} {raised.value!r} {raised.value.detail}"
            signature = re.search("Signature=([0-9a-f]+)", server.requests[0]["authorization"])
            assert signature is not None
            for secret in (SECRET, "key-id", "the-upload-id", signature[1], "Authorization"):
                assert secret not in text
            assert "some/key" in text
            assert SECRET not in repr(settings(server))


# --- the store's time ---


@pytest.mark.parametrize("days", [-1, 1])
async def test_i15_requests_are_signed_with_the_stores_time_once_it_is_known(days: int) -> None:
    """Section 6: a skewed local clock would be refused every call."""
    theirs = datetime.now(UTC) + timedelta(days=days)

    def handler(peer: Peer) -> None:
        while True:
            stamp = datetime.strptime(peer.request()["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            reply = error(403, "RequestTimeTooSkewed") if abs(stamp - theirs) > timedelta(minutes=15) else OK
            peer.send(reply.replace(b"\r\n", f"\r\nDate: {format_datetime(theirs, usegmt=True)}\r\n".encode(), 1))

    async with serving(handler) as (store, _):
        with pytest.raises(ClockSkewed):
            await store.put("k", b"", timeout=LONG)
        await store.put("k", b"", timeout=LONG)
        assert abs(store.now() - theirs) < timedelta(minutes=1)


async def test_a_head_refused_for_the_clock_is_known_by_its_date() -> None:
    """HEAD has no body to carry RequestTimeTooSkewed."""
    date = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    async with serving(always(answer(403, Date=date).replace(b"Content-Length: 0", b"X: y"))) as (store, _):
        with pytest.raises(ClockSkewed):
            await store.head("k", timeout=LONG)
        with pytest.raises(AccessDenied) as raised:  # the clock is right now, so it was something else
            await store.head("k", timeout=LONG)
        assert raised.type is AccessDenied


async def test_r6_is_asked_by_one_request_signed_now_and_one_signed_then() -> None:
    """The first one shows that the second one's signature is all that can be wrong with it."""
    stamps: list[str] = []

    def handler(peer: Peer) -> None:
        while True:
            stamps.append(peer.request()["x-amz-date"])
            peer.send(error(403, "RequestTimeTooSkewed") if len(stamps) == 2 else answer(200, b"<x/>"))

    async with serving(handler) as (store, _):
        assert await store.refuses_old_signature(timedelta(minutes=20), timeout=LONG)
        assert not await store.refuses_old_signature(timedelta(minutes=20), timeout=LONG)
        age = store.now() - datetime.strptime(stamps[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert timedelta(minutes=20) <= age < timedelta(minutes=21)


async def test_r6_is_not_told_to_credentials_that_may_not_ask() -> None:
    """Refused whatever the signature's age: no verdict on the store."""
    async with serving(always(error(403, "AccessDenied"))) as (store, _):
        with pytest.raises(AccessDenied):
            await store.refuses_old_signature(timedelta(minutes=20), timeout=LONG)


# --- streams, closing, TLS ---


async def test_a_stream_is_whole_or_an_error_and_an_abandoned_one_gives_its_connection_back() -> None:
    body = bytes(range(256)) * 1000

    def handler(peer: Peer) -> None:
        while True:
            request = peer.request()
            target = request["target"]
            whole = answer(200, body if request["method"] == "GET" else b"", ETag="e")
            peer.send(whole[:-1] if target.endswith("cut") else whole)
            if target.endswith("cut"):
                return

    async with serving(handler, max_connections=1) as (store, _):
        blocks = [block async for block in store.read("k", timeout=LONG, block_bytes=100_000)]
        assert [len(block) for block in blocks] == [100_000, 100_000, 56_000]
        assert b"".join(blocks) == body
        abandoned = store.read("k", timeout=LONG, block_bytes=10)
        assert await anext(abandoned) == body[:10]
        await abandoned.aclose()  # type: ignore[attr-defined] # it is a generator
        with pytest.raises(OutcomeUnknown):
            _ = [block async for block in store.read("cut", timeout=LONG)]
        assert await store.put("k", b"", timeout=LONG) == "e"


async def test_closing_waits_for_what_is_in_hand_and_refuses_what_comes_after() -> None:
    held, release = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        held.set()
        release.wait(30)
        peer.send(OK)

    with ScriptedServer(handler) as server:
        store = S3Store(settings(server))
        call = asyncio.create_task(store.put("k", b"", timeout=LONG))
        await happened(held)
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        assert not closing.done()
        release.set()
        await closing
        assert await call == "e"
        with pytest.raises(OutcomeUnknown, match="closed"):
            await store.put("k", b"", timeout=LONG)
    assert len(server.requests) == 1


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


def test_the_local_clock_is_only_the_beginning() -> None:
    """I15: before the first answer the offset is 0."""
    store = S3Store(S3Settings("http://127.0.0.1:1", "bucket", access_key="a", secret_key="b"))
    assert abs(store.now().timestamp() - time.time()) < 60
