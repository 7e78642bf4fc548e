"""What assembly is told by its environment, beside what both services are (:mod:`sealane.config`)."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from assembly_service.patrol import Pace
from assembly_service.retention import Retention
from sealane.config import Address, CommonSettings, Peers


class AssemblySettings(CommonSettings):
    """Times in seconds, sizes in bytes. No safety rests on any of the times."""

    service: ClassVar[str] = "ASSEMBLY"

    listen: Address = "127.0.0.1:7302"
    """Address for gRPC. Port 0 takes a free one and logs it."""
    health_listen: Address = "127.0.0.1:7312"
    """Address for grpc.health.v1 alone, for probes."""
    metrics_listen: Address = "127.0.0.1:7322"
    """Address for GET /metrics, and nothing else."""
    peer: Peers = "127.0.0.1:7301"
    """Where ingest is: host:port, or several IP:port with commas. Calls are spread over all addresses."""
    receipts_timeout: float = Field(default=20.0, gt=0, le=600)
    """How long ingest may take to tell a session's receipts."""
    sweep_interval: float = Field(default=60.0, gt=0, le=3600)
    """Between two passes over the sessions that are not done, on average; each replica keeps a pace of its own."""
    full_sweep_interval: float = Field(default=6 * 3600.0, gt=0, le=7 * 86400)
    """Between two passes over everything, with what belongs to no session."""
    sweep_at_once: int = Field(default=4, ge=1, le=64)
    """Sessions that a pass works on side by side."""
    grace: float = Field(default=15 * 60.0, ge=0, le=7 * 86400)
    """Beyond its ttl, before an open session is expired or an overwritten chunk given up."""
    outcome_retention: float = Field(default=24 * 3600.0, ge=0, le=365 * 86400)
    """How long it can be asked that a session was aborted, has expired, or was lost."""
    receipt_retention: float = Field(default=24 * 3600.0, ge=0, le=365 * 86400)
    """How long a committed session keeps its receipts."""
    request_retention: float = Field(default=30 * 86400.0, ge=3600, le=365 * 86400)
    """How long a request_id is remembered."""
    max_checks: int = Field(default=96, ge=4, le=10_000)
    """CommitSession, VerifySession and ExplainSession calls at once; further ones get OVERLOADED. Each holds its
    session's receipts, 4.2 MiB for 10,000 of them, and a commit of so many 11 MiB."""
    verify_block_bytes: int = Field(default=1 << 20, ge=1 << 12, le=16 << 20)
    """VerifyObject reads so much at a time; a call holds about two of these in memory."""

    @property
    def readings_at_once(self) -> int:
        """VerifyObject calls at once: each holds a connection to the store for as long as it reads, and commits, the
        sweeper and everybody else need some, too."""
        return max(1, self.s3_max_connections // 2)

    @property
    def retention(self) -> Retention:
        return Retention(
            grace=timedelta(seconds=self.grace),
            outcome=timedelta(seconds=self.outcome_retention),
            receipts=timedelta(seconds=self.receipt_retention),
            requests=timedelta(seconds=self.request_retention),
        )

    @property
    def pace(self) -> Pace:
        return Pace(interval=self.sweep_interval, full_interval=self.full_sweep_interval, at_once=self.sweep_at_once)
