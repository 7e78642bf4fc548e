"""The S3 adapter signs with the store's time, once it knows it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from scripted_server import OK, Peer, answer, error
from scripted_store import LONG, always, serving

from sealane.store.port import (
    AccessDenied,
    ClockSkewed,
)
from sealane.store.s3 import S3Settings, S3Store


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


def test_the_local_clock_is_only_the_beginning() -> None:
    """I15: before the first answer the offset is 0."""
    store = S3Store(S3Settings("http://127.0.0.1:1", "bucket", access_key="a", secret_key="b"))
    assert abs(store.now().timestamp() - time.time()) < 60
