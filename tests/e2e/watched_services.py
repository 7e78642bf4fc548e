"""Both services as an operator would watch them: metrics, traces and the whole log, on the shared store."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from cli_process import Commands, environment
from otlp_collector import Collector, collecting

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Kind, Service

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Watched:
    """The services, what they are told, and where they tell."""

    ingest: Service
    assembly: Service
    commands: Commands
    collector: Collector
    settings: dict[str, str]

    def scrape(self, kind: Kind) -> str:
        service = self.ingest if kind == "ingest" else self.assembly
        with urllib.request.urlopen(f"http://{service.metrics_address}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def value(self, kind: Kind, series: str) -> float:
        """Of one series, labels as they are written; 0 if it is not there."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.scrape(kind), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def lines(self, kind: Kind) -> list[dict[str, Any]]:
        service = self.ingest if kind == "ingest" else self.assembly
        return [json.loads(line) for line in service.log_path.read_text().splitlines() if line.startswith("{")]

    def text(self) -> str:
        """Every byte that the services have written."""
        return "".join(each.log_path.read_text() for each in (self.ingest, self.assembly))


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once ``condition`` holds."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline, what
        sleep(0.05)


@contextlib.contextmanager
def watched_services(store: SeaweedFS, bucket: str, directory: Path, **more: str) -> Iterator[Watched]:
    """One of each, ingest at DEBUG, assembly at INFO, with traces on, while the block runs."""
    with collecting() as collector, contextlib.ExitStack() as stack:
        ports = iter(free_ports(6))
        addresses = [f"{LOOPBACK}:{next(ports)}" for _ in range(6)]
        settings = {
            "SEALANE_S3_ENDPOINT": store.endpoint,
            "SEALANE_S3_BUCKET": bucket,
            "SEALANE_S3_ACCESS_KEY": store.access_key,
            "SEALANE_S3_SECRET_KEY": store.secret_key,
            "SEALANE_PROBE_PAGE_KEYS": "10",
            "SEALANE_INGEST_LOG_LEVEL": "DEBUG",
            "SEALANE_ASSEMBLY_LOG_LEVEL": "INFO",
            "SEALANE_TRACES_ENDPOINT": f"http://{collector.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **more,
        }
        services = []
        for kind, own, peer in (("ingest", 0, 1), ("assembly", 1, 0)):
            service = Service(
                kind,  # type: ignore[arg-type]  # one of the two
                1,
                address=addresses[own],
                health_address=addresses[2 + own],
                metrics_address=addresses[4 + own],
                settings=settings | {"SEALANE_PEER": addresses[peer]},
                directory=directory,
                log_path=directory / f"{kind}.log",
            )
            stack.callback(service.kill)
            service.launch()
            services.append(service)
        for service in services:
            service.await_ready(timeout=120)
        env = environment(
            HOME=str(directory),
            XDG_STATE_HOME=str(directory),
            SEALANE_TRACES_ENDPOINT=f"http://{collector.address}",
        )
        commands = Commands(directory, services[0].address, services[1].address, env)
        yield Watched(services[0], services[1], commands, collector, settings)
