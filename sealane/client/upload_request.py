"""What is to be uploaded, beside its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from blake3 import blake3
from google.protobuf.duration_pb2 import Duration

from sealane.client.errors import InvalidFilename
from sealane.v1 import ingest_service_pb2


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What is to be uploaded, beside the source. None: the server's or the source's default."""

    filename: str | None = None
    size: int | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    ttl: float | None = None
    chunk_size: int | None = None
    request_id: str | None = None
    session_id: str | None = None

    def digest(self) -> str:
        """What else than the bytes makes the object: equal digests may resume each other."""
        parameters = [
            self.filename,
            self.content_type,
            sorted((self.metadata or {}).items()),
            self.ttl,
            self.chunk_size,
        ]
        return blake3(json.dumps(parameters).encode()).hexdigest(length=16)

    def proto(self, request_id: str) -> ingest_service_pb2.CreateSessionRequest:
        """Raises InvalidFilename for a name that is no Unicode text (a file's name may be any bytes)."""
        try:
            (self.filename or "").encode()
        except UnicodeEncodeError:
            raise InvalidFilename("The filename is not valid Unicode. Give the upload another one.") from None
        return ingest_service_pb2.CreateSessionRequest(
            filename=self.filename or "",
            size=self.size,
            chunk_size=self.chunk_size or 0,
            content_type=self.content_type or "",
            metadata=dict(self.metadata or {}),
            ttl=None if self.ttl is None else _duration(self.ttl),
            request_id=request_id,
        )


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
