"""The SDK with credentials: tokens from wherever they come, renewed under way, and kept to themselves."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from secured_world import CONTENT, KIB, Secured, identities, secured, token

from sealane.client import BackoffPolicy, Client, SessionState, StreamOptions, SyncClient, Tls
from sealane.client.errors import PermissionDenied, Unauthenticated
from sealane.domain.errors import SealaneError
from tests.authority import Authority

ALL, READER, OTHERS = token("acme", "all"), token("acme", "reader"), token("other", "all")
QUICK = BackoffPolicy(base_seconds=0.01, cap_seconds=0.1, patience_seconds=30.0)
TINY = StreamOptions(parallel=2, chunks_per_stream=4, frame_bytes=KIB)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(tmp_path) as running:
        yield running


def client(world: Secured, **values: Any) -> Client:
    environment = {"XDG_STATE_HOME": str(world.directory / "state")}
    given = {"backoff": QUICK, "environment": environment, "rng": random.Random(1)} | values
    return Client(world.ingest_address, world.assembly_address, **given)


def in_a_file(world: Secured) -> Path:
    path = world.directory / "token"
    path.write_text(ALL + "\n")
    return path


async def later() -> str:
    return ALL


@pytest.mark.parametrize("source", [lambda _: ALL, in_a_file, lambda _: lambda: ALL, lambda _: later])
async def test_a_token_comes_as_itself_from_a_file_or_from_a_callable(
    world: Secured, source: Callable[[Secured], Any]
) -> None:
    async with client(world, token=source(world)) as ours:
        result = await ours.upload(CONTENT, filename="f", stream_options=TINY)
        assert result.key.startswith("acme/")
        assert (await ours.get_session(result.session_id)).state is SessionState.COMMITTED


async def test_the_blocking_client_has_them_too(world: Secured) -> None:
    import asyncio

    def upload() -> str:
        with SyncClient(world.ingest_address, world.assembly_address, token=ALL, backoff=QUICK) as ours:
            return ours.upload(CONTENT, filename="f", stream_options=TINY).key

    assert (await asyncio.to_thread(upload)).startswith("acme/")


async def test_what_is_refused_is_raised_at_once_as_itself(world: Secured) -> None:
    """Neither is worth a repetition."""
    for secret, kind in (("nobody-knows-this-token-0123", Unauthenticated), (READER, PermissionDenied)):
        async with client(world, token=secret) as ours:
            with pytest.raises(kind):
                await ours.upload(CONTENT, filename="f", stream_options=TINY)
    async with client(world) as ours:
        with pytest.raises(Unauthenticated):
            await ours.get_session("0" * 32)


class Renewed:
    """A token that is exchanged in the middle of an upload, at the server and at the client."""

    def __init__(self, world: Secured) -> None:
        self.world = world
        self.now = ALL
        self.path = world.directory / "token"
        self.path.write_text(ALL)

    async def exchange(self) -> None:
        self.now = "the-next-token-of-acme-0123456789"
        await self.world.write_identities(identities().replace(ALL, self.now))
        self.path.with_suffix(".new").write_text(self.now)
        os.replace(self.path.with_suffix(".new"), self.path)

    async def content(self, chunks: int) -> AsyncIterator[bytes]:
        for number in range(chunks):
            if number == chunks // 2:
                await self.exchange()
            yield bytes([number]) * KIB


@pytest.mark.parametrize("source", ["file", "callable"])
async def test_an_upload_outlives_its_token(world: Secured, source: str) -> None:
    """A token that expires or is revoked under way is an UNAUTHENTICATED; the next stream has the newer one."""
    renewed = Renewed(world)
    async with client(world, token=renewed.path if source == "file" else lambda: renewed.now) as ours:
        result = await ours.upload(renewed.content(24), filename="f", stream_options=TINY)
        assert result.size == 24 * KIB


async def test_a_fixed_token_that_is_revoked_ends_the_upload(world: Secured) -> None:
    renewed = Renewed(world)
    async with client(world, token=ALL) as ours:
        with pytest.raises(Unauthenticated):
            await ours.upload(renewed.content(24), filename="f", stream_options=TINY)


async def test_a_watch_outlives_its_token(world: Secured) -> None:
    renewed = Renewed(world)
    async with client(world, token=lambda: renewed.now) as ours:
        session = await ours.create_session(size=len(CONTENT))
        watch = ours.watch_session(session.session_id)
        await anext(watch)
        await renewed.exchange()
        await anext(watch)
        assert (await anext(watch)).session_id == session.session_id
        await watch.aclose()


async def test_a_source_that_has_no_token_is_said_and_nothing_is_sent(world: Secured, tmp_path: Path) -> None:
    def broken() -> str:
        raise OSError("the vault is closed")

    (tmp_path / "empty").write_text("")
    for source in (tmp_path / "nowhere", tmp_path / "empty", broken, lambda: "two words"):
        async with client(world, token=source) as ours:
            with pytest.raises(Unauthenticated, match="No token could be had"):
                await ours.get_session("0" * 32)
    assert not world.outcomes


@pytest.mark.parametrize(
    "target", ["ingest.example:7301", "10.0.0.7:7301", "ipv4:127.0.0.1:1,10.0.0.7:1", "dns:///a:1"]
)
def test_a_token_does_not_leave_the_machine_without_tls(target: str) -> None:
    """Unless somebody has said so."""
    with pytest.raises(ValueError, match="without TLS") as refused:
        Client(target, "127.0.0.1:7302", token=ALL)
    assert ALL not in str(refused.value)
    Client(target, "127.0.0.1:7302", token=ALL, plaintext=True)
    Client(target, "127.0.0.1:7302", token=ALL, tls=Tls())
    Client(target, "127.0.0.1:7302")


@pytest.mark.parametrize(
    "target", ["127.0.0.1:7301", "localhost:7301", "[::1]:1", "ipv4:127.0.0.1:1,127.0.0.2:2", "ipv6:[::1]:1", "unix:/x"]
)
def test_on_this_machine_it_needs_none(target: str) -> None:
    Client(target, target, token=ALL)


async def test_no_journal_has_a_token_in_it(world: Secured) -> None:
    """A journal outlives the process; what it says is no secret."""
    file = world.directory / "film"
    file.write_bytes(CONTENT)
    seen: list[str] = []

    def look(_: Any) -> None:
        seen.extend(path.read_text() for path in (world.directory / "state").rglob("*.json"))

    async with client(world, token=in_a_file(world)) as ours:
        await ours.upload(file, stream_options=TINY, progress=look)
    assert seen
    assert all(ALL not in text and "authorization" not in text for text in seen)


async def test_over_tls_with_a_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("service")
    tls = {"tls_cert_file": cert, "tls_key_file": key, "peer_ca_file": authority.ca_file}
    async with secured(tmp_path, **tls) as world:
        async with client(world, token=OTHERS, tls=Tls(authority.ca_file)) as ours:
            assert (await ours.upload(CONTENT, filename="f", stream_options=TINY)).key.startswith("other/")
        async with client(world, token=OTHERS) as ours:
            with pytest.raises(SealaneError):
                await ours.get_session("0" * 32, timeout=0.5)
