"""Requests a second of each tenant, to this replica: a bucket of tokens each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sealane.bounded_cache import BoundedCache
from sealane.domain.errors import Overloaded
from sealane.domain.ids import Tenant
from sealane.domain.quotas import Quotas

BURST_SECONDS = 2.0
"""So much of its rate a tenant that was quiet may use at once."""
TENANTS = 10_000
"""Buckets kept. Whose bucket was not used for longest starts with a full one again."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RequestRates:
    """Asked once a call. The clock is the running loop's."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._buckets: BoundedCache[Tenant, _Bucket] = BoundedCache(TENANTS)

    def admit(self, tenant: Tenant) -> None:
        """Overloaded, with the time until the next call will do, if the tenant calls too often."""
        rate = self._quotas.of(tenant).requests_per_second
        if rate is None:
            return
        now = asyncio.get_running_loop().time()
        most = max(1.0, rate * BURST_SECONDS)
        bucket = self._buckets.get(tenant)
        if bucket is None:
            bucket = _Bucket(most, now)
            self._buckets.put(tenant, bucket)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1.0:
            raise Overloaded(
                f"This tenant may make {rate:g} requests a second to each replica, and made more. Wait, then go on.",
                retry_after=(1.0 - bucket.tokens) / rate,
            )
        bucket.tokens -= 1.0
