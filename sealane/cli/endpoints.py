"""Where the services are: a flag, else the environment, else a local `sealane dev`, else the default ports."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import click

from sealane import cluster_file

DEFAULT_INGEST = "127.0.0.1:7301"
DEFAULT_ASSEMBLY = "127.0.0.1:7302"
_DEV = "sealane dev"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """gRPC targets of both services; a source is ``flag``, ``environment``, ``sealane dev`` or ``default``."""

    ingest: str
    assembly: str
    ingest_source: str = "flag"
    assembly_source: str = "flag"
    ca_file: str = ""
    """Whom to trust, where both are those of a `sealane dev --tls`."""


def resolve(ingest: str | None, assembly: str | None, *, directory: Path = cluster_file.DEFAULT_DIRECTORY) -> Endpoints:
    """Flags win over SEALANE_INGEST and SEALANE_ASSEMBLY, these over a cluster that runs in ``directory``."""
    values: dict[str, tuple[str, str]] = {}
    flags = {"ingest": ingest, "assembly": assembly}
    cluster = None if all(flags.values()) else cluster_file.read(directory)
    for kind, default in (("ingest", DEFAULT_INGEST), ("assembly", DEFAULT_ASSEMBLY)):
        if flag := flags[kind]:
            values[kind] = grpc_target(flag), "flag"
        elif variable := os.environ.get(f"SEALANE_{kind.upper()}"):
            values[kind] = grpc_target(variable), "environment"
        elif cluster is not None and (addresses := cluster.addresses(kind)):
            values[kind] = grpc_target(",".join(addresses)), _DEV
        else:
            values[kind] = default, "default"
    ca_file = cluster.ca_file if cluster is not None and {source for _, source in values.values()} == {_DEV} else ""
    return Endpoints(values["ingest"][0], values["assembly"][0], values["ingest"][1], values["assembly"][1], ca_file)


def grpc_target(text: str) -> str:
    """What a person writes as gRPC takes it: several ``IP:port`` between commas become one target of all.

    Raises click.UsageError for what no channel could reach: a web address, or several names.
    """
    text = text.strip()
    if text.startswith(("http://", "https://")):
        raise click.UsageError(f"{text}: a gRPC address is HOST:PORT, without http://")
    if "," not in text or ":///" in text or text.startswith(("ipv4:", "ipv6:", "dns:", "unix:")):
        return text
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    try:
        versions = {ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).version for address in addresses}
    except ValueError as error:
        raise click.UsageError(
            f"{text}: several addresses must be IP:PORT; one name stands for all the addresses that it has"
        ) from error
    if len(versions) > 1:
        raise click.UsageError(f"{text}: several addresses must be all IPv4, or all IPv6")
    return f"ipv{versions.pop()}:{','.join(addresses)}"
