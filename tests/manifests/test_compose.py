"""The compose file: the specification's schema is `make image-lint`'s; here is what it says to the services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.derived import ENDING_SECONDS
from deploy.kubernetes.environment import name_faults, settings_from, value_faults
from ingest_service.app import LAST_UPLOADS_SECONDS

COMPOSE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text(encoding="utf-8")
)
SERVICES = ("ingest", "assembly")


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in COMPOSE["services"][service]["environment"].items()}


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_the_service_would_start_with_them(service: str) -> None:
    """By the service's own settings."""
    assert list(name_faults(service, environment(service))) == []
    assert list(value_faults(service, environment(service))) == []
    assert list(name_faults(service, environment(service) | {"SEALANE_S3_ENDPIONT": "x"})) != []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_do_no_more_than_in_a_cluster(service: str) -> None:
    """Read-only root, no capability, no way to get one."""
    told = COMPOSE["services"][service]
    assert (told["read_only"], told["cap_drop"]) == (True, ["ALL"])
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert told["command"] == [f"sealane-{service}"]


@pytest.mark.parametrize("service", SERVICES)
def test_stopping_gives_the_drain_its_time(service: str) -> None:
    """docker stop kills after stop_grace_period."""
    grace = float(COMPOSE["services"][service]["stop_grace_period"].removesuffix("s"))
    drain = settings_from(service, environment(service)).drain_seconds
    assert grace >= drain + LAST_UPLOADS_SECONDS + ENDING_SECONDS


def test_nothing_listens_beyond_the_laptop() -> None:
    """The credentials stand in the file, and there is no TLS."""
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) >= 7
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_the_ports_and_peers_fit_together() -> None:
    """Each peer is the other's name and port; each published port is one that is listened at."""
    for service, other in (SERVICES, SERVICES[::-1]):
        own, others = settings_from(service, environment(service)), settings_from(other, environment(other))
        assert own.peer == f"{other}:{others.listen.rpartition(':')[2]}"
        published = {port.rpartition(":")[2] for port in COMPOSE["services"][service]["ports"]}
        listened = {address.rpartition(":")[2] for address in (own.listen, own.health_listen, own.metrics_listen)}
        assert published <= listened
