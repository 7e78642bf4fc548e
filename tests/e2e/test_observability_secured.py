"""One ingest with TLS and tokens, as an operator sees it: no secret anywhere, its certificate's end, and its own."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpcurl import PROGRAM
from minio import Minio
from otlp_collector import Collector, collecting
from watched_services import until

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Service
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import ingest_service_pb2_grpc
from tests.authority import Authority

pytestmark = [pytest.mark.e2e, pytest.mark.real_store, pytest.mark.timeout(300)]

TOKEN = "known-" + secrets.token_hex(16)
WRONG = "wrong-" + secrets.token_hex(16)
JWT_LIKE = "eyJhbGciOiJub25lIn0." + secrets.token_hex(16) + ".c2lnbmF0dXJl"


@dataclass(frozen=True)
class Secured:
    """The service, and what only it and its callers may know."""

    service: Service
    authority: Authority
    certificate: Path
    key: Path
    collector: Collector
    secret_key: str

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://{self.service.metrics_address}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def value(self, series: str) -> float | None:
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.scrape(), re.MULTILINE)
        return float(found[1]) if found else None

    def call(self, method: str, request: dict[str, object], *headers: str) -> int:
        """By grpcurl, over TLS; its exit code."""
        told = [word for header in headers for word in ("-H", header)]
        where = (self.service.address, f"sealane.v1.IngestService/{method}")
        return subprocess.run(
            [PROGRAM, "-cacert", self.authority.ca_file, *told, "-d", json.dumps(request), *where],
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode


@pytest.fixture(scope="module")
def secured(seaweed: SeaweedFS, plain_s3: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory / "authority")
    certificate, key = authority.issue("ingest")
    identities = directory / "identities.toml"
    identities.write_text(
        f'[[token]]\nname = "ci"\ntoken = "{TOKEN}"\ntenant = "acme"\nroles = ["uploader", "reader"]\n'
    )
    peer_token = directory / "peer-token"
    peer_token.write_text(TOKEN)
    bucket = f"secured-{secrets.token_hex(6)}"
    plain_s3.make_bucket(bucket)
    own, health, metrics = (f"{LOOPBACK}:{port}" for port in free_ports(3))
    with collecting() as collector:
        settings = {
            "SEALANE_S3_ENDPOINT": seaweed.endpoint,
            "SEALANE_S3_BUCKET": bucket,
            "SEALANE_S3_ACCESS_KEY": seaweed.access_key,
            "SEALANE_S3_SECRET_KEY": seaweed.secret_key,
            "SEALANE_PROBE_PAGE_KEYS": "10",
            "SEALANE_LOG_LEVEL": "DEBUG",
            "SEALANE_IDENTITY": "tokens",
            "SEALANE_IDENTITIES_FILE": str(identities),
            "SEALANE_TLS_CERT_FILE": str(certificate),
            "SEALANE_TLS_KEY_FILE": str(key),
            "SEALANE_PEER": f"{LOOPBACK}:1",
            "SEALANE_PEER_TOKEN_FILE": str(peer_token),
            "SEALANE_TRACES_ENDPOINT": f"http://{collector.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        service = Service(
            "ingest",
            1,
            address=own,
            health_address=health,
            metrics_address=metrics,
            settings=settings,
            directory=directory,
            log_path=directory / "ingest.log",
        )
        try:
            service.start(timeout=120)
            yield Secured(service, authority, certificate, key, collector, seaweed.secret_key)
        finally:
            service.kill()
    plain_s3.remove_bucket(bucket)


def test_the_end_of_the_certificate_is_told(secured: Secured) -> None:
    ends = x509.load_pem_x509_certificate(secured.certificate.read_bytes()).not_valid_after_utc.timestamp()
    assert secured.value("sealane_certificate_not_after_timestamp_seconds") == ends


def test_no_token_and_no_key_is_in_the_log_the_metrics_or_the_traces(secured: Secured) -> None:
    created: dict[str, object] = {"filename": "a.bin", "size": "1"}
    bearer = "authorization: Bearer "
    assert secured.call("CreateSession", created, bearer + TOKEN) == 0
    gone: dict[str, object] = {"session_id": "0" * 32}
    assert secured.call("GetSession", gone, bearer + TOKEN) == 64 + grpc.StatusCode.NOT_FOUND.value[0]
    for refused in (bearer + WRONG, bearer + JWT_LIKE, "authorization: Basic " + WRONG, "authorization: " + TOKEN):
        assert secured.call("CreateSession", created, refused) == 64 + grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert secured.call("CreateSession", created) != 0
    until(lambda: b"UNAUTHENTICATED" in secured.collector.raw, "the spans have arrived")
    log = secured.service.log_path.read_text()
    assert '"level": "debug"' in log
    assert '"tenant": "acme"' in log
    told = log.encode() + secured.scrape().encode() + secured.collector.raw
    body_of_the_key = secured.key.read_text().splitlines()[1].encode()
    for name, secret in {
        "a good token": TOKEN.encode(),
        "a wrong token": WRONG.encode(),
        "a JWT": JWT_LIKE.encode(),
        "the private key": body_of_the_key,
        "the store's secret": secured.secret_key.encode(),
    }.items():
        assert secret not in told, name


def test_a_drain_is_told_with_what_is_left_of_it(secured: Secured) -> None:
    """The last test of this service: it ends here, and is scraped until it does."""
    credentials = grpc.ssl_channel_credentials(secured.authority.ca_file.read_bytes())
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    with grpc.secure_channel(secured.service.address, credentials) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        request = pb.CreateSessionRequest(filename="held", size=2)
        session = stub.CreateSession(request, metadata=metadata, timeout=30).session.session_id
        over = threading.Event()
        held = held_open(session, over)
        call = stub.UploadChunks.future(held, metadata=metadata)
        in_progress = 'sealane_rpcs_in_progress{method="UploadChunks"}'
        until(lambda: secured.value("sealane_memory_in_use_bytes") == 2, "the chunk in hand")
        assert secured.value("sealane_ready") == 1
        assert secured.value("sealane_draining") == 0
        assert secured.value("sealane_drain_remaining_seconds") is None
        secured.service.terminate()
        until(lambda: secured.value("sealane_draining") == 1, "the drain")
        assert secured.value("sealane_ready") == 0
        assert secured.value('sealane_not_ready_condition{condition="drain"}') == 1
        assert secured.value(in_progress) == 1
        left = secured.value("sealane_drain_remaining_seconds")
        assert left is not None
        assert 0 < left <= 25
        call.cancel()
        over.set()
    assert secured.service.wait(60) == 0


def held_open(session: str, over: threading.Event) -> Iterator[pb.UploadChunksRequest]:
    """A header, and a frame that does not end its chunk; then the stream is open until it is ``over``."""
    yield pb.UploadChunksRequest(header=pb.StreamHeader(session_id=session))
    yield pb.UploadChunksRequest(frame=pb.ChunkFrame(chunk_index=0, data=b"x"))
    over.wait(60)
