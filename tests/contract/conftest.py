"""The stores that the contract suite runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest
from suite_calls import MIN_PART

from sealane.dev.seaweed import SeaweedFS
from sealane.store.port import ObjectStore
from sealane.store.s3 import S3Settings, S3Store
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import AWS, SEAWEEDFS

DIALECTS = {"simulated": SEAWEEDFS, "simulated as AWS": AWS}
STORES = [*DIALECTS, pytest.param("seaweedfs", marks=pytest.mark.real_store)]


def s3_store(endpoint: str, bucket: str, access_key: str, secret_key: str) -> S3Store:
    return S3Store(S3Settings(endpoint=endpoint, bucket=bucket, access_key=access_key, secret_key=secret_key))


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """Every store in turn, each with an empty bucket."""
    subject: ObjectStore
    if request.param in DIALECTS:
        dialect = dataclasses.replace(DIALECTS[request.param], min_part_bytes=MIN_PART)
        subject = SimulatedStore(SimulatedBucket(dialect=dialect))
    else:
        weed: SeaweedFS = request.getfixturevalue("seaweed")
        subject = s3_store(weed.endpoint, request.getfixturevalue("bucket"), weed.access_key, weed.secret_key)
    yield subject
    await subject.aclose()
