"""The records of a session: versioned JSON, each created once and never changed (protocol.md section 3).

Every parser fails closed with :class:`BadRecord`: a forged, torn or future record decides nothing. ``encode()`` is
deterministic, so that two writers of the same facts write the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from sealane.domain.precondition import Precondition
from sealane.domain.record_fields import (
    MAX_CHUNK_BYTES,
    MAX_GENERATION,
    MAX_OBJECT_BYTES,
    MAX_TTL_SECONDS,
    Fields,
    b64,
    encode,
    time_text,
)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """session.json: what is being uploaded. Written first of all. Its Last-Modified is the session's create time.

    A tombstone session uploads nothing: it is how an object at a chosen key is deleted (section 7).
    """

    session_id: str
    key: str
    """The object's whole key."""
    filename: str
    chunk_size: int
    size: int | None
    token: str
    """Rides on the multipart upload as ``sealane-token``: a HEAD of the object proves whose it is."""
    ttl: int
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    """Who created it, as the identity interceptor says."""
    chosen_key: str = ""
    """The key that the caller chose, relative to the tenant's prefix; "": a key of the session's own."""
    precondition: Precondition | None = None
    """With a chosen key: what the commit may replace."""
    tombstone: int = 0
    """The generation that a tombstone session deletes; 0: it is none."""

    def encode(self) -> bytes:
        chosen: dict[str, object] = {}
        if self.chosen_key and self.precondition is not None:
            wanted = self.precondition.if_generation_match
            chosen = {"chosen_key": self.chosen_key, "if_generation_match": "any" if wanted is None else wanted}
        if self.tombstone:
            chosen["target"] = self.tombstone
        return encode(
            "tombstone" if self.tombstone else "session",
            {
                "session_id": self.session_id,
                "key": self.key,
                "filename": self.filename,
                "chunk_size": self.chunk_size,
                "size": self.size,
                "token": self.token,
                "ttl": self.ttl,
                "content_type": self.content_type,
                "metadata": dict(sorted(self.metadata.items())),
                "owner": self.owner,
                **chosen,
            },
        )

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("session", body, or_kind="tombstone")
        tombstone = f.kind == "tombstone"
        chunk_size = f.whole("chunk_size", minimum=1, maximum=MAX_CHUNK_BYTES)
        if chunk_size & (chunk_size - 1):
            raise f.bad("chunk_size")
        return cls(
            session_id=f.text("session_id"),
            key=f.text("key"),
            filename=f.text("filename"),
            chunk_size=chunk_size,
            size=f.optional_whole("size", maximum=MAX_OBJECT_BYTES),
            token=f.text("token"),
            ttl=f.whole("ttl", maximum=MAX_TTL_SECONDS),
            content_type=f.text("content_type"),
            metadata=f.texts("metadata"),
            owner=f.text("owner"),
            chosen_key=f.text("chosen_key") if f.has("chosen_key") or tombstone else "",
            precondition=_precondition(f),
            tombstone=f.whole("target", minimum=1, maximum=MAX_GENERATION) if tombstone else 0,
        )


def _precondition(f: Fields) -> Precondition | None:
    """Of a session at a chosen key; both are there, or neither is."""
    if f.has("chosen_key") != f.has("if_generation_match"):
        raise f.bad("if_generation_match")
    if not f.has("chosen_key"):
        return None
    if f.is_text("if_generation_match", "any"):
        return Precondition(None)
    return Precondition(f.whole("if_generation_match", maximum=MAX_GENERATION))


@dataclass(frozen=True, slots=True)
class MultipartRecord:
    """multipart.json: the one upload id of the session. Whoever lost the race to write it aborts its own upload."""

    session_id: str
    upload_id: str
    key: str = ""
    """The object's whole key if the caller chose it: so that the upload can be aborted once session.json is gone."""

    def encode(self) -> bytes:
        chosen = {"key": self.key} if self.key else {}
        return encode("multipart", {"session_id": self.session_id, "upload_id": self.upload_id, **chosen})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("multipart", body)
        return cls(f.text("session_id"), f.text("upload_id"), f.text("key") if f.has("key") else "")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """requests/…json: which session a request_id made, and the fingerprint of the request that made it."""

    session_id: str
    fingerprint: bytes

    def encode(self) -> bytes:
        return encode("request", {"session_id": self.session_id, "fingerprint": b64(self.fingerprint)})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("request", body)
        return cls(session_id=f.text("session_id"), fingerprint=f.digest("fingerprint"))


@dataclass(frozen=True, slots=True)
class DoneRecord:
    """done.json: the durable answer of a finished commit. Its writers agree on every byte (C7)."""

    session_id: str
    etag: str
    size: int
    blake3: bytes
    committed_at: datetime
    """decision.json's Last-Modified."""
    generation: int = 0
    """The key's generation that it is; 0 at a key of the session's own."""
    tombstone: bool = False
    """True of a tombstone session: the object is gone, and so are ``etag`` (""), ``size`` (0) and its bytes."""

    def encode(self) -> bytes:
        chosen: dict[str, object] = {"generation": self.generation} if self.generation else {}
        if self.tombstone:
            chosen["tombstone"] = True
        return encode(
            "done",
            {
                "session_id": self.session_id,
                "outcome": "COMMITTED",
                "etag": self.etag,
                "size": self.size,
                "blake3": b64(self.blake3),
                "committed_at": time_text(self.committed_at),
                **chosen,
            },
        )


@dataclass(frozen=True, slots=True)
class LostRecord:
    """done.json of a commit that can never be finished: the store lost the upload, or nobody mended it in time."""

    session_id: str
    why: str

    def encode(self) -> bytes:
        return encode("done", {"session_id": self.session_id, "outcome": "LOST", "why": self.why})


def parse_done(body: bytes) -> DoneRecord | LostRecord:
    f = Fields("done", body)
    if f.text("outcome") == "LOST":
        return LostRecord(session_id=f.text("session_id"), why=f.text("why"))
    if f.text("outcome") != "COMMITTED":
        raise f.bad("outcome")
    return DoneRecord(
        session_id=f.text("session_id"),
        etag=f.text("etag"),
        size=f.whole("size", maximum=MAX_OBJECT_BYTES),
        blake3=f.digest("blake3"),
        committed_at=f.time("committed_at"),
        generation=f.whole("generation", minimum=1, maximum=MAX_GENERATION) if f.has("generation") else 0,
        tombstone=f.true("tombstone"),
    )


@dataclass(frozen=True, slots=True)
class DeletedRecord:
    """deleted.json: the object is removed by request, or was replaced by a later generation (W5, W7)."""

    session_id: str

    def encode(self) -> bytes:
        return encode("deleted", {"session_id": self.session_id})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        return cls(session_id=Fields("deleted", body).text("session_id"))
