"""`sealane dev`: everything on this machine, for trying sealane and for developing against it."""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from sealane.cli.endpoints import DEFAULT_ASSEMBLY, DEFAULT_INGEST
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed
from sealane.cli.output import Output, table
from sealane.cluster_file import DEFAULT_DIRECTORY, SERVER_NAME, ClusterInfo
from sealane.extras import needed

if TYPE_CHECKING:
    from sealane.dev.cluster import Cluster, Say

_DEFAULT_PORTS = {
    "s3_port": 8333,
    "ingest_port": int(DEFAULT_INGEST.rpartition(":")[2]),
    "assembly_port": int(DEFAULT_ASSEMBLY.rpartition(":")[2]),
}
_TEND_SECONDS = 0.2
_PORT = click.IntRange(1, 65_535)


@click.command(name="dev")
@click.option("--ingest", type=click.IntRange(1, 16), default=1, show_default=True, help="Ingest processes.")
@click.option("--assembly", type=click.IntRange(1, 16), default=1, show_default=True, help="Assembly processes.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Where data, logs and keys live; kept between runs.",
)
@click.option("--s3-port", type=_PORT, help="The store's port.  [default: 8333 if free, else any]")
@click.option("--ingest-port", type=_PORT, help="The first ingest's port.  [default: 7301 if free, else any]")
@click.option("--assembly-port", type=_PORT, help="The first assembly's port.  [default: 7302 if free, else any]")
@click.option("--tls", is_flag=True, help="With TLS, by an authority of its own that is made anew at each start.")
@click.option("--tenant", default="default", show_default=True, help="Whose sessions these are.")
@click.option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the services, SEALANE_ in front or not; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when ready, one for each event.")
@click.option("--quiet", "-q", is_flag=True, help="Only the table.")
def command(
    ingest: int,
    assembly: int,
    directory: Path,
    s3_port: int | None,
    ingest_port: int | None,
    assembly_port: int | None,
    tls: bool,
    tenant: str,
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run an embedded SeaweedFS, ingest and assembly on this machine, until Ctrl-C.

    Other commands started in the same folder find them without any flag. A process that crashes is started again.
    The first Ctrl-C (or SIGTERM) stops everything in good order, a second at once; nothing is left running either
    way, and the data stays under --dir for the next run.
    """
    from sealane.cluster_file import AlreadyRunning

    with needed("cli,server,dev-store"):
        from sealane.dev.cluster import Cluster
        from sealane.dev.process import StartFailed
        from sealane.dev.seaweed import StoreNotInstalled
        from sealane.dev.signals import Stopped, stop_on_signal

    output = Output(as_json=as_json, quiet=quiet)

    def say(text: str) -> None:
        output.record({"event": text}) if as_json else output.note(text)

    chosen = _settings(settings)
    make = partial(
        Cluster,
        directory,
        ingest=ingest,
        assembly=assembly,
        tenant=tenant,
        tls=tls,
        settings=chosen,
        say=say,
    )
    asked = {"s3_port": s3_port, "ingest_port": ingest_port, "assembly_port": assembly_port}
    try:
        with stop_on_signal(), running(make, asked, say) as cluster:
            _announce(cluster, output, chosen.get("SEALANE_IDENTITY", "static"))
            try:
                _tend(cluster)
            except Stopped:
                say("stopping (a second Ctrl-C ends everything at once)")
                raise
    except Stopped:
        say("stopped; nothing is left running")
    except (AlreadyRunning, StoreNotInstalled) as error:
        raise CommandFailed(
            str(error), reason="CANNOT_START", code="FAILED_PRECONDITION", exit_code=ExitCode.CONFLICT
        ) from None
    except StartFailed as error:
        raise CommandFailed(str(error), reason="CANNOT_START", code="ABORTED", exit_code=ExitCode.FAILED) from None
    return ExitCode.OK  # being stopped is how this command ends


@contextmanager
def running(make: Callable[..., Cluster], asked: Mapping[str, int | None], say: Say) -> Iterator[Cluster]:
    """A cluster on the ports that were ``asked`` for; where none was, on the default if it is free.

    The store takes seconds to start, and meanwhile somebody else may take a default that was free: then once more,
    on any port. StartFailed if it was not that.
    """
    from sealane.dev.process import StartFailed

    ports = {name: port or _if_free(_DEFAULT_PORTS[name]) for name, port in asked.items()}
    try:
        cluster = make(**ports).start()
    except StartFailed:
        lost = [name for name, port in ports.items() if port and asked[name] is None and not _if_free(port)]
        if not lost:
            raise
        say(f"port {', '.join(str(ports[name]) for name in lost)} was taken meanwhile; taking another")
        cluster = make(**ports | dict.fromkeys(lost, 0)).start()
    try:
        yield cluster
    finally:
        cluster.stop()


def _tend(cluster: Cluster) -> NoReturn:
    while True:
        time.sleep(_TEND_SECONDS)
        cluster.tend()


def _announce(cluster: Cluster, output: Output, identity: str) -> None:
    info = cluster.info
    if output.as_json:
        output.record({"ready": True, **asdict(info)})
        return
    rows = [("store (S3)", info.store.endpoint.removeprefix("http://"), "", "", str(cluster.store.log_path))]
    rows += [(s.name, s.address, s.health_address, s.metrics_address, s.log) for s in info.services]
    output.line()
    output.line(table(("process", "address", "health", "metrics", "log"), rows))
    output.line()
    output.rows(
        [
            ("S3 endpoint", info.store.endpoint),
            ("bucket", info.store.bucket),
            ("access key", info.store.access_key),
            ("secret key", info.store.secret_key),
            ("tenant", info.tenant if identity == "static" else f"each caller's own (SEALANE_IDENTITY={identity})"),
            ("state", f"{cluster.directory} (kept)"),
        ]
    )
    if info.ca_file:
        output.line("\nCommands in this folder know whom to trust. From elsewhere:\n")
        output.line(f"  export SEALANE_CA_FILE={shlex.quote(info.ca_file)} SEALANE_SERVER_NAME={SERVER_NAME}")
    output.line("\nTry, from another terminal in this folder:\n")
    for line in commands_to_try(info, found=cluster.directory == DEFAULT_DIRECTORY.absolute(), identity=identity):
        output.line(f"  {line}")
    output.line("\nCtrl-C stops everything.")


def commands_to_try(info: ClusterInfo, *, found: bool, identity: str) -> list[str]:
    """Lines that work as they stand, but for words in capitals. ``found``: by commands that are told no address."""
    ingest, assembly = info.addresses("ingest"), info.addresses("assembly")
    reach = f"-cacert {shlex.quote(info.ca_file)}" if info.ca_file else "-plaintext"
    flags = ""
    if not found:
        flags = f" --ingest {','.join(ingest)} --assembly {','.join(assembly)}"
        if info.ca_file:
            flags += f" --ca-file {shlex.quote(info.ca_file)} --server-name {SERVER_NAME}"
    if {"tokens", "jwt"} & {mode.strip() for mode in identity.split(",")}:
        flags += " --token-file TOKEN"
        reach += ' -H "authorization: Bearer $(cat TOKEN)"'
    session = '{"session_id":"SESSION"}'
    return [
        f"sealane put FILE{flags}",
        f"sealane ls{flags}",
        f"grpcurl {reach} {ingest[0]} list",
        f"grpcurl {reach} {ingest[0]} sealane.v1.IngestService/GetServerInfo",
        f"grpcurl {reach} -d '{session}' {ingest[0]} sealane.v1.IngestService/GetSession",
        f"grpcurl {reach} -d '{session}' {assembly[0]} sealane.v1.AssemblyService/GetCommit",
    ]


def _settings(pairs: tuple[str, ...]) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--setting")
        name = name.strip().upper()
        values[name if name.startswith("SEALANE_") else f"SEALANE_{name}"] = value
    return values


def _if_free(port: int) -> int:
    """``port``, or 0 (any) if somebody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to a server
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
