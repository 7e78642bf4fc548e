"""Types of settings that more than one service has: addresses, peers, a tenant's name, names of guarantees."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator

from sealane.domain.errors import InvalidRequest
from sealane.domain.ids import tenant as parse_tenant

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
_WEAKNESSES = re.compile(r"(R[1-6](\s*,\s*R[1-6])*)?", re.ASCII)


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("expected host:port, or [IPv6]:port")
    return text


def _peers(text: str) -> str:
    """Replicas of one service as one gRPC target, over which calls are spread."""
    addresses = [_address(part.strip()) for part in text.split(",")]
    if len(addresses) == 1:
        return addresses[0]
    try:
        hosts = [ipaddress.ip_address(address.rpartition(":")[0].strip("[]")) for address in addresses]
    except ValueError as error:
        raise ValueError("several addresses must be IP addresses; one name stands for all that it has") from error
    versions = {host.version for host in hosts}
    if len(versions) > 1:
        raise ValueError("several addresses must be all IPv4, or all IPv6")
    return f"ipv{versions.pop()}:{','.join(addresses)}"


def _tenant(text: str) -> str:
    try:
        return parse_tenant(text)
    except InvalidRequest as error:
        raise ValueError(error.message) from error


def _weaknesses(text: str) -> str:
    if not _WEAKNESSES.fullmatch(text.strip()):
        raise ValueError("expected names of guarantees, R1 to R6, with commas between")
    return text.strip()


Address = Annotated[str, AfterValidator(_address)]
Peers = Annotated[str, AfterValidator(_peers)]
"""The replicas of a service: one host:port (a name stands for all its addresses), or IP addresses with commas between.

Its value is a target for :func:`sealane.rpc.channel.channel`.
"""

TenantName = Annotated[str, AfterValidator(_tenant)]
Weaknesses = Annotated[str, AfterValidator(_weaknesses)]
"""Names of guarantees (R1 to R6), with commas between; empty for none."""
