"""Both services as real processes with TLS and tokens of an issuer: grpcurl, the CLI, and a certificate's exchange."""

from __future__ import annotations

import os
import secrets
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import pytest
from cli_process import Commands, Result, environment
from grpcurl import Answer, b64, grpcurl, upload_messages
from minio import Minio

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Kind, Service
from tests.authority import Authority, serial
from tests.jwt_issuer import AUDIENCE, ISSUER, Issuer

pytestmark = pytest.mark.e2e

STATIC = "a-token-of-the-list-0123456789"


@dataclass
class Running:
    """Two processes, and what opens them."""

    directory: Path
    authority: Authority
    issuer: Issuer
    ingest: Service
    assembly: Service

    @property
    def services(self) -> tuple[Service, Service]:
        return self.ingest, self.assembly

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        return self.issuer.token(
            **({"iat": now, "nbf": now, "exp": now + 600, "roles": ["uploader", "reader"]} | claims)
        )

    def call(self, method: str, *messages: dict[str, Any], token: str = "") -> Answer:
        address = (self.ingest if method.startswith("Ingest") else self.assembly).address
        headers = [f"authorization: Bearer {token}"] if token else []
        return grpcurl(address, method, *messages, headers=headers, ca_file=self.authority.ca_file)

    def sealane(self, *words: object, token: str = "", **env: str) -> Result:
        """The command, told of TLS and tokens by its environment."""
        env |= {"HOME": str(self.directory), "XDG_STATE_HOME": str(self.directory)}
        env["SEALANE_CA_FILE"] = str(self.authority.ca_file)
        if token:
            path = self.directory / f"token-{secrets.token_hex(4)}"
            path.write_text(token)
            env["SEALANE_TOKEN_FILE"] = str(path)
        run = Commands(self.directory, self.ingest.address, self.assembly.address, environment(**env))
        return run(*words)

    def logs(self) -> str:
        return "".join(service.log_path.read_text() for service in self.services)


@pytest.fixture(scope="module")
def running(seaweed: SeaweedFS, plain_s3: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("secured")
    bucket = f"secured-{secrets.token_hex(4)}"
    plain_s3.make_bucket(bucket)
    authority, issuer = Authority(directory / "ca"), Issuer()
    cert, key = authority.issue("service")
    (directory / "jwks.json").write_bytes(issuer.jwks())
    # The services know each other by tokens of the issuer: their subject makes them so, not what they claim.
    (directory / "identities.toml").write_text(
        f'[[subject]]\nsub = "assembly"\nroles = ["service"]\n[[subject]]\nsub = "ingest"\nroles = ["service"]\n'
        f'[[token]]\nname = "robot"\ntoken = "{STATIC}"\ntenant = "robots"\nroles = ["uploader", "reader"]\n'
    )
    settings = {
        "SEALANE_S3_ENDPOINT": seaweed.endpoint,
        "SEALANE_S3_BUCKET": bucket,
        "SEALANE_S3_ACCESS_KEY": seaweed.access_key,
        "SEALANE_S3_SECRET_KEY": seaweed.secret_key,
        "SEALANE_PROBE_PAGE_KEYS": "20",
        "SEALANE_TLS_CERT_FILE": str(cert),
        "SEALANE_TLS_KEY_FILE": str(key),
        "SEALANE_PEER_CA_FILE": str(authority.ca_file),
        "SEALANE_IDENTITY": "jwt,tokens",
        "SEALANE_IDENTITIES_FILE": str(directory / "identities.toml"),
        "SEALANE_JWT_ISSUER": ISSUER,
        "SEALANE_JWT_AUDIENCE": AUDIENCE,
        "SEALANE_JWT_JWKS_FILE": str(directory / "jwks.json"),
        "NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"],
    }
    ports = [f"{LOOPBACK}:{port}" for port in free_ports(4)]
    kinds: tuple[Kind, Kind] = ("ingest", "assembly")

    def service(kind: Kind, own: str, health: str, peer: str) -> Service:
        now = int(time.time())
        path = directory / f"{kind}-token"
        path.write_text(issuer.token(sub=kind, tenant=None, roles=None, iat=now, nbf=now, exp=now + 3600))
        return Service(
            kind,
            1,
            address=own,
            health_address=health,
            settings=settings | {"SEALANE_PEER": peer, "SEALANE_PEER_TOKEN_FILE": str(path)},
            directory=directory,
            log_path=directory / f"{kind}.log",
        )

    here = Running(
        directory,
        authority,
        issuer,
        service(kinds[0], ports[0], ports[2], ports[1]),
        service(kinds[1], ports[1], ports[3], ports[0]),
    )
    try:
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(each.start, timeout=120.0) for each in here.services]:
                started.result()
        yield here
    finally:
        for each in here.services:
            each.kill()
        plain_s3.remove_bucket(bucket)


