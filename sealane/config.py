"""Settings from the environment: ``SEALANE_…``, and ``SEALANE_INGEST_…`` or ``SEALANE_ASSEMBLY_…`` for one service.

A variable with the service's name in it goes before the one without, so both services can share one environment file.
:func:`load` reports every fault at once and ends the process; a secret is never rendered, in no fault and in no log.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sealane.domain.errors import InvalidRequest
from sealane.domain.ids import Tenant
from sealane.domain.ids import tenant as parse_tenant

PREFIX = "SEALANE_"
SERVICES = ("INGEST", "ASSEMBLY")
EX_CONFIG = 78
"""sysexits.h: something is wrong with the configuration."""

S = TypeVar("S", bound="CommonSettings")

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


def _tenant(text: str) -> Tenant:
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


class CommonSettings(BaseSettings):
    """What both services are told. Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )
    service: ClassVar[str] = ""
    """The name in the service's own variables: INGEST or ASSEMBLY."""

    tenant: Annotated[str, AfterValidator(_tenant)] = "default"
    """Whose data this is, until identity is configured: a-z, 0-9 and '-', at most 63 characters."""
    listen: Address = "127.0.0.1:7301"
    """Address for gRPC. Port 0 takes a free one and logs it."""
    health_listen: Address = "127.0.0.1:7311"
    """Address for grpc.health.v1 alone, for probes."""
    peer: Peers = "127.0.0.1:7302"
    """Where the other service is: host:port, or several IP:port with commas. Calls are spread over all addresses."""
    s3_endpoint: str = Field(pattern=r"^https?://[^/?#@\s]+/?$")
    """The object store: http://host:port or https://host. The bucket goes into the path."""
    s3_bucket: str = Field(default="sealane", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """A bucket of sealane's alone, not versioned, that exists."""
    s3_region: str = Field(default="us-east-1", min_length=1)
    """Region that requests are signed for."""
    s3_access_key: SecretStr | None = None
    """Without the two keys: AWS_ACCESS_KEY_ID …, ~/.aws/credentials, web identity or the instance's role."""
    s3_secret_key: SecretStr | None = None
    """Goes with s3_access_key."""
    s3_ca_file: str | None = None
    """PEM file of the authorities to trust for https, in place of the system's."""
    s3_max_connections: int = Field(default=16, ge=2, le=512)
    """Connections to the store, and so requests in hand."""
    s3_attempt_seconds: float = Field(default=30.0, gt=0, le=600)
    """One attempt of a small call."""
    s3_part_seconds: float = Field(default=120.0, gt=0, le=3600)
    """One attempt to upload a part."""
    accept_weak_store: Annotated[str, AfterValidator(_weaknesses)] = ""
    """Guarantees that the store may lack, "R2,R5" say, AT THE RISK OF LOSING DATA. Loud in logs and GetServerInfo."""
    probe_page_keys: int = Field(default=1000, ge=10, le=1000)
    """Page of LIST whose edges the start-up probe tries; 1000 is what the services use. Two requests a key: fewer make
    a restart cheaper where `sealane doctor` has proven the store in full before. R1's verdict names the number."""
    default_timeout: float = Field(default=30.0, gt=0, le=3600)
    """Deadline of a unary call that names none."""
    max_timeout: float = Field(default=600.0, gt=0, le=3600)
    """A unary call gets no longer deadline than this."""
    max_stream_timeout: float = Field(default=3600.0, gt=0, le=86400)
    """A streaming call gets no longer deadline than this, and this if it names none."""
    max_concurrent_streams: int = Field(default=100, ge=1, le=10_000)
    """Calls at once on one connection; further ones wait at the client."""
    drain_seconds: float = Field(default=25.0, ge=0, le=3600)
    """After SIGTERM, calls in hand have this long. Keep it well below Kubernetes' terminationGracePeriodSeconds."""
    default_ttl: int = Field(default=24 * 3600, ge=60, le=30 * 24 * 3600)
    """How long a session that names no ttl may stay OPEN."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""

    @property
    def accepted_weaknesses(self) -> frozenset[str]:
        """``accept_weak_store`` as a set of "R1"…"R6"."""
        return frozenset(name.strip() for name in self.accept_weak_store.split(",") if name.strip())

    @model_validator(mode="after")
    def _fits_together(self) -> CommonSettings:
        faults: list[str] = []
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            faults.append("SEALANE_S3_ACCESS_KEY, SEALANE_S3_SECRET_KEY: both or neither")
        if self.s3_ca_file is not None and not self.s3_endpoint.startswith("https://"):
            faults.append("SEALANE_S3_CA_FILE: only for an https endpoint")
        if self.default_timeout > self.max_timeout:
            faults.append("SEALANE_DEFAULT_TIMEOUT: must not exceed SEALANE_MAX_TIMEOUT")
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the service's own variables, then the shared ones; no files."""
        if not cls.service:
            return (init_settings, env_settings)
        own = EnvSettingsSource(settings_cls, env_prefix=f"{PREFIX}{cls.service}_", env_ignore_empty=True)
        return (init_settings, own, env_settings)


def load(cls: type[S]) -> S:
    """The settings of the environment.

    With faults, writes them all to stderr, one a line with the variable's name, and raises SystemExit(78). A variable
    ``SEALANE_…`` that is no setting here is a fault if it looks like a misspelt one, else a warning: it may be the
    other service's, for operators share one environment file. Rules over several settings are judged once each of
    them is valid by itself.
    """
    environ = os.environ
    misspelt, strange = _unknown(cls, environ)
    faults = [f"{name}: not a setting{hint}" for name, hint in misspelt]
    settings: S | None = None
    try:
        settings = cls()  # type: ignore[call-arg]  # its arguments come from the environment
    except ValidationError as error:
        faults += [line for fault in error.errors() for line in _fault(cls, fault, environ)]
    for name in strange:
        print(f"warning: {name}: not a setting of this service", file=sys.stderr)
    if faults or settings is None:
        print("\n".join(faults), file=sys.stderr)
        raise SystemExit(EX_CONFIG)
    return settings


def _variable(cls: type[CommonSettings], field: str, environ: Iterable[str]) -> str:
    """The name under which ``field`` was set, or could be."""
    own = f"{PREFIX}{cls.service}_{field}".upper()
    return own if own in {name.upper() for name in environ} else f"{PREFIX}{field}".upper()


def _fault(cls: type[CommonSettings], fault: ErrorDetails, environ: Iterable[str]) -> list[str]:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message.splitlines()  # of a rule over several settings: it names them itself
    field = str(fault["loc"][0])
    name = _variable(cls, field, environ)
    if fault["type"] == "missing":
        return [f"{name}: must be set ({_summary(cls.model_fields[field])})"]
    shown = "" if _secret(cls.model_fields[field]) else f", not {str(fault['input'])[:80]!r}"
    return [f"{name}: {message}{shown}"]


def _summary(field: FieldInfo) -> str:
    return (field.description or "").strip().splitlines()[0]


def _secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _unknown(cls: type[CommonSettings], environ: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Variables with our prefix that are no settings: those that look misspelt, with a hint, and the others."""
    fields = [name.upper() for name in cls.model_fields]
    own = f"{cls.service}_"
    misspelt: list[tuple[str, str]] = []
    strange: list[str] = []
    for variable in sorted(environ):
        name = variable.upper()
        if not name.startswith(PREFIX):
            continue
        rest = name.removeprefix(PREFIX)
        mine = bool(cls.service) and rest.startswith(own)
        if mine:
            rest = rest.removeprefix(own)
        elif any(rest.startswith(f"{service}_") for service in SERVICES):
            continue  # the other service's own
        if rest in fields:
            continue
        near = difflib.get_close_matches(rest, fields, n=1, cutoff=0.8)
        if near:
            misspelt.append((variable, f"; did you mean {PREFIX}{own if mine else ''}{near[0]}?"))
        elif mine:
            misspelt.append((variable, " of this service"))
        else:
            strange.append(variable)
    return misspelt, strange
