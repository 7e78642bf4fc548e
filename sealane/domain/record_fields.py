"""How a record is spelt: versioned JSON, read field by field, each value within its bounds (protocol.md section 3)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from sealane.domain.errors import BadRecord

VERSION = 1
"""A record of another version is not understood, and decides nothing: roll forward the software first."""
MAX_TEXT_BYTES = 4096
"""UTF-8 bytes of one text in a record. Keys have 1,024; upload ids are the store's, and opaque."""
MAX_TTL_SECONDS = 366 * 24 * 3600
MAX_CHUNK_BYTES = 1 << 32
"""The largest power of two that S3 takes as one part (5 GiB)."""
MAX_OBJECT_BYTES = 10_000 * MAX_CHUNK_BYTES
MAX_GENERATION = 10**12 - 1
"""What 12 digits can say."""
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

    def __init__(self, kind: str, body: bytes | Mapping[str, Any], *, or_kind: str = "") -> None:
        """``body``: the record's bytes, or its values as another record has them in it."""
        values: Any = body
        if isinstance(body, bytes):
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
        if values.get("kind") not in ((kind, or_kind) if or_kind else (kind,)):
            raise BadRecord(private=f"{kind}: kind is {values.get('kind')!r}")
        self.kind: str = values["kind"]

    def bad(self, name: str) -> BadRecord:
        return BadRecord(private=f"{self._kind}: field {name!r} is missing or malformed")

    def is_text(self, name: str, text: str) -> bool:
        return bool(self._values.get(name) == text)

    def has(self, name: str) -> bool:
        return name in self._values

    def record(self, name: str) -> Mapping[str, Any]:
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self.bad(name)
        return value

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

    def true(self, name: str) -> bool:
        """A flag that is only written where it is true."""
        if name in self._values and self._values[name] is not True:
            raise self.bad(name)
        return name in self._values

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


def versioned(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values as they are encoded."""
    return {"version": VERSION, "kind": kind, **values}


def encode(kind: str, values: Mapping[str, Any]) -> bytes:
    record = versioned(kind, values)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=False).encode() + b"\n"


def time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
