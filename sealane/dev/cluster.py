"""A whole sealane on one machine: the embedded store, N ingest and M assembly processes, under one folder.

    {directory}/
        lock            held while the cluster lives
        cluster.json    what other programs need to use it (only while it lives)
        credentials.json  the embedded store's keys, kept between runs
        store/          the embedded store's data and log, kept between runs
        tls/            with TLS: an authority and a certificate of it, new at each start
        logs/           a log file a service

Every process dies with its parent, whatever kills that (:mod:`sealane.dev.process`). :meth:`Cluster.tend` restarts
what crashed, with growing pauses; ``sealane dev`` calls it in a loop, the tests and the demo don't.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from sealane import cluster_file
from sealane.cluster_file import ClusterInfo, StoreInfo
from sealane.dev import authority
from sealane.dev.host import Host, this_machine
from sealane.dev.ports import free_ports
from sealane.dev.process import StartFailed
from sealane.dev.seaweed import SeaweedFS, SeaweedPorts
from sealane.dev.service import Kind, Service

REGION = "us-east-1"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY_SECONDS = 20.0
"""A service that ran for so long starts with the first pause again."""
# sysexits' EX_CONFIG, and "the store was refused": the same again, however often it is started.
_HOPELESS = {78: "its settings are refused", 3: "it refuses the store"}

Say = Callable[[str], None]


def _silent(_: str) -> None:
    pass


class Cluster:
    """A context manager; start and stop block. Ports of 0 are picked; ``settings`` are SEALANE_… variables for all
    services, beside those that the cluster itself decides (addresses, store, tenant, with ``tls`` certificates).
    ``host_of`` answers where "store", "ingest-1", "assembly-1", … run."""

    def __init__(
        self,
        directory: Path,
        *,
        ingest: int = 1,
        assembly: int = 1,
        ingest_port: int = 0,
        assembly_port: int = 0,
        s3_port: int = 0,
        tenant: str = "default",
        bucket: str = "sealane",
        tls: bool = False,
        settings: Mapping[str, str] | None = None,
        say: Say = _silent,
        host_of: Callable[[str], Host] = this_machine,
    ) -> None:
        if ingest < 1 or assembly < 1:
            raise ValueError("at least one of each service")
        self.directory = directory.absolute()
        self.tenant = tenant
        self._counts: dict[Kind, int] = {"ingest": ingest, "assembly": assembly}
        self._first_ports: dict[Kind, int] = {"ingest": ingest_port, "assembly": assembly_port}
        self._s3_port = s3_port
        self._bucket = bucket
        self._tls = tls
        self._certificates: authority.Certificates | None = None
        self._settings = dict(settings or {})
        self._say = say
        self._host_of = host_of
        self._scope = contextlib.ExitStack()
        self._store: SeaweedFS | None = None
        self.services: tuple[Service, ...] = ()
        self._restarts: dict[str, _Restart] = {}

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self, *, timeout: float = 120.0) -> Self:
        """Return once every service is ready. StartFailed, AlreadyRunning, StoreNotInstalled; nothing is left then."""
        try:
            self._scope.enter_context(cluster_file.held(self.directory))
            self._say("starting the embedded store (SeaweedFS)")
            access_key, secret_key = _credentials(self.directory)
            ports = dataclasses.replace(SeaweedPorts.allocate(), s3=self._s3_port) if self._s3_port else None
            self._store = SeaweedFS(
                self.directory / "store",
                bucket=self._bucket,
                access_key=access_key,
                secret_key=secret_key,
                ports=ports,
                host=self._host_of("store"),
            )
            self._scope.callback(self._store.stop)
            self._store.start(timeout=timeout)
            if self._tls:
                self._certificates = authority.certificates(self.directory / "tls")
            self.services = tuple(self._plan())
            names = ", ".join(service.name for service in self.services)
            self._say(f"starting {names}")
            for service in self.services:
                self._scope.callback(service.kill)
                service.launch()
            for service in self.services:
                service.await_ready(timeout=timeout)
            now = time.monotonic()
            self._restarts = {service.name: _Restart(since=now) for service in self.services}
            cluster_file.write(self.directory, self.info)
        except BaseException:
            self._scope.close()
            raise
        return self

    def stop(self, *, grace: float = 30.0) -> None:
        """SIGTERM to all services at once, ``grace`` seconds to drain, SIGKILL, then the store. Nothing is left."""
        services = [service for service in self.services if service.running]
        if services:
            with ThreadPoolExecutor(len(services), thread_name_prefix="stop") as pool:
                for end in [pool.submit(service.stop, grace=grace) for service in services]:
                    end.result()
        self._scope.close()

    def kill(self) -> None:
        """End everything at once, as a power cut would. The data stays."""
        for service in self.services:
            service.kill()
        self._scope.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def store(self) -> SeaweedFS:
        if self._store is None:
            raise RuntimeError("the cluster was never started")
        return self._store

    @property
    def info(self) -> ClusterInfo:
        store = self.store
        return ClusterInfo(
            pid=os.getpid(),
            tenant=self.tenant,
            store=StoreInfo(store.endpoint, store.bucket, REGION, store.access_key, store.secret_key),
            services=tuple(service.info for service in self.services),
            ca_file=str(self._certificates.ca_file) if self._certificates else "",
        )

    def of_kind(self, kind: Kind) -> tuple[Service, ...]:
        return tuple(service for service in self.services if service.kind == kind)

    def target(self, kind: Kind) -> str:
        """All replicas of a kind as one gRPC target: calls are spread over them."""
        return target(service.address for service in self.of_kind(kind))

    # --- keeping it alive ----------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Restart what has ended, each after its own pause, and say so. StartFailed for what can't get better."""
        if not self.store.running:
            self._say("the store ended; starting it again")
            self.store.start()
            self._say("the store is back, with its data")
        now = time.monotonic()
        for service in self.services:
            restart = self._restarts[service.name]
            code = service.poll()
            if code is None:
                if restart.failures and now - restart.since > _STEADY_SECONDS:
                    restart.failures = 0
                if restart.waiting_for_ready and service.ready():
                    restart.waiting_for_ready = False
                    self._say(f"{service.name} is ready again")
            elif why := _HOPELESS.get(code):
                raise StartFailed(f"{service.name} ended with code {code}: {why}\n{service.log_tail(10)}")
            elif restart.due is None:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**restart.failures)
                restart.due = now + pause
                self._say(f"{service.name} {_ended(code)}; starting it again in {pause:g} s (log: {service.log_path})")
            elif now >= restart.due:
                restart.due, restart.since, restart.waiting_for_ready = None, now, True
                restart.failures += 1
                service.launch()

    # --- inside --------------------------------------------------------------------------------------------------

    def _plan(self) -> Iterator[Service]:
        """The services with their ports, each told of all replicas of the other kind."""
        total = sum(self._counts.values())
        free = iter(free_ports(3 * total))
        addresses: dict[Kind, list[str]] = {}
        for kind, count in self._counts.items():
            ports = [self._first_ports[kind] or next(free), *(next(free) for _ in range(count - 1))]
            addresses[kind] = [
                f"{self._host_of(f'{kind}-{number}').address}:{port}" for number, port in enumerate(ports, start=1)
            ]
        others: dict[Kind, Kind] = {"ingest": "assembly", "assembly": "ingest"}
        (self.directory / "run").mkdir(exist_ok=True)
        for kind, own in addresses.items():
            settings = {
                "SEALANE_LOG_FORMAT": "json",
                # A restarted ingest loads the kernel that the first one compiled.
                "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or str(self.directory / "kernel"),
                **self._settings,
                "SEALANE_TENANT": self.tenant,
                "SEALANE_S3_ENDPOINT": self.store.endpoint,
                "SEALANE_S3_BUCKET": self.store.bucket,
                "SEALANE_S3_REGION": REGION,
                "SEALANE_S3_ACCESS_KEY": self.store.access_key,
                "SEALANE_S3_SECRET_KEY": self.store.secret_key,
                **self._tls_settings(),
            }
            for number, address in enumerate(own, start=1):
                host = self._host_of(f"{kind}-{number}")
                yield Service(
                    kind,
                    number,
                    address=address,
                    health_address=f"{host.address}:{next(free)}",
                    metrics_address=f"{host.address}:{next(free)}",
                    settings=settings | {"SEALANE_PEER": ",".join(addresses[others[kind]])},
                    directory=self.directory / "run",
                    log_path=self.directory / "logs" / f"{kind}-{number}.log",
                    enter=host.enter,
                )

    def _tls_settings(self) -> dict[str, str]:
        if self._certificates is None:
            return {}
        return {
            "SEALANE_TLS_CERT_FILE": str(self._certificates.cert_file),
            "SEALANE_TLS_KEY_FILE": str(self._certificates.key_file),
            "SEALANE_PEER_CA_FILE": str(self._certificates.ca_file),
            "SEALANE_PEER_SERVER_NAME": cluster_file.SERVER_NAME,
        }


@dataclasses.dataclass(slots=True)
class _Restart:
    """What is known of a service's latest start. Times are of time.monotonic()."""

    since: float
    failures: int = 0
    due: float | None = None
    waiting_for_ready: bool = False


def target(addresses: Iterator[str] | list[str]) -> str:
    """host:port alone, or gRPC's own list of several: its round-robin policy then spreads the calls."""
    listed = list(addresses)
    return listed[0] if len(listed) == 1 else f"ipv4:{','.join(listed)}"


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _credentials(directory: Path) -> tuple[str, str]:
    """The embedded store's keys: made at the first run, the same ever after."""
    path = directory / "credentials.json"
    with contextlib.suppress(FileNotFoundError):
        values = json.loads(path.read_bytes())
        return values["access_key"], values["secret_key"]
    values = {"access_key": "sealane-dev", "secret_key": secrets.token_hex(16)}
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(values, file)
    temporary.replace(path)
    return values["access_key"], values["secret_key"]
