"""Upload streams of several tenants at once, each a loop: what is offered, and what arrives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from minio import Minio

from sealane.client import BackoffPolicy, Client, SealaneError
from sealane.dev.cluster import REGION, Cluster
from sealane.store import keys

TOKEN_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Offer:
    """``streams`` upload streams, one an upload, of one tenant."""

    tenant: str
    streams: int


@dataclass
class Clients:
    """What the clients have to say."""

    uploads: Counter[str] = field(default_factory=Counter)
    """Finished, by tenant."""
    order: list[str] = field(default_factory=list)
    """Whose upload was finished, one after the other."""
    failures: list[str] = field(default_factory=list)

    @staticmethod
    def metadata(tenant: str) -> tuple[tuple[str, str], ...]:
        """What a client of the tenant shows."""
        return (("authorization", f"Bearer {token_of(tenant)}"),)


def token_of(tenant: str) -> str:
    """What the tenant's clients show: long enough, and no secret."""
    return f"{tenant}-".ljust(TOKEN_CHARACTERS, "0")


def identities(tenants: Sequence[str]) -> str:
    """The file for SEALANE_IDENTITIES_FILE; assembly's own token is ``token_of("assembly")``."""
    entries = [
        f'[[token]]\nname = "{name}"\ntoken = "{token_of(name)}"\ntenant = "{name}"\nroles = ["uploader", "reader"]\n'
        for name in tenants
    ]
    entries.append(f'[[token]]\nname = "peer"\ntoken = "{token_of("peer")}"\nroles = ["service"]\n')
    return "\n".join(entries)


async def offer(
    ingest: str, assembly: str, offers: Sequence[Offer], *, size: int, clients: Clients, uploads_each: int | None = None
) -> None:
    """Upload objects of ``size`` bytes, ``uploads_each`` a stream; None: until cancelled."""
    data = random.Random(1).randbytes(size)
    async with asyncio.TaskGroup() as group:
        for each in offers:
            for _ in range(each.streams):
                group.create_task(_stream(ingest, assembly, each.tenant, data, clients, uploads_each))


async def _stream(ingest: str, assembly: str, tenant: str, data: bytes, clients: Clients, uploads: int | None) -> None:
    patience = BackoffPolicy(patience_seconds=600.0)
    async with Client(ingest, assembly, metadata=clients.metadata(tenant), backoff=patience, timeout=600.0) as client:
        for _ in itertools.count() if uploads is None else range(uploads):
            try:
                await client.upload(data, parallel=1, journal=False)
            except SealaneError as error:
                clients.failures.append(f"{tenant}: {type(error).__name__}: {error} [{error.private}]")
            else:
                clients.uploads[tenant] += 1
                clients.order.append(tenant)


async def arriving(
    cluster: Cluster, offers: Sequence[Offer], *, size: int, seconds: float, warm_up: float, clients: Clients
) -> Counter[str]:
    """Bytes of each tenant that became durable in ``seconds``, once the load has been on for ``warm_up``."""
    ingest, assembly = cluster.target("ingest"), cluster.target("assembly")
    loading = asyncio.create_task(offer(ingest, assembly, offers, size=size, clients=clients))
    try:
        await asyncio.wait([loading], timeout=warm_up)
        before = await asyncio.to_thread(stored, cluster)
        await asyncio.wait([loading], timeout=seconds)
        after = await asyncio.to_thread(stored, cluster)
    finally:
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
    after.subtract(before)
    return after


def stored(cluster: Cluster) -> Counter[str]:
    """Bytes of each tenant's chunks that are durable, as the store's own LIST shows their receipts."""
    store = cluster.store
    s3 = Minio(
        store.endpoint.removeprefix("http://"),
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=False,
        region=REGION,
    )
    found: dict[tuple[str, str, int], int] = {}
    for listed in s3.list_objects(store.bucket, prefix=keys.ROOT, recursive=True):
        key = keys.parse_session_key(listed.object_name or "")
        chunk = None if key is None else keys.receipt_size(key.rest)
        if key is not None and chunk is not None:
            found[key.tenant, key.session, chunk[0]] = chunk[1]
    sizes: Counter[str] = Counter()
    for (tenant, _, _), length in found.items():
        sizes[tenant] += length
    return sizes
