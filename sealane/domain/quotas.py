"""What a tenant may use: one quota for everybody, and overrides for some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Quota:
    """None: as much as there is."""

    open_sessions: int | None = None
    """Sessions that are neither committed nor given up, whoever made them."""
    bytes_in_flight: int | None = None
    """Bytes of chunks held at once by one replica; one chunk may always be held."""
    stored_bytes_per_day: int | None = None
    """Bytes of chunks stored in the last 24 hours."""
    requests_per_second: float | None = None
    """Calls to one replica, a stream counting once."""


Override = Mapping[str, float | None]
"""Fields of :class:`Quota`, those that differ from the default."""


class Quotas:
    """Everybody's. Overrides may be replaced while calls are being served."""

    def __init__(self, default: Quota | None = None, overrides: Mapping[str, Override] | None = None) -> None:
        self._default = default or Quota()
        self._own: dict[str, Quota] = {}
        self.override(overrides or {})

    def of(self, tenant: str) -> Quota:
        """What this tenant may use."""
        return self._own.get(tenant, self._default)

    def override(self, overrides: Mapping[str, Override]) -> None:
        """From now on these tenants have these, and all others the default."""
        self._own = {tenant: replace(self._default, **fields) for tenant, fields in overrides.items()}  # type: ignore[arg-type]  # checked where it is read
