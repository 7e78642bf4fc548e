"""The S3 adapter against a server that misbehaves on demand: what it sends, once, and what it makes of the answers."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re

import pytest
from scripted_server import OK, Peer, ScriptedServer, answer, error
from scripted_store import LONG, SECRET, always, serving, settings

from sealane.store.port import (
    AccessDenied,
    NoListener,
    NoSuchKey,
    NoSuchUpload,
    OutcomeUnknown,
    Part,
    Rejected,
    StoreError,
    Throttled,
)
from sealane.store.s3 import S3Store

NOVEMBER = "Sun, 22 Nov 2026 06:24:43 GMT"


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
