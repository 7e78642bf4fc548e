"""What is to be uploaded, beside its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from blake3 import blake3

from sealane.client.errors import InvalidFilename, InvalidMetadata, InvalidObjectKey, InvalidRequest
from sealane.client.wire_text import wire_text
from sealane.domain import ids
from sealane.rpc.convert import duration_to_proto
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
    object_key: str | None = None
    if_generation_match: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.object_key == "":  # a variable that was never set: silently, the object would be found at no key
            raise InvalidObjectKey("object_key must not be empty.", field="object_key")
        if not self.object_key and (self.overwrite or self.if_generation_match is not None):
            raise InvalidRequest("if_generation_match and overwrite are of a key: name one.", field="object_key")
        if self.overwrite and self.if_generation_match is not None:
            raise InvalidRequest("if_generation_match or overwrite, not both.", field="if_generation_match")
        if self.request_id is not None:
            ids.request_id(self.request_id)  # it goes into headers, too, which take no other characters

    def digest(self) -> str:
        """What else than the bytes makes the object: equal digests may resume each other."""
        parameters: list[object] = [
            self.filename,
            self.content_type,
            sorted((self.metadata or {}).items()),
            self.ttl,
            self.chunk_size,
        ]
        if self.object_key:
            parameters += [self.object_key, None if self.overwrite else self.if_generation_match or 0]
        return blake3(json.dumps(parameters).encode()).hexdigest(length=16)

    def proto(self, request_id: str) -> ingest_service_pb2.CreateSessionRequest:
        """Raises the InvalidRequest of a text that is no Unicode (a file's name may be any bytes)."""
        return ingest_service_pb2.CreateSessionRequest(
            filename=wire_text(self.filename or "", InvalidFilename, "filename"),
            size=self.size,
            chunk_size=self.chunk_size or 0,
            content_type=wire_text(self.content_type or "", InvalidRequest, "content_type"),
            metadata={
                wire_text(name, InvalidMetadata, "metadata"): wire_text(value, InvalidMetadata, "metadata")
                for name, value in (self.metadata or {}).items()
            },
            ttl=None if self.ttl is None else duration_to_proto(self.ttl),
            request_id=wire_text(request_id, InvalidRequest, "request_id"),
            object_key=wire_text(self.object_key or "", InvalidObjectKey, "object_key"),
            if_generation_match=self.if_generation_match,
            overwrite=self.overwrite,
        )
