"""The stores that the contract suite runs on, and a real one that breaks the contract."""

from __future__ import annotations

import dataclasses
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import urllib3
from minio import Minio, S3Error
from suite_calls import MIN_PART, s3_store

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.seaweed import SeaweedFS
from sealane.store.port import ObjectStore
from sealane.store.s3 import S3Settings
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import AWS, SEAWEEDFS

DIALECTS = {"simulated": SEAWEEDFS, "simulated as AWS": AWS}
STORES = [*DIALECTS, pytest.param("seaweedfs", marks=pytest.mark.real_store)]


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


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    """The S3 gateway of JuiceFS 1.4.2 with an empty bucket: a real server that ignores ``If-None-Match`` (R2)."""
    directory: Path = tmp_path_factory.mktemp("juicefs")
    program = str(Path(sys.executable).with_name("juicefs"))
    volume = f"sqlite3://{directory / 'meta.db'}"
    format_volume = [program, "format", "--storage", "file", "--bucket", f"{directory / 'data'}/"]
    subprocess.run([*format_volume, "--trash-days", "0", volume, "probed"], check=True, capture_output=True)
    address = f"{LOOPBACK}:{free_ports(1)[0]}"
    access_key, secret_key = "juicefs-test", secrets.token_hex(16)
    gateway = ChildProcess(
        [program, "gateway", "--multi-buckets", "--no-usage-report", volume, address],
        log_path=directory / "gateway.log",
        env={**os.environ, "MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key, "HOME": str(directory)},
    )
    client = Minio(
        address,
        access_key=access_key,
        secret_key=secret_key,
        secure=False,
        http_client=urllib3.PoolManager(retries=urllib3.Retry(total=False), timeout=5.0),
    )

    def ready() -> bool:
        try:
            if not client.bucket_exists("probed"):
                client.make_bucket("probed")
        except (urllib3.exceptions.HTTPError, S3Error):
            return False
        return True

    with gateway:
        gateway.await_ready(ready, timeout=60.0)
        yield S3Settings(endpoint=f"http://{address}", bucket="probed", access_key=access_key, secret_key=secret_key)
