"""The settings that both services share, and where they are read from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from sealane.config.fields import Address, Peers, TenantName
from sealane.config.identity import IdentitySettings
from sealane.config.observability import ObservabilitySettings
from sealane.config.quotas import QuotaSettings
from sealane.config.rules import PREFIX
from sealane.config.store import StoreSettings
from sealane.config.tls import TlsSettings


class CommonSettings(TlsSettings, IdentitySettings, StoreSettings, ObservabilitySettings, QuotaSettings):
    """What both services are told. Times in seconds, sizes in bytes.

    A topic's settings are a mixin in a module of their own, as :mod:`sealane.config.store` is.
    """

    service: ClassVar[str] = ""
    """The name in the service's own variables: INGEST or ASSEMBLY."""

    tenant: TenantName = "default"
    """Whose data this is where SEALANE_IDENTITY is static: a-z, 0-9 and '-', at most 63 characters."""
    listen: Address = "127.0.0.1:7301"
    """Address for gRPC. Port 0 takes a free one and logs it."""
    health_listen: Address = "127.0.0.1:7311"
    """Address for grpc.health.v1 alone, for probes."""
    peer: Peers = "127.0.0.1:7302"
    """Where the other service is: host:port, or several IP:port with commas. Calls are spread over all addresses."""
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

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.default_timeout > self.max_timeout:
            faults.append("SEALANE_DEFAULT_TIMEOUT: must not exceed SEALANE_MAX_TIMEOUT")
        faults += self.exposed(self.listen, self.peer)
        return faults + self.unknown_to_each_other(self.identity_modes)

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
