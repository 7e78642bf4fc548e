"""Ingest as the process that it is: ready once kernel and store are proven, drained by SIGTERM."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from grpc import aio
from ingest_replica import chunk, chunks_of, frame, header, running

from ingest_service.settings import IngestSettings
from sealane.dev.ports import free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Service
from sealane.domain.errors import Draining
from sealane.domain.limits import Limits, MiB
from sealane.rpc.channel import channel
from sealane.rpc.status import from_rpc_error
from sealane.store.probe import GUARANTEES
from sealane.store.s3 import S3Settings, S3Store
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1.ingest_service_pb2_grpc import IngestServiceStub

ROOT = Path(__file__).parents[3]
DATA = random.Random(12).randbytes(2 * 8 * MiB + 1000)
PIECES = chunks_of(DATA, 8 * MiB)


@pytest.fixture
def service(seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> Iterator[Service]:
    address, health, peer = (f"127.0.0.1:{port}" for port in free_ports(3))
    service = Service(
        "ingest",
        1,
        address=address,
        health_address=health,
        settings={
            "SEALANE_S3_ENDPOINT": seaweed.endpoint,
            "SEALANE_S3_BUCKET": bucket,
            "SEALANE_S3_ACCESS_KEY": seaweed.access_key,
            "SEALANE_S3_SECRET_KEY": seaweed.secret_key,
            "SEALANE_PEER": peer,
        },
        directory=tmp_path,
        log_path=tmp_path / "log",
    )
    service.start(timeout=90)
    try:
        yield service
    finally:
        service.kill()


@pytest.mark.real_store
async def test_a_drain_loses_no_chunk_that_was_sent_whole_and_the_next_replica_covers_them_all_i5(
    service: Service, seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    async with channel(service.address, own_connection=True) as connection:
        stub = IngestServiceStub(connection)  # type: ignore[no-untyped-call]  # generated
        created = await stub.CreateSession(pb.CreateSessionRequest(size=len(DATA)), timeout=20)
        session = created.session.session_id
        call = stub.UploadChunks(timeout=60)
        whole = [f for index in (0, 1) for f in chunk(index, PIECES[index], frame_bytes=MiB)]
        for message in [header(session), *whole, frame(2, 0, PIECES[2][:10])]:  # 2 is in hand when the signal comes
            await call.write(message)
        watch = stub.WatchSession(pb.WatchSessionRequest(session_id=session), timeout=60)
        while (await watch.read()).session.coverage.stored_chunks < 2:
            pass
        info = await stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=20)
        assert {row.guarantee: row.ok for row in info.store_probe} == dict.fromkeys(GUARANTEES, True)
        service.terminate()
        assert await _error(watch.read()) is Draining
        await call.write(frame(None, 10, PIECES[2][10:], blake3(PIECES[2]).digest()))
        assert await _error(call) is Draining
    assert service.wait(60) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if line.get("alarm")]

    store = S3Store(S3Settings(seaweed.endpoint, bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key))
    async with running(store, limits=Limits()) as replica:
        shown = await replica.get(session)
        assert shown.coverage.complete
        assert shown.coverage.prefix.blake3 == blake3(DATA).digest()
    await store.aclose()


async def _error(awaited: object) -> type[Exception]:
    """The kind of domain error that a call ends with."""
    with pytest.raises(aio.AioRpcError) as caught:
        await awaited  # type: ignore[misc]
    return type(from_rpc_error(caught.value))


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SEALANE_MEMORY_BUDGET": str(100 * MiB),
        "SEALANE_INGEST_MAX_STREAMS": "none",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "ingest_service"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 78
    for name in ("SEALANE_S3_ENDPOINT", "SEALANE_MEMORY_BUDGET", "SEALANE_INGEST_MAX_STREAMS"):
        assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_setting_is_explained() -> None:
    for name, field in IngestSettings.model_fields.items():
        assert (field.description or "").strip().endswith((".", ")")), name
