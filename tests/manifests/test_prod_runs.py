"""prod's environment, as the manifests give it, under real services: TLS, tokens of the cluster, an upload.

What Secrets, the kubelet and the cluster's issuer bring is made here: certificates for the services' names, tokens of
service accounts, the issuer's keys. Only addresses, the store and its keys are other ones than in the cluster.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from minio import Minio

from deploy.kubernetes import check, mounts
from deploy.kubernetes.environment import config_maps, given
from deploy.kubernetes.workloads import ours
from sealane.dev.ports import free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Service
from sealane.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from tests.authority import Authority
from tests.jwt_issuer import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.real_store, pytest.mark.timeout(300)]
RENDERER = "system:serviceaccount:films:renderer"


@dataclass
class Cluster:
    """The two services, and what a client of theirs has."""

    services: dict[str, Service]
    folder: Path
    issuer: Issuer
    issuer_name: str
    audience: str = "sealane"
    """Of clients' tokens; the services' own are made out as their manifests ask."""

    def token(self, subject: str, **claims: Any) -> Path:
        """A projected token, as the cluster's issuer makes it for a pod that asks for the audience."""
        _, _, namespace, account = subject.split(":")
        now = int(time.time())
        told: dict[str, Any] = {
            "iss": self.issuer_name,
            "aud": [self.audience],
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account}},
            "tenant": None,
            "roles": None,
        }
        file = self.folder / f"{namespace}-{account}-{len(claims)}.token"
        file.write_text(self.issuer.token(**(told | claims)), encoding="ascii")
        return file

    def rpcs(self) -> list[dict[str, Any]]:
        """What both services logged of each call."""
        lines = [line for s in self.services.values() for line in s.log_path.read_text(encoding="utf-8").splitlines()]
        told: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line.get("event") == "rpc"]

    def sealane(self, *words: str | Path, token: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sealane.cli", *map(str, words), "--json"]
        addresses = [f"--{kind}=localhost:{s.address.rpartition(':')[2]}" for kind, s in self.services.items()]
        shown = [] if token is None else [f"--token-file={token}"]
        options = [*addresses, f"--ca-file={self.folder / 'authority' / 'ca.pem'}", *shown]
        environment = {"XDG_STATE_HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        return subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)


def projected(pod: dict[str, Any]) -> dict[str, Any]:
    """The one token that a pod has."""
    sources = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    (token,) = [source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source]
    return dict(token)


@pytest.fixture(scope="module")
def cluster(seaweed: SeaweedFS, plain_s3: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("prod")
    manifests = check.build(check.HERE / "overlays" / "prod")
    maps = config_maps(manifests)
    (settings,) = [data for data in maps.values() if "SEALANE_JWT_ISSUER" in data]
    plain_s3.make_bucket("prod")
    authority, issuer = Authority(folder / "authority"), Issuer()
    made = Cluster({}, folder, issuer, settings["SEALANE_JWT_ISSUER"])
    calls, health = free_ports(2), free_ports(2)
    ports = dict(zip(("ingest", "assembly"), zip(calls, health, strict=True), strict=True))
    for service, deployment, container in ours(manifests):
        pod = deployment["spec"]["template"]["spec"]
        other = "assembly" if service == "ingest" else "ingest"
        names = (f"sealane-{service}", f"sealane-{service}.sealane", f"sealane-{service}.sealane.svc", "localhost")
        certificate, key = authority.issue(f"sealane-{service}", dns=names)
        brought = {
            "/etc/sealane/tls/tls.crt": certificate,
            "/etc/sealane/tls/tls.key": key,
            "/etc/sealane/tls/ca.crt": authority.ca_file,
            "/var/run/sealane/token": made.token(
                f"system:serviceaccount:sealane:{pod['serviceAccountName']}", aud=[projected(pod)["audience"]]
            ),
            "/etc/sealane/identity/jwks.json": folder / "jwks.json",
            "/etc/sealane/identity/identities.toml": folder / "identities.toml",
            "/etc/sealane/quotas/quotas.toml": folder / "quotas.toml",
        }
        (folder / "jwks.json").write_bytes(issuer.jwks())
        for path in ("/etc/sealane/identity/identities.toml", "/etc/sealane/quotas/quotas.toml"):
            (folder / Path(path).name).write_bytes(mounts.content(path, pod, container, manifests) or b"")
        environment = given(container, maps)
        named = dict(mounts.files(environment))
        assert set(named.values()) == set(brought)
        environment |= {name: str(brought[path]) for name, path in named.items()}
        environment |= {
            "SEALANE_PEER": f"localhost:{ports[other][0]}",
            "SEALANE_PEER_SERVER_NAME": environment["SEALANE_PEER"].partition(":")[0],
            "SEALANE_S3_ENDPOINT": seaweed.endpoint,
            "SEALANE_S3_BUCKET": "prod",
            "SEALANE_S3_REGION": "us-east-1",
            "SEALANE_S3_ACCESS_KEY": seaweed.access_key,
            "SEALANE_S3_SECRET_KEY": seaweed.secret_key,
            "SEALANE_PROBE_PAGE_KEYS": "10",
        }
        made.services[service] = Service(
            service,  # type: ignore[arg-type]
            1,
            address=f"127.0.0.1:{ports[service][0]}",
            health_address=f"127.0.0.1:{ports[service][1]}",
            settings=environment,
            directory=folder,
            log_path=folder / f"{service}.log",
        )
    try:
        for one in made.services.values():
            one.launch()
        for one in made.services.values():
            one.await_ready(timeout=120.0)
        yield made
    finally:
        for one in made.services.values():
            one.kill()
        plain_s3.remove_bucket("prod")  # SeaweedFS removes what is in it, too


def ingest_asks_assembly(cluster: Cluster) -> None:
    """What became of a session that is open: nobody but assembly knows."""
    authority = grpc.ssl_channel_credentials((cluster.folder / "authority" / "ca.pem").read_bytes())
    address = f"localhost:{cluster.services['ingest'].address.rpartition(':')[2]}"
    metadata = [("authorization", f"Bearer {cluster.token(RENDERER).read_text(encoding='ascii')}")]
    with grpc.secure_channel(address, authority) as channel:
        stub: Any = ingest_service_pb2_grpc.IngestServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        created = stub.CreateSession(ingest_service_pb2.CreateSessionRequest(), metadata=metadata, timeout=20.0)
        request = ingest_service_pb2.GetSessionRequest(session_id=created.session.session_id)
        assert not stub.GetSession(request, metadata=metadata, timeout=20.0).session.outcome_unavailable


def test_a_client_with_its_pods_token_uploads_into_its_namespaces_tenant(cluster: Cluster, plain_s3: Minio) -> None:
    """Through both services, each of which has asked the other with a token of its own, over TLS."""
    file = cluster.folder / "file.bin"
    file.write_bytes(b"a frame" * 1000)
    put = cluster.sealane("put", file, token=cluster.token(RENDERER))
    assert put.returncode == 0, put.stderr
    key = json.loads(put.stdout)["committed_object"]["key"]
    assert key.startswith("films/by-session/")
    answer = plain_s3.get_object("prod", key)
    assert answer.data == b"a frame" * 1000
    answer.close()
    status = cluster.sealane("status", json.loads(put.stdout)["session_id"], token=cluster.token(RENDERER))
    assert json.loads(status.stdout)["state"] == "COMMITTED"
    ingest_asks_assembly(cluster)
    asked = {(line["method"].rpartition("/")[2], line["subject"], line["code"]) for line in cluster.rpcs()}
    service = "system:serviceaccount:sealane:sealane-"
    assert {("GetCommit", f"{service}ingest", "OK"), ("StreamReceipts", f"{service}assembly", "OK")} <= asked


@pytest.mark.parametrize(
    ("subject", "claims", "reason"),
    [
        (None, {}, "UNAUTHENTICATED"),
        ("system:serviceaccount:films:stranger", {}, "PERMISSION_DENIED"),
        (RENDERER, {"aud": ["https://kubernetes.default.svc.cluster.local"]}, "UNAUTHENTICATED"),
        (RENDERER, {"iss": "https://elsewhere.example"}, "UNAUTHENTICATED"),
        (RENDERER, {"exp": 1_700_000_000}, "UNAUTHENTICATED"),
    ],
)
def test_whoever_has_no_token_of_the_cluster_for_sealane_is_kept_out(
    cluster: Cluster, subject: str | None, claims: dict[str, Any], reason: str
) -> None:
    """No token, a pod that nobody let in, a token for the API server, another issuer's, an old one."""
    token = None if subject is None else cluster.token(subject, **claims)
    refused = cluster.sealane("ls", token=token)
    assert refused.returncode != 0
    assert reason in refused.stderr
