"""What a cluster tells its services, before any of them starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealane.dev.cluster import Cluster
from sealane.dev.seaweed import SeaweedFS, SeaweedPorts
from sealane.dev.service import Kind, Service


@pytest.mark.parametrize(("kind", "other"), [("ingest", "assembly"), ("assembly", "ingest")])
def test_every_service_is_told_of_all_replicas_of_the_other_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, other: Kind
) -> None:
    """One that knew a single peer would be alone as soon as that one ends."""
    told: dict[str, str] = {}
    made = Service.__init__

    def listen(service: Service, kind: Kind, number: int, **facts: object) -> None:
        made(service, kind, number, **facts)  # type: ignore[arg-type]  # handed on as it came
        settings = facts["settings"]
        assert isinstance(settings, dict)
        told[service.name] = settings["SEALANE_PEER"]

    monkeypatch.setattr(Service, "__init__", listen)
    cluster = Cluster(tmp_path, ingest=2, assembly=3)
    cluster._store = SeaweedFS(tmp_path / "store", access_key="a", secret_key="b" * 16, ports=SeaweedPorts.allocate())
    cluster.services = tuple(cluster._plan())
    peers = ",".join(service.address for service in cluster.of_kind(other))
    assert {told[service.name] for service in cluster.of_kind(kind)} == {peers}
    assert len(told) == 5
