"""What is operated: a store, two replicas of each service with TLS and tokens, and a Prometheus that scrapes them."""

from __future__ import annotations

import json
import secrets
import signal
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.seaweed import SeaweedFS, SeaweedPorts
from tests.authority import Authority
from tests.walk.desk import BIN, Desk

ROOT = Path(__file__).parents[2]
TOKEN, NEXT_TOKEN, SERVICES_TOKEN = (f"{name}-token-0123456789" for name in ("my-own", "my-next", "the-services"))
DRAIN_SECONDS = 40.0
SERVICES = f'[[token]]\nname = "sealane"\ntoken = "{SERVICES_TOKEN}"\nroles = ["service"]\n'
MINE = """
[[token]]
name = "me-{number}"
token = "{token}"
tenant = "acme"
roles = ["uploader", "reader", "operator"]
"""


class Replica:
    """One process, started with what `docs/operations.md` says: an environment, and a command."""

    def __init__(self, site: Site, kind: str, number: int) -> None:
        self.kind, self.name = kind, f"{kind}-{number}"
        self.address, self.health, self.metrics = (f"{LOOPBACK}:{port}" for port in free_ports(3))
        self.log = site.desk.directory / "log" / f"{self.name}.log"
        self._site = site
        self.process: ChildProcess | None = None

    def launch(self) -> None:
        """Start it; it is ready later."""
        own = {"LISTEN": self.address, "HEALTH_LISTEN": self.health, "METRICS_LISTEN": self.metrics}
        settings = self._site.settings() | {f"SEALANE_{name}": value for name, value in own.items()}
        desk = self._site.desk
        desk.say(f"$ SEALANE_LISTEN={self.address} … sealane-{self.kind} >> log/{self.name}.log &")
        program = str(BIN / f"sealane-{self.kind}")
        environment = {name: value for name, value in desk.environment().items() if not name.startswith("SEALANE_")}
        self.process = ChildProcess([program], env=environment | settings, log_path=self.log, name=self.name).start()

    def ready(self) -> bool:
        """Asked of its health port, as a probe does."""
        assert self.process is not None
        if not self.process.running:
            raise RuntimeError(f"{self.name} ended with {self.process.poll()}\n{self.process.log_tail()}")
        question = ["-plaintext", "-d", '{"service":"readiness"}', self.health, "grpc.health.v1.Health/Check"]
        return '"SERVING"' in self._site.desk.answer(str(BIN / "grpcurl"), *question)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self._site.desk.say(f"$ kill -TERM {self.name}")
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DRAIN_SECONDS)

    def kill(self) -> None:
        assert self.process is not None
        self._site.desk.say(f"$ kill -KILL {self.name}")
        self.process.kill()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name and labels, as curl shows them."""
        text = get(f"http://{self.metrics}/metrics")
        total = 0.0
        for line in text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{each}"' in head for key, each in labels.items()):
                total += float(value)
        return total

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Lines of its log with that event."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [parsed for line in lines if line.startswith("{") and (parsed := json.loads(line))["event"] == event]


class Site:
    """A context manager: on leaving, all that it started is stopped, each by its process id."""

    def __init__(self, desk: Desk, *, ports: SeaweedPorts | None = None) -> None:
        self.desk = desk
        self.store = SeaweedFS(
            desk.directory / "store", access_key="walk", secret_key=secrets.token_hex(16), ports=ports
        )
        self.ingest = [Replica(self, "ingest", number) for number in (1, 2)]
        self.assembly = [Replica(self, "assembly", number) for number in (1, 2)]
        self.prometheus_address = f"{LOOPBACK}:{free_ports(1)[0]}"
        self._prometheus: ChildProcess | None = None
        self._authority: Authority | None = None

    @property
    def replicas(self) -> list[Replica]:
        return [*self.ingest, *self.assembly]

    def __enter__(self) -> Self:
        self.store.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*(replica.process for replica in self.replicas), self._prometheus):
            if process is not None:
                process.kill()
        self.store.kill()

    def settings(self) -> dict[str, str]:
        """sealane.env, which both services share."""
        lines = (self.desk.directory / "sealane.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def lay_out(self) -> None:
        """Certificates, tokens, identities, settings: docs/security.md, as files."""
        at = self.desk.directory
        self._authority = Authority(at / "tls", "walk authority")
        self._authority.ca_file.replace(at / "tls/ca.crt")
        self.certify(days=3)
        self.identify(TOKEN)
        (at / "peer-token").write_text(SERVICES_TOKEN)
        (at / "token").write_text(TOKEN)
        lines = {
            "S3_ENDPOINT": self.store.endpoint,
            "S3_ACCESS_KEY": self.store.access_key,
            "S3_SECRET_KEY": self.store.secret_key,
            "IDENTITY": "tokens",
            "IDENTITIES_FILE": f"{at}/identities.toml",
            "PEER_TOKEN_FILE": f"{at}/peer-token",
            "TLS_CERT_FILE": f"{at}/tls/tls.crt",
            "TLS_KEY_FILE": f"{at}/tls/tls.key",
            "PEER_CA_FILE": f"{at}/tls/ca.crt",
            "PEER_SERVER_NAME": "sealane",
            "INGEST_PEER": ",".join(replica.address for replica in self.assembly),
            "ASSEMBLY_PEER": ",".join(replica.address for replica in self.ingest),
            "INGEST_MAX_STREAMS": "4",
            "SWEEP_INTERVAL": "5",
            "PROBE_PAGE_KEYS": "50",
        }
        lines = {f"SEALANE_ASSEMBLY_{n}" if n == "SWEEP_INTERVAL" else f"SEALANE_{n}": v for n, v in lines.items()}
        (at / "sealane.env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        (at / "log").mkdir()
        self.desk.env |= {
            "SEALANE_INGEST": lines["SEALANE_ASSEMBLY_PEER"],
            "SEALANE_ASSEMBLY": lines["SEALANE_INGEST_PEER"],
            "SEALANE_CA_FILE": f"{at}/tls/ca.crt",
            "SEALANE_SERVER_NAME": "sealane",
            "SEALANE_TOKEN_FILE": f"{at}/token",
            "XDG_STATE_HOME": f"{at}/state",
        }

    def certify(self, *, days: float) -> None:
        """A new certificate for the replicas, under the names that are read again."""
        assert self._authority is not None
        certificate, key = self._authority.issue("new", dns=("sealane",), days=days)
        key.replace(self.desk.directory / "tls/tls.key")
        certificate.replace(self.desk.directory / "tls/tls.crt")
        self.desk.say(f"tls/tls.crt, tls/tls.key: a new certificate for `sealane`, for {days:g} days")

    def identify(self, *mine: str) -> None:
        """identities.toml with these tokens of the operator's, exchanged whole."""
        new = self.desk.directory / "identities.new"
        new.write_text(SERVICES + "".join(MINE.format(number=n, token=token) for n, token in enumerate(mine)))
        new.replace(self.desk.directory / "identities.toml")

    def watch(self) -> None:
        """Start Prometheus with the project's alert rules, and the jobs under the names that these ask for."""
        jobs = {"sealane-ingest": self.ingest, "sealane-assembly": self.assembly}
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "deploy" / "prometheus" / "alerts.yaml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [replica.metrics for replica in replicas]}]}
                for job, replicas in jobs.items()
            ],
        }
        path = self.desk.directory / "prometheus.yaml"
        path.write_text(yaml.safe_dump(configuration))
        words = ["--config.file", str(path), "--storage.tsdb.path", str(self.desk.directory / "tsdb")]
        words += ["--web.listen-address", self.prometheus_address, "--log.level", "warn"]
        self._prometheus = ChildProcess(
            [str(BIN / "prometheus"), *words],
            env=self.desk.environment(),
            log_path=self.desk.directory / "prometheus.log",
        ).start()
        self._prometheus.await_ready(self._prometheus_ready, timeout=60)

    def _prometheus_ready(self) -> bool:
        try:
            return "Ready" in get(f"http://{self.prometheus_address}/-/ready")
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Prometheus' answer to an instant query."""
        question = urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"http://{self.prometheus_address}/api/v1/query?{question}"))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def get(url: str) -> str:
    """The body of a GET. OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()
