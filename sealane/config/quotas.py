"""What each tenant may use, as both services are told of it: a default for everybody, a file of overrides."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, TypeAdapter, ValidationError

from sealane.config.fields import TenantName
from sealane.config.rules import Rules
from sealane.domain.quotas import Override, Quota

Unlimited = Literal["unlimited"]


class QuotaSettings(Rules):
    """Unset is unlimited. Times in seconds, sizes in bytes."""

    quota_open_sessions: int | None = Field(default=None, ge=0)
    """Sessions of a tenant that are open at once. More get QUOTA_EXCEEDED. docs/operations.md: Quotas."""
    quota_stored_bytes_per_day: int | None = Field(default=None, ge=0)
    """Bytes that a tenant may have stored in the last 24 hours. More get QUOTA_EXCEEDED."""
    quota_bytes_in_flight: int | None = Field(default=None, ge=0)
    """Of a tenant's chunks, held by one ingest. Its streams then wait, as for memory; one chunk it may always have."""
    quota_requests_per_second: float | None = Field(default=None, gt=0)
    """Calls of a tenant to one replica, with a burst of two seconds. More get OVERLOADED with RetryInfo."""
    quota_file: str | None = None
    """TOML file, a table a tenant: `[acme]`, then open_sessions, stored_bytes_per_day, bytes_in_flight and
    requests_per_second as above, or "unlimited"; what is not named is the default. Read again when it changes."""
    quota_refresh_seconds: float = Field(default=30.0, ge=1, le=3600)
    """How often what a tenant has in the store is counted anew, while it uploads and has such a quota."""

    @property
    def default_quota(self) -> Quota:
        """What a tenant may use that has no override."""
        return Quota(
            self.quota_open_sessions,
            self.quota_bytes_in_flight,
            self.quota_stored_bytes_per_day,
            self.quota_requests_per_second,
        )

    @property
    def quota_path(self) -> Path | None:
        """``quota_file``."""
        return None if self.quota_file is None else Path(self.quota_file)

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.quota_path is not None:
            try:
                read_quota_file(self.quota_path)
            except QuotaFileError as error:
                faults += [f"SEALANE_QUOTA_FILE: {line}" for line in str(error).splitlines()]
        return faults


class QuotaFileError(ValueError):
    """The file can't be read, or something in it is wrong: a line each."""


class _Override(BaseModel):
    model_config = ConfigDict(extra="forbid")

    open_sessions: NonNegativeInt | Unlimited | None = None
    bytes_in_flight: NonNegativeInt | Unlimited | None = None
    stored_bytes_per_day: NonNegativeInt | Unlimited | None = None
    requests_per_second: PositiveFloat | Unlimited | None = None


_OVERRIDES = TypeAdapter(dict[TenantName, _Override])


def read_quota_file(path: Path) -> dict[str, Override]:
    """The overrides, by tenant. QuotaFileError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuotaFileError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no TOML, or no UTF-8
        raise QuotaFileError(f"{path}: {error}") from error
    try:
        overrides = _OVERRIDES.validate_python(tables)
    except ValidationError as error:
        faults = (f"{path}: {'.'.join(str(part) for part in f['loc'][:2])}: {f['msg']}" for f in error.errors())
        raise QuotaFileError("\n".join(dict.fromkeys(faults))) from error
    return {
        tenant: {
            name: None if value == "unlimited" else value
            for name, value in override.model_dump(exclude_none=True).items()
        }
        for tenant, override in overrides.items()
    }
