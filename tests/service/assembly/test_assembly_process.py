"""Assembly as the process that it is: ready once the store is proven, served over the wire, drained by SIGTERM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from assembly_service.settings import AssemblySettings
from sealane.dev.ports import free_ports
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Service
from sealane.domain.errors import SessionNotFound
from sealane.rpc.status import from_rpc_error
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1.assembly_service_pb2_grpc import AssemblyServiceStub

ROOT = Path(__file__).parents[3]


@pytest.mark.real_store
def test_the_process_serves_when_the_store_is_proven_and_ends_by_sigterm(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    address, health, peer = (f"127.0.0.1:{port}" for port in free_ports(3))
    service = Service(
        "assembly",
        1,
        address=address,
        health_address=health,
        settings={
            "SEALANE_S3_ENDPOINT": seaweed.endpoint,
            "SEALANE_S3_BUCKET": bucket,
            "SEALANE_S3_ACCESS_KEY": seaweed.access_key,
            "SEALANE_S3_SECRET_KEY": seaweed.secret_key,
            "SEALANE_PEER": peer,
            "SEALANE_SWEEP_INTERVAL": "0.2",
            "SEALANE_FULL_SWEEP_INTERVAL": "0.2",
        },
        directory=tmp_path,
        log_path=tmp_path / "log",
    )
    service.start(timeout=90)
    try:
        with grpc.insecure_channel(address) as channel:
            stub = AssemblyServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetCommit(pb.GetCommitRequest(session_id="0" * 32), timeout=20)
        assert isinstance(from_rpc_error(caught.value), SessionNotFound)
        service.terminate()
        assert service.wait(60) == 0
    finally:
        service.kill()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if line.get("alarm")]
    assert {"serving", "probe_began", "store_accepted", "ready", "stopped"} <= {line["event"] for line in lines}


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SEALANE_SWEEP_INTERVAL": "never",
        "SEALANE_ASSEMBLY_GRACE": "-1",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "assembly_service"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 78
    for name in ("SEALANE_S3_ENDPOINT", "SEALANE_SWEEP_INTERVAL", "SEALANE_ASSEMBLY_GRACE"):
        assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_setting_is_explained() -> None:
    for name, field in AssemblySettings.model_fields.items():
        assert (field.description or "").strip().endswith((".", ")")), name
