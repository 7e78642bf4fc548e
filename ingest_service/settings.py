"""What ingest is told beside the common settings: how much memory, how many streams, and how slow a client may be."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sealane.config import Address, CommonSettings, Peers
from sealane.domain.limits import Limits, MiB

_LARGEST_CHUNK = Limits().max_chunk_bytes
IDLE_BYTES = 250 * MiB
"""RSS of ingest that does nothing, with the compiled kernels."""
TRANSPORT_BYTES = 4 * MiB
"""What a stream costs beside its chunks: the window of 1 MiB that gRPC reads ahead, a frame of 1 MiB put together, what
both pin of the 64 KiB pieces that gRPC reads into, and the window of a stream that is being refused in its place."""


class IngestSettings(CommonSettings):
    """Ingest's settings; times in seconds, sizes in bytes."""

    service: ClassVar[str] = "INGEST"

    listen: Address = "127.0.0.1:7301"
    """Address for gRPC. Port 0 takes a free one and logs it."""
    health_listen: Address = "127.0.0.1:7311"
    """Address for grpc.health.v1 alone, for probes."""
    metrics_listen: Address = "127.0.0.1:7321"
    """Address for GET /metrics, and nothing else."""
    peer: Peers = "127.0.0.1:7302"
    """Where assembly is: host:port, or several IP:port with commas. Calls are spread over all addresses."""
    s3_max_connections: int = Field(default=32, ge=4, le=512)
    """Connections to the store; three quarters of them may carry parts, the others are for records."""

    memory_budget: int = Field(default=160 * MiB, ge=2 * _LARGEST_CHUNK)
    """Bytes of chunks held at once, being received or on their way to the store.

    At least two of the largest chunk, 64 MiB each, beside the reserved share.

    The memory of the process is then at most about

        250 MiB (idle, with the compiled kernel) + 1.1 × (memory_budget + 4 MiB × max_streams)

    where 4 MiB is what gRPC and the handler hold of a stream beside its chunks, and the tenth is the allocator's.
    Measured at ten times the load that fits (`make overload`): what is over idle was 0.93 to 0.97 of its bound.
    A stream at full speed uses
    (parts_in_flight + 1) × chunk_size. When the budget is used up, streams wait, and then get OVERLOADED.
    """
    memory_wait_seconds: float = Field(default=10.0, gt=0, le=600)
    """How long a stream may wait for memory before it is told OVERLOADED."""
    max_streams: int = Field(default=64, ge=1, le=10_000)
    """Upload streams at once; further ones get OVERLOADED."""
    reserved_share: float = Field(default=0.125, ge=0, le=0.5)
    """Of streams, watchers and memory, what is kept for tenants that hold none of it; 0 where there is one tenant."""
    parts_in_flight: int = Field(default=4, ge=1, le=64)
    """Chunks of one stream that may be on their way to the store while the next one arrives.

    max_streams × parts_in_flight chunks, those of clients that have left among them, are in hand at most.
    """
    stream_idle_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long an upload stream may be silent."""
    stream_min_rate: float = Field(default=16 * 1024, gt=0)
    """Bytes a second: a chunk that is more than stream_idle_seconds behind this rate is given up."""
    chunk_store_seconds: float = Field(default=300.0, gt=0, le=3600)
    """How long storing one chunk may take, from its last byte to its receipt, whoever has left meanwhile."""
    max_watchers: int = Field(default=256, ge=1, le=100_000)
    """WatchSession calls at once; further ones get OVERLOADED."""
    watch_seconds: float = Field(default=1.0, ge=0.05, le=60)
    """How often a watched session is looked at while it changes."""
    watch_heartbeat_seconds: float = Field(default=15.0, ge=0.1, le=300)
    """How often an unchanged session is shown."""
    outcome_seconds: float = Field(default=2.0, gt=0, le=60)
    """How long GetSession waits for assembly to say what became of a session."""
    cached_sessions: int = Field(default=1024, ge=1, le=1_000_000)
    """Sessions whose immutable records are kept in memory, about 2 KiB each."""

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.memory_budget * (1 - self.reserved_share) < 2 * _LARGEST_CHUNK:
            faults.append(
                f"SEALANE_MEMORY_BUDGET: without SEALANE_RESERVED_SHARE it must hold {2 * _LARGEST_CHUNK} bytes, two of"
                " the largest chunk"
            )
        return faults

    @property
    def most_memory(self) -> int:
        """Bytes of RSS at most, by the formula of ``memory_budget``; deploy/kubernetes takes its limit from it."""
        return IDLE_BYTES + (self.memory_budget + TRANSPORT_BYTES * self.max_streams) * 11 // 10

    @property
    def receipts_at_once(self) -> int:
        """Sessions whose receipts are all being read at once."""
        return max(1, self.s3_max_connections // 2)

    @property
    def parts_at_once(self) -> int:
        """UploadParts in hand at once, of all streams: records must not wait behind parts."""
        return max(1, self.s3_max_connections * 3 // 4)
