"""Stores that lie are refused by the name of what they lack: rclone as it is, SeaweedFS with a lie in front of it."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lying_store import Lie, lying
from suite_calls import s3_store

from sealane.dev.ports import LOOPBACK, free_ports
from sealane.dev.process import ChildProcess
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.signed_http import signed_request
from sealane.store.probe import ProbeReport, probe

pytestmark = pytest.mark.real_store
PAGE = 20
"""Edges of shorter pages than S3's own: SeaweedFS's are tried in full by test_probe.py."""


async def verdict(endpoint: str, bucket: str, access_key: str, secret_key: str, *, page_keys: int) -> ProbeReport:
    store = s3_store(endpoint, bucket, access_key, secret_key)
    try:
        return await probe(store, entropy=random.Random(1).randbytes, page_keys=page_keys)
    finally:
        await store.aclose()


@pytest.mark.parametrize("lie", Lie, ids=lambda lie: lie.name.lower())
async def test_a_store_with_one_lie_is_refused_for_that_guarantee_and_for_no_other(
    seaweed: SeaweedFS, bucket: str, lie: Lie
) -> None:
    """R1-R6 against a real store, each broken alone; the same proxy without a lie is accepted."""
    with lying(seaweed, lie) as endpoint:
        report = await verdict(endpoint, bucket, seaweed.access_key, seaweed.secret_key, page_keys=PAGE)
    told = {row.guarantee: f"{row.detail} {row.private}" for row in report.verdicts if not row.ok}
    assert list(told) == ([lie.guarantee] if lie is not Lie.NONE else []), told
    assert report.untried == ()


def test_every_guarantee_is_lied_about() -> None:
    assert {lie.guarantee for lie in Lie} - {""} == {"R1", "R2", "R3", "R4", "R5", "R6"}


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """``rclone serve s3`` on a folder: its endpoint and keys. The bucket is ``probed``."""
    directory: Path = tmp_path_factory.mktemp("rclone")
    (directory / "data" / "probed").mkdir(parents=True)
    address = f"{LOOPBACK}:{free_ports(1)[0]}"
    access_key, secret_key = "rclone-test", secrets.token_hex(16)
    server = ChildProcess(
        [
            str(Path(sys.executable).with_name("rclone")),
            *("serve", "s3", str(directory / "data")),
            *("--addr", address, "--config", "", "--cache-dir", str(directory / "cache")),
        ],
        log_path=directory / "rclone.log",
        # By the environment: an argument could be read by everyone on the machine.
        env={**os.environ, "HOME": str(directory), "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'},
        cwd=directory,
    )
    endpoint = f"http://{address}"

    def ready() -> bool:
        try:
            status, _ = signed_request(
                endpoint, "HEAD", "/probed", access_key=access_key, secret_key=secret_key, timeout=2.0
            )
        except OSError:
            return False
        return status == 200

    with server:
        server.await_ready(ready, timeout=60.0)
        yield endpoint, access_key, secret_key


async def test_rclone_serve_s3_is_refused_for_r2(rclone: tuple[str, str, str]) -> None:
    """A real server that takes If-None-Match and ignores it: two decisions of one session would both stand."""
    endpoint, access_key, secret_key = rclone
    report = await verdict(endpoint, "probed", access_key, secret_key, page_keys=PAGE)
    assert "R2" in report.missing
    assert "If-None-Match ignored" in next(row.detail for row in report.verdicts if row.guarantee == "R2")


def test_a_service_before_rclone_ends_with_the_guarantees_name_in_its_log(rclone: tuple[str, str, str]) -> None:
    """Section 2: a negative verdict ends the process; exit code 3 is "the store is refused"."""
    endpoint, access_key, secret_key = rclone
    ports = free_ports(2)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "NUMBA_CACHE_DIR") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, "-m", "assembly_service"],
        env={
            **kept,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "SEALANE_LISTEN": f"{LOOPBACK}:{ports[0]}",
            "SEALANE_HEALTH_LISTEN": f"{LOOPBACK}:{ports[1]}",
            "SEALANE_METRICS_LISTEN": f"{LOOPBACK}:0",
            "SEALANE_S3_ENDPOINT": endpoint,
            "SEALANE_S3_BUCKET": "probed",
            "SEALANE_S3_ACCESS_KEY": access_key,
            "SEALANE_S3_SECRET_KEY": secret_key,
            "SEALANE_PROBE_PAGE_KEYS": str(PAGE),
        },
        capture_output=True,
        timeout=100,
        check=False,
    )
    log = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 3, log
    assert "the object store does not give" in log
    assert "R2" in log
    assert secret_key not in log
