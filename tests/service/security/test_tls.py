"""TLS and mTLS with real certificates: on both services, between them, exchanged while everything runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from secured_world import Secured, bearer, identities, refusal, secured, token, until

from sealane.domain.errors import PermissionDenied, Unauthenticated
from sealane.rpc.channel import channel
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.status import from_rpc_error
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc
from tests.authority import Authority, serial

ALL = token("acme", "all")
MINE = bearer(ALL)
SPIFFE = "spiffe://example.org/ns/{}/sa/{}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def server_side(authority: Authority, **more: Any) -> dict[str, Any]:
    """Settings of both services: TLS, and to each other."""
    cert, key = authority.issue("service", spiffe=(SPIFFE.format("sealane", "peer"),))
    return {"tls_cert_file": cert, "tls_key_file": key, "peer_ca_file": authority.ca_file} | more


async def listed(address: str, credentials: Any, metadata: Any = MINE) -> Any:
    """One call on a connection of its own."""
    async with channel(address, credentials=credentials, own_connection=True) as line:
        stub = ingest_service_pb2_grpc.IngestServiceStub(line)
        return await stub.ListSessions(pb.ListSessionsRequest(), timeout=10, metadata=metadata)


async def served_serial(address: str) -> int:
    """Serial number of the certificate that a new connection is shown."""
    host, _, port = address.partition(":")

    def ask() -> str:
        return ssl.get_server_certificate((host, int(port)), timeout=10)

    return serial((await asyncio.to_thread(ask)).encode())


async def test_an_upload_over_tls_with_the_services_calling_each_other(tmp_path: Path, authority: Authority) -> None:
    trusting = ClientTls(authority.ca_file)
    async with secured(tmp_path, credentials=trusting, **server_side(authority)) as world:
        session = await world.create(ALL)
        await world.upload(ALL, session)
        assert (await world.commit(ALL, session)).committed_object.key.startswith("acme/")
        assert [line for line in world.outcomes if line["subject"] == "peer"]


async def test_who_does_not_speak_tls_or_trusts_another_gets_nothing(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other")
    async with secured(tmp_path, **server_side(authority)) as world:
        for credentials in (None, ClientTls(other.ca_file), ClientTls()):
            with pytest.raises(aio.AioRpcError) as caught:
                await listed(world.ingest_address, credentials)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(aio.AioRpcError):
            await listed(world.ingest_address, ClientTls(authority.ca_file, server_name="elsewhere.example"))
        assert not world.outcomes
        await listed(world.ingest_address, ClientTls(authority.ca_file, server_name="localhost"))


async def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    """New connections get it; a stream that is open goes on; a pair that does not fit is never served, and alarms."""
    trusting = ClientTls(authority.ca_file)
    settings = server_side(authority)
    async with secured(tmp_path, credentials=trusting, **settings) as world:
        cert, key = settings["tls_cert_file"], settings["tls_key_file"]
        first = serial(cert.read_bytes())
        assert await served_serial(world.ingest_address) == first
        session = await world.create(ALL)
        watch = world.ingest.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=30, metadata=bearer(ALL))
        await watch.read()
        authority.issue("service")
        second = serial(cert.read_bytes())
        assert second != first
        for address in (world.ingest_address, world.assembly_address):
            await _until_served(address, second)
        assert (await watch.read()).session.session_id == session
        watch.cancel()

        good = key.read_bytes()
        strange, _ = authority.issue("strange")
        for broken in (b"no key", _key_of(strange), b""):
            failures = len(_events(world, "reload_failed"))
            key.write_bytes(broken)
            await until(lambda before=failures: len(_events(world, "reload_failed")) > before)
            assert await served_serial(world.ingest_address) == second
        assert all(line["alarm"] for line in _events(world, "reload_failed"))
        assert "PRIVATE" not in repr(world.lines)
        key.write_bytes(good)
        authority.issue("service")
        await _until_served(world.ingest_address, serial(cert.read_bytes()))
        assert await listed(world.ingest_address, trusting) is not None


def _key_of(certificate: Path) -> bytes:
    return certificate.with_suffix(".key").read_bytes()


def _last_lister(world: Secured) -> str:
    """The tenant that was last answered its sessions; the services' calls to each other are logged, too."""
    return str([line for line in world.outcomes if line["method"].endswith("/ListSessions")][-1]["tenant"])


def _events(world: Secured, event: str) -> list[Any]:
    return [line for line in world.lines if line["event"] == event]


async def _until_served(address: str, wanted: int) -> None:
    async with asyncio.timeout(20):
        while await served_serial(address) != wanted:  # noqa: ASYNC110 - asked of the outside
            await asyncio.sleep(0.01)


async def test_an_old_connection_ends_in_good_order_and_the_next_one_takes_its_place(
    tmp_path: Path, authority: Authority
) -> None:
    """So that whoever stays connected for ever meets new certificates and new replicas, and no call fails of it."""
    trusting = ClientTls(authority.ca_file)
    async with secured(tmp_path, credentials=trusting, **server_side(authority, max_connection_age=1)) as world:
        async with asyncio.timeout(30):
            while len({line["peer"] for line in world.outcomes}) < 2:
                await world.ingest.ListSessions(pb.ListSessionsRequest(), timeout=10, metadata=bearer(ALL))
                await asyncio.sleep(0.02)
        assert {line["code"] for line in world.outcomes} == {"OK"}


# --- mTLS ---


def by_certificate() -> str:
    """The identities file: an uploader by SPIFFE id, and the services."""
    return identities() + "".join(
        f'\n[[spiffe]]\nid = "{SPIFFE.format(*name)}"\n{rights}\n'
        for name, rights in (
            (("films", "renderer"), 'tenant = "acme"\nroles = ["uploader", "reader"]'),
            (("films", "archive"), 'tenant = "other"\nroles = ["reader"]'),
            (("sealane", "peer"), 'roles = ["service"]'),
        )
    )


