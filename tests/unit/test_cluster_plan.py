"""What a cluster tells its services, before any of them starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealane.dev.cluster import Cluster
from sealane.dev.host import Host
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


def test_every_program_is_started_on_the_host_that_it_is_given(tmp_path: Path) -> None:
    """All its ports are there, and the store is sought on the store's."""
    addresses = {"store": "10.99.0.1", "ingest-1": "10.99.0.2", "ingest-2": "10.99.0.3", "assembly-1": "10.99.0.4"}
    cluster = Cluster(tmp_path, ingest=2, host_of=lambda name: Host(addresses[name], ("enter", name)))
    cluster._store = SeaweedFS(
        tmp_path / "store",
        access_key="a",
        secret_key="b" * 16,
        ports=SeaweedPorts.allocate(),
        host=Host(addresses["store"]),
    )
    assert cluster.store.endpoint.startswith("http://10.99.0.1:")
    services = list(cluster._plan())
    assert [service.name for service in services] == ["ingest-1", "ingest-2", "assembly-1"]
    for service in services:
        listens = (service.address, service.health_address, service.metrics_address)
        assert {address.partition(":")[0] for address in listens} == {addresses[service.name]}
        assert service._child.argv[:2] == ("enter", service.name)
