"""A real Envoy in front of a cluster's replicas, with the very configuration that operators are given."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from sealane.dev.cluster import Cluster
from sealane.dev.host import Host
from sealane.dev.ports import free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.service import Kind

EXAMPLE = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever proxy the environment names: it could not reach a host of a namespace."""


def program() -> str:
    """envoy, beside this Python or on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise RuntimeError("there is no envoy: `make setup-dev` installs it")
    return found


class Envoy:
    """A context manager; blocking. ``address`` is where it listens, for both services."""

    def __init__(self, cluster: Cluster, directory: Path, *, host: Host = Host()) -> None:  # noqa: B008 - frozen
        self._cluster = cluster
        self._host = host.address
        directory.mkdir(parents=True, exist_ok=True)
        self._admin, port = free_ports(2)
        self.address = f"{self._host}:{port}"
        path = directory / "envoy.json"
        path.write_text(json.dumps(self._configured(port)))
        # Its threads default to the machine's; two are plenty. --base-id: several Envoys at once share nothing.
        self._child = ChildProcess(
            [
                *host.enter,
                *(program(), "--config-path", str(path), "--concurrency", "2", "--use-dynamic-base-id"),
                *("-l", "warning"),
            ],
            log_path=directory / "envoy.log",
            name="envoy",
        )

    def __enter__(self) -> Self:
        self._child.start()
        try:
            self._child.await_ready(lambda: all(self.ready(kind) for kind in ("ingest", "assembly")), timeout=60)
        except BaseException:
            self._child.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()

    def ready(self, kind: Kind) -> bool:
        """Whether it sees every replica of the kind as ready."""
        return self.healthy(kind) == len(self._cluster.of_kind(kind))

    def healthy(self, kind: Kind) -> int:
        """How many replicas of the kind it sends calls to."""
        try:
            seen = json.loads(self._ask("/clusters?format=json"))
        except OSError:
            return 0
        hosts: list[Any] = next(
            (c.get("host_statuses", []) for c in seen.get("cluster_statuses", ()) if c["name"] == kind), []
        )
        return sum(host["health_status"] == {"eds_health_status": "HEALTHY"} for host in hosts)

    def _ask(self, path: str) -> bytes:
        with _DIRECTLY.open(f"http://{self._host}:{self._admin}{path}", timeout=5) as answer:
            read: bytes = answer.read()
        return read

    def _configured(self, port: int) -> dict[str, Any]:
        """The example with our addresses in place of its own, and nothing else changed."""
        config: dict[str, Any] = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
        config["admin"]["address"]["socket_address"] = {"address": self._host, "port_value": self._admin}
        (listener,) = config["static_resources"]["listeners"]
        listener["address"]["socket_address"] = {"address": self._host, "port_value": port}
        for cluster in config["static_resources"]["clusters"]:
            (locality,) = cluster["load_assignment"]["endpoints"]
            locality["lb_endpoints"] = [
                {
                    "endpoint": {
                        "address": {"socket_address": _socket_address(service.address)},
                        "health_check_config": {"port_value": _socket_address(service.health_address)["port_value"]},
                    }
                }
                for service in self._cluster.of_kind(cluster["name"])
            ]
        return config


def _socket_address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"address": host, "port_value": int(port)}
