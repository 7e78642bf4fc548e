"""The records of a session: versioned JSON, each created once and never changed (protocol.md section 3).

Every parser fails closed with :class:`BadRecord`: a forged, torn or future record decides nothing. ``encode()`` is
deterministic, so that two writers of the same facts write the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeGuard

from sealane.domain.errors import BadRecord

VERSION = 1
"""A record of another version is not understood, and decides nothing: roll forward the software first."""
MAX_TEXT_BYTES = 4096
"""UTF-8 bytes of one text in a record. Keys have 1,024; upload ids are the store's, and opaque."""
MAX_TTL_SECONDS = 366 * 24 * 3600
MAX_CHUNK_BYTES = 1 << 32
"""The largest power of two that S3 takes as one part (5 GiB)."""
MAX_OBJECT_BYTES = 10_000 * MAX_CHUNK_BYTES
_YEARS = range(1970, 9000)
"""So far from datetime's own ends that a ttl or a retention can be added to any time that was read."""


def b64(value: bytes) -> str:
    """base64url without padding, as digests are spelt in records and keys."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def unb64(text: str) -> bytes:
    """Inverse of :func:`b64`; ValueError unless ``text`` is exactly what :func:`b64` makes."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url") from error
    if b64(value) != text:
        raise ValueError("not canonical base64url")
    return value


def digest32(text: str) -> bytes:
    value = unb64(text)
    if len(value) != 32:
        raise ValueError("not 32 bytes")
    return value


def sound_text(value: object) -> TypeGuard[str]:
    """True for text that any protocol can carry: encodable (JSON can spell lone surrogates), and of bounded length."""
    if not isinstance(value, str) or len(value) > MAX_TEXT_BYTES:
        return False
    try:
        return len(value.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:
        return False


class Fields:
    """A parsed JSON record, read field by field: types checked, and every value small enough to be reckoned with.

    A value out of its bounds is a BadRecord here, and never an OverflowError or UnicodeEncodeError somewhere behind.
    """

    def __init__(self, kind: str, body: bytes) -> None:
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRecord(private=f"{kind}: not JSON") from error
        if not isinstance(values, dict):
            raise BadRecord(private=f"{kind}: not an object")
        self._kind = kind
        self._values: Mapping[str, Any] = values
        version = values.get("version")
        if type(version) is not int or version != VERSION:
            raise BadRecord(private=f"{kind}: version {version!r}, this software reads {VERSION}")
        if values.get("kind") != kind:
            raise BadRecord(private=f"{kind}: kind is {values.get('kind')!r}")

    def bad(self, name: str) -> BadRecord:
        return BadRecord(private=f"{self._kind}: field {name!r} is missing or malformed")

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not sound_text(value):
            raise self.bad(name)
        return value

    def whole(self, name: str, *, maximum: int, minimum: int = 0) -> int:
        value = self._values.get(name)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.bad(name)
        return value

    def optional_whole(self, name: str, *, maximum: int) -> int | None:
        return None if self._values.get(name) is None else self.whole(name, maximum=maximum)

    def digest(self, name: str) -> bytes:
        try:
            return digest32(self.text(name))
        except ValueError as error:
            raise self.bad(name) from error

    def time(self, name: str) -> datetime:
        try:
            value = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise self.bad(name) from error
        if value.tzinfo is None or value.year not in _YEARS:
            raise self.bad(name)
        return value.astimezone(UTC)

    def texts(self, name: str) -> dict[str, str]:
        value = self._values.get(name)
        if not isinstance(value, dict) or not all(sound_text(text) for pair in value.items() for text in pair):
            raise self.bad(name)
        return dict(value)

    def items(self, name: str) -> list[Any]:
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self.bad(name)
        return value


def encode(kind: str, values: Mapping[str, Any]) -> bytes:
    record = {"version": VERSION, "kind": kind, **values}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=False).encode() + b"\n"


def time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """session.json: what is being uploaded. Written first of all. Its Last-Modified is the session's create time."""

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

    def encode(self) -> bytes:
        return encode(
            "session",
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
            },
        )

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("session", body)
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
        )


@dataclass(frozen=True, slots=True)
class MultipartRecord:
    """multipart.json: the one upload id of the session. Whoever lost the race to write it aborts its own upload."""

    session_id: str
    upload_id: str

    def encode(self) -> bytes:
        return encode("multipart", {"session_id": self.session_id, "upload_id": self.upload_id})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("multipart", body)
        return cls(session_id=f.text("session_id"), upload_id=f.text("upload_id"))


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

    def encode(self) -> bytes:
        return encode(
            "done",
            {
                "session_id": self.session_id,
                "outcome": "COMMITTED",
                "etag": self.etag,
                "size": self.size,
                "blake3": b64(self.blake3),
                "committed_at": time_text(self.committed_at),
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
    )


@dataclass(frozen=True, slots=True)
class DeletedRecord:
    """deleted.json: the object was removed by request. Nothing writes it yet; everything already obeys it (C1)."""

    session_id: str

    def encode(self) -> bytes:
        return encode("deleted", {"session_id": self.session_id})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        return cls(session_id=Fields("deleted", body).text("session_id"))