def test_everything_with_grpcurl_over_tls_and_a_token(running: Running) -> None:
    """Create, upload, commit, ask: the header is all that changes. Nobody without it, and not what its roles lack."""
    body, token = secrets.token_bytes(2_000_000), running.token()
    created = running.call("IngestService/CreateSession", {"filename": "f", "size": str(len(body))}, token=token).one
    session = created["session"]["session_id"]
    sent = running.call("IngestService/UploadChunks", *upload_messages(session, (0, body)), token=token).one
    assert sent["coverage"]["complete"]
    commit = {
        "session_id": session,
        "chunk_count": "1",
        "size": str(len(body)),
        "blake3": b64(blake3.blake3(body).digest()),
    }
    done = running.call("AssemblyService/CommitSession", commit, token=token).one["committed_object"]
    assert done["key"] == f"acme/by-session/{session}/f"
    seen = running.call("IngestService/GetSession", {"session_id": session}, token=token).one["session"]
    assert seen["state"] == "SESSION_STATE_COMMITTED"
    for refused, reason in (
        ("", "UNAUTHENTICATED"),
        (running.token(exp=int(time.time()) - 60), "UNAUTHENTICATED"),
        (Issuer().token(), "UNAUTHENTICATED"),
        (running.token(tenant="other"), "SESSION_NOT_FOUND"),
        (STATIC, "SESSION_NOT_FOUND"),
    ):
        answer = running.call("AssemblyService/GetCommit", {"session_id": session}, token=refused)
        assert answer.reason == reason, answer.err
    assert running.call("AssemblyService/DeleteSession", {"session_id": session}, token=token).reason == (
        "PERMISSION_DENIED"
    )
    plaintext = grpcurl(running.ingest.address, "IngestService/ListSessions", {})
    assert plaintext.code != 0


def test_the_command_line_with_a_token_file(running: Running) -> None:
    """By variables or by options; who is not known gets exit code 10, and is told what to do."""
    film = running.directory / "film.bin"
    film.write_bytes(secrets.token_bytes(9_000_000))
    put = running.sealane("put", film, "--json", token=running.token())
    assert put.code == 0, put.err
    session = put.document["session_id"]
    token_file = running.directory / "token-option"
    token_file.write_text(running.token(tenant="acme", roles="reader"))
    shown = running.sealane("status", session, "--token-file", token_file, "--json")
    assert shown.document["state"] == "COMMITTED"
    denied = running.sealane("put", film, "--no-resume", "--token-file", token_file, "--json")
    assert (denied.code, denied.error["reason"]) == (10, "PERMISSION_DENIED")
    nobody = running.sealane("ls")
    assert nobody.code == 10
    assert "--token-file" in nobody.err
    removed = running.sealane("rm", session, "--yes", SEALANE_TOKEN=running.token(roles=["operator"]))
    assert removed.code == 0, removed.err
    assert running.sealane("ls", SEALANE_TOKEN=STATIC).code == 0


def test_a_certificate_is_exchanged_under_running_processes(running: Running) -> None:
    """The new one is served within a few seconds, by the same processes, which go on trusting each other."""
    pids = [service.info for service in running.services]
    before = serial((running.directory / "ca" / "service.pem").read_bytes())
    assert served(running.ingest) == served(running.assembly) == before
    running.authority.issue("service")
    after = serial((running.directory / "ca" / "service.pem").read_bytes())
    deadline = time.monotonic() + 60
    while not served(running.ingest) == served(running.assembly) == after:
        assert time.monotonic() < deadline, running.logs()
        time.sleep(0.2)
    assert [service.info for service in running.services] == pids
    assert all(service.poll() is None for service in running.services)
    film = running.directory / "film2.bin"
    film.write_bytes(secrets.token_bytes(1_000_000))
    assert running.sealane("put", film, token=running.token()).code == 0


def served(service: Service) -> int:
    host, _, port = service.address.partition(":")
    return serial(ssl.get_server_certificate((host, int(port)), timeout=20).encode())


def test_no_secret_stands_in_any_log(running: Running) -> None:
    """Of everything that the tests before have shown or kept: last, on purpose."""
    token = running.token()
    assert running.call("IngestService/ListSessions", {}, token=token).code == 0
    refused = running.token(aud="other")
    assert running.call("IngestService/ListSessions", {}, token=refused).reason == "UNAUTHENTICATED"
    told = running.logs()
    assert '"private": "JWT: invalid_claim aud"' in told
    shown = [token, refused, STATIC, *(path.read_text() for path in running.directory.glob("*token*"))]
    for secret in shown:
        for part in secret.split(".")[-2:]:
            assert part not in told
    for line in (running.directory / "ca" / "service.key").read_text().splitlines()[1:-1]:
        assert line not in told


def test_a_listener_that_others_reach_does_not_start_in_plaintext(running: Running, tmp_path: Path) -> None:
    service = Service(
        "assembly",
        9,
        address="0.0.0.0:0",
        health_address=f"{LOOPBACK}:0",
        settings={"SEALANE_S3_ENDPOINT": "http://127.0.0.1:1"},
        directory=tmp_path,
        log_path=tmp_path / "log",
    )
    service.launch()
    assert service.wait(60) == 78
    assert "SEALANE_PLAINTEXT=true" in service.log_tail()
