"""The S3 adapter's calls end, whatever the server does, and let go of connection, thread and buffer."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import pytest
from scripted_server import OK, Peer, ScriptedServer, answer
from scripted_store import LONG, SHORT, serving, settings

from sealane.store.port import (
    OutcomeUnknown,
)
from sealane.store.s3 import S3Store


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


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


# --- streams, closing ---


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
