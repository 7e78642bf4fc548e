"""Tokens of an issuer through both services: an upload, and what becomes of a stream whose token expires under it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pytest
from secured_world import CONTENT, Secured, bearer, messages, refusal, secured, until

from sealane.domain.errors import Unauthenticated
from sealane.rpc.status import from_rpc_error
from sealane.v1 import ingest_service_pb2 as pb
from tests.jwt_issuer import AUDIENCE, EPOCH, ISSUER, NOW, Issuer


class Clock:
    """The store's."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def world(tmp_path: Path, clock: Clock, issuer: Issuer) -> AsyncIterator[Secured]:
    """The services know each other by tokens of the list, everybody else by the issuer's."""
    (tmp_path / "jwks.json").write_bytes(issuer.jwks())
    settings = {
        "identity": "jwt,tokens",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks_file": tmp_path / "jwks.json",
        "jwt_leeway_seconds": 0,
    }
    async with secured(tmp_path, now=clock, **settings) as running:
        yield running


async def test_an_upload_with_an_issuers_token(world: Secured, issuer: Issuer) -> None:
    token = issuer.token()
    session = await world.create(token)
    await world.upload(token, session)
    committed = (await world.commit(token, session)).committed_object
    assert (committed.key, committed.size) == (f"acme/by-session/{session}/object", len(CONTENT))


async def test_a_token_that_expires_mid_stream_stores_no_further_chunk(
    world: Secured, issuer: Issuer, clock: Clock
) -> None:
    """Section 11. By the store's clock; the chunks before keep their fate, and a newer token goes on from there."""
    token = issuer.token(exp=EPOCH + 60)
    session = await world.create(token)
    header, *chunks = messages(session)
    call = world.ingest.UploadChunks(timeout=30, metadata=bearer(token))
    await call.write(header)
    await call.write(chunks[0])
    await until(lambda: world.store.state.keys(f".sealane/acme/sessions/{session}/receipts/"))
    clock.now = NOW + timedelta(seconds=60)
    await call.write(chunks[1])
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
    again = issuer.token()
    asked = pb.GetSessionRequest(session_id=session)
    seen = (await world.ingest.GetSession(asked, timeout=20, metadata=bearer(again))).session
    assert seen.coverage.stored_chunks == 1
    await world.upload(again, session, [1, 2])
    assert (await world.commit(again, session)).committed_object.size == len(CONTENT)


async def test_a_watch_ends_when_its_token_expires(world: Secured, issuer: Issuer, clock: Clock) -> None:
    token = issuer.token(exp=EPOCH + 60)
    session = await world.create(token)
    watch = world.ingest.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=30, metadata=bearer(token))
    await watch.read()
    clock.now = NOW + timedelta(seconds=60)
    assert type(from_rpc_error(await refusal(watch))) is Unauthenticated