def mutual(authority: Authority, tmp_path: Path, **more: Any) -> dict[str, Any]:
    path = tmp_path / "certificates.toml"
    path.write_text(by_certificate())
    settings = {"identity": "mtls", "identities_file": path, "peer_token_file": None}
    return server_side(authority, tls_client_ca_file=authority.ca_file) | settings | more


def shown(authority: Authority, *spiffe: str, name: str = "client") -> ClientTls:
    return ClientTls(authority.ca_file, *authority.issue(name, spiffe=spiffe))


async def test_a_certificate_is_an_identity(tmp_path: Path, authority: Authority) -> None:
    """Its one SPIFFE id, exactly; and the services know each other by theirs, without any token."""
    renderer = shown(authority, SPIFFE.format("films", "renderer"))
    async with secured(tmp_path, credentials=renderer, **mutual(authority, tmp_path)) as world:
        session = (await world.ingest.CreateSession(pb.CreateSessionRequest(size=5), timeout=20)).session
        found = (await world.ingest.GetSession(pb.GetSessionRequest(session_id=session.session_id), timeout=20)).session
        assert not found.outcome_unavailable
        peers = [line for line in world.outcomes if line["subject"] == SPIFFE.format("sealane", "peer")]
        assert {(line["tenant"], line["code"]) for line in peers} == {("acme", "OK")}
        archive = shown(authority, SPIFFE.format("films", "archive"), name="archive")
        assert not (await listed(world.ingest_address, archive, ())).sessions


async def test_who_shows_no_certificate_or_a_strange_one_gets_no_connection(
    tmp_path: Path, authority: Authority
) -> None:
    stranger = Authority(tmp_path / "other")
    forged = ClientTls(authority.ca_file, *stranger.issue("client", spiffe=(SPIFFE.format("films", "renderer"),)))
    async with secured(tmp_path, **mutual(authority, tmp_path)) as world:
        for credentials in (ClientTls(authority.ca_file), forged):
            with pytest.raises(aio.AioRpcError) as caught:
                await listed(world.ingest_address, credentials, ())
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not world.outcomes


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ((), Unauthenticated),
        (("https://example.org/ns/films/sa/renderer",), Unauthenticated),
        ((SPIFFE.format("films", "renderer"), SPIFFE.format("films", "archive")), Unauthenticated),
        ((SPIFFE.format("films", "renderer"), "https://example.org/"), Unauthenticated),
        ((SPIFFE.format("films", "renderer2"),), PermissionDenied),
        ((SPIFFE.format("films", "rendere"),), PermissionDenied),
        ((SPIFFE.format("films", "renderer") + "/x",), PermissionDenied),
        (("spiffe://other.org/ns/films/sa/renderer",), PermissionDenied),
    ],
)
async def test_a_spiffe_id_is_matched_exactly(
    tmp_path: Path, authority: Authority, ids: tuple[str, ...], kind: type[Exception]
) -> None:
    """A good certificate that is nobody's here: told so, and nothing else."""
    async with secured(tmp_path, **mutual(authority, tmp_path)) as world:
        with pytest.raises(aio.AioRpcError) as caught:
            await listed(world.ingest_address, shown(authority, *ids), ())
        assert type(from_rpc_error(caught.value)) is kind


async def test_a_token_goes_before_the_certificate_that_it_came_with(tmp_path: Path, authority: Authority) -> None:
    """A proxy's certificate does not lend its rights to what passes through it; and mtls alone takes no token."""
    proxy = shown(authority, SPIFFE.format("films", "renderer"))
    async with secured(tmp_path, credentials=proxy, **mutual(authority, tmp_path, identity="mtls,tokens")) as world:
        for secret, tenant in ((token("other", "reader"), "other"), (ALL, "acme")):
            await listed(world.ingest_address, proxy, bearer(secret))
            assert _last_lister(world) == tenant
        error = await refusal(
            world.ingest.CreateSession(
                pb.CreateSessionRequest(), timeout=20, metadata=bearer("nobody-knows-this-token-0123")
            )
        )
        assert type(from_rpc_error(error)) is Unauthenticated
    async with secured(tmp_path, credentials=proxy, **mutual(authority, tmp_path)) as world:
        error = await refusal(world.ingest.ListSessions(pb.ListSessionsRequest(), timeout=20, metadata=bearer(ALL)))
        assert type(from_rpc_error(error)) is Unauthenticated


# --- a client's own certificate ---


async def test_a_clients_new_certificate_is_shown_from_the_next_call_on(tmp_path: Path, authority: Authority) -> None:
    """A stream that is open goes on; files that can't be used leave the ones before them."""
    tls = shown(authority, SPIFFE.format("films", "renderer"))
    async with secured(tmp_path, credentials=tls, **mutual(authority, tmp_path)) as world:

        async def tenant() -> str:
            await world.ingest.ListSessions(pb.ListSessionsRequest(), timeout=20)
            return _last_lister(world)

        session = (await world.ingest.CreateSession(pb.CreateSessionRequest(), timeout=20)).session.session_id
        watch = world.ingest.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=30)
        await watch.read()
        assert await tenant() == "acme"
        assert tls.key_file is not None
        tls.key_file.write_bytes(b"not yet")
        assert await tenant() == "acme"
        authority.issue("client", spiffe=(SPIFFE.format("films", "archive"),))
        assert await tenant() == "other"
        assert (await watch.read()).session.session_id == session
        watch.cancel()
