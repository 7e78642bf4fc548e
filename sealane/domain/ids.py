"""Names that callers give and names that sealane makes: what they may look like, and nothing else.

Rules: protocol.md sections 1 and 11. Every parser here either answers a valid value or raises an
:class:`~sealane.domain.errors.InvalidRequest` that names the field; nothing is repaired silently.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NewType

from sealane.domain.errors import (
    InvalidDigest,
    InvalidFilename,
    InvalidMetadata,
    InvalidObjectKey,
    InvalidRequest,
    InvalidSessionId,
)

SessionId = NewType("SessionId", str)
"""32 lower-case hex digits, 128 random bits, never reused."""

Tenant = NewType("Tenant", str)
"""``[a-z0-9][a-z0-9-]{0,62}``, from the caller's verified identity alone."""

Entropy = Callable[[int], bytes]
"""``entropy(n)`` answers n random bytes; injected, for the simulation is seeded."""

DIGEST_BYTES = 32
DEFAULT_FILENAME = "object"
DEFAULT_CONTENT_TYPE = "application/octet-stream"
MAX_FILENAME_BYTES = 255
MAX_KEY_BYTES = 1024
"""Of a whole key, the tenant's prefix included: S3's own bound."""
MAX_SEGMENT_BYTES = 255
"""Of a key between two "/": what stores that keep keys in folders allow."""
RESERVED_SEGMENTS = frozenset({"by-session", ".sealane"})
"""First segments of sealane's own: objects at keys of their sessions' own, and the records."""
MAX_REQUEST_ID_CHARS = 128
MAX_CONTENT_TYPE_CHARS = 255
MAX_METADATA_BYTES = 1536
"""Names and values together. S3 allows 2 KiB with the token and the store's own."""
RESERVED_METADATA_PREFIX = "sealane-"

_SESSION_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e]*", re.ASCII)
_CONTENT_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *; *[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?", re.ASCII
)
# Cc control, Cf format (bidi overrides, zero width), Cs surrogates, Co private use, Cn unassigned, Zl/Zp separators.
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def new_session_id(entropy: Entropy) -> SessionId:
    return SessionId(entropy(16).hex())


def new_token(entropy: Entropy) -> str:
    """The secret that rides on the multipart upload and proves whose object it is (section 3)."""
    return entropy(16).hex()


def session_id(text: str) -> SessionId:
    if not _SESSION_ID.fullmatch(text):
        raise InvalidSessionId("session_id must be 32 lower-case hex digits.", field="session_id")
    return SessionId(text)


def tenant(text: str) -> Tenant:
    if not _TENANT.fullmatch(text):
        raise InvalidRequest("A tenant is made of a-z, 0-9 and '-', and has at most 63 characters.", field="tenant")
    return Tenant(text)


def filename(text: str) -> str:
    """The last segment of the object's key; "" gives the default."""
    if text == "":
        return DEFAULT_FILENAME
    if text in (".", ".."):
        raise InvalidFilename("filename must not be '.' or '..'.", field="filename")
    if "/" in text or "\\" in text:
        raise InvalidFilename("filename must not have a separator ('/' or '\\').", field="filename")
    if any(unicodedata.category(c) in _BAD_CATEGORIES for c in text):
        raise InvalidFilename(
            "filename must not have control, format, surrogate or unassigned characters.", field="filename"
        )
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidFilename("filename must be in Unicode normal form C.", field="filename")
    if text != text.strip():
        raise InvalidFilename("filename must not begin or end with white space.", field="filename")
    size = len(text.encode())
    if size > MAX_FILENAME_BYTES:
        raise InvalidFilename(f"filename has {size} bytes of UTF-8; at most {MAX_FILENAME_BYTES}.", field="filename")
    return text


def object_key(text: str, tenant: Tenant) -> str:
    """A key that a caller chose, relative to the tenant's prefix (section 11). Empty is not one: ask first.

    Never repaired: a key that is spelt in two ways would be two keys, or one that nobody asked for.
    """

    def refuse(why: str) -> InvalidObjectKey:
        return InvalidObjectKey(f"object_key {why}.", field="object_key")

    if text == "":
        raise refuse("must not be empty")
    if any(unicodedata.category(c) in _BAD_CATEGORIES for c in text):
        raise refuse("must not have control, format, surrogate or unassigned characters")
    if "\\" in text:
        raise refuse("must not have a backslash")
    if not unicodedata.is_normalized("NFC", text):
        raise refuse("must be in Unicode normal form C")
    size = len(f"{tenant}/{text}".encode())
    if size > MAX_KEY_BYTES:
        raise refuse(f"has {size} bytes of UTF-8 with the tenant's prefix; at most {MAX_KEY_BYTES}")
    segments = text.split("/")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise refuse("must not have empty, '.' or '..' segments, nor begin or end with '/'")
        if segment != segment.strip():
            raise refuse("must not have segments that begin or end with white space")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise refuse(f"has a segment of {len(segment.encode())} bytes of UTF-8; at most {MAX_SEGMENT_BYTES}")
    if segments[0] in RESERVED_SEGMENTS:
        raise refuse(f"must not be at or under '{segments[0]}', which is sealane's own")
    return text


def folders(key: str) -> list[str]:
    """The folders that ``key`` lies in, the outermost first: of ``a/b/c``, ``a`` and ``a/b``."""
    segments = key.split("/")
    return ["/".join(segments[:depth]) for depth in range(1, len(segments))]


def content_type(text: str) -> str:
    if text == "":
        return DEFAULT_CONTENT_TYPE
    if len(text) > MAX_CONTENT_TYPE_CHARS or not _CONTENT_TYPE.fullmatch(text):
        raise InvalidRequest(
            f"content_type must look like type/subtype, printable ASCII, at most {MAX_CONTENT_TYPE_CHARS} characters.",
            field="content_type",
        )
    return text


def metadata(values: Mapping[str, str]) -> dict[str, str]:
    """The caller's own metadata, sorted by name."""
    total = 0
    for name, value in values.items():
        if not _METADATA_NAME.fullmatch(name):
            raise InvalidMetadata(
                "A metadata name is made of a-z, 0-9 and '-', and has at most 63 characters.", field="metadata"
            )
        if name.startswith(RESERVED_METADATA_PREFIX):
            raise InvalidMetadata(
                f"Metadata names that begin with '{RESERVED_METADATA_PREFIX}' are sealane's own.", field="metadata"
            )
        if not _PRINTABLE.fullmatch(value) or value != value.strip():
            raise InvalidMetadata(
                "A metadata value is printable ASCII without white space at its ends.", field="metadata"
            )
        total += len(name) + len(value)
    if total > MAX_METADATA_BYTES:
        raise InvalidMetadata(f"metadata has {total} bytes; at most {MAX_METADATA_BYTES}.", field="metadata")
    return dict(sorted(values.items()))


def request_id(text: str) -> str:
    """The caller's idempotency key; "" means none."""
    if len(text) > MAX_REQUEST_ID_CHARS or not _PRINTABLE.fullmatch(text):
        raise InvalidRequest(
            f"request_id must be printable ASCII, at most {MAX_REQUEST_ID_CHARS} characters.", field="request_id"
        )
    return text


def digest(value: bytes, *, field: str = "blake3") -> bytes:
    if len(value) != DIGEST_BYTES:
        raise InvalidDigest(f"{field} must be {DIGEST_BYTES} bytes; it has {len(value)}.", field=field)
    return bytes(value)
