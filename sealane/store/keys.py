"""The bucket's layout: the only place that spells an S3 key (protocol.md section 3).

    {tenant}/by-session/{session_id}/{filename}             the object
    .sealane/{tenant}/sessions/{session_id}/
        session.json · multipart.json · decision.json · done.json · deleted.json
        receipts/{index:08d}.{length}.{blake3}.{cv}.{sha256}.{etag}
    .sealane/{tenant}/requests/{sha256(request_id)}.json
    .sealane/.probe/{random}/                               the probe's, gone when it ends

The same names in another order would do; these sort so that one LIST answers coverage in order of the indexes, and one
prefix holds everything of a session.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from sealane.domain.chunks import Receipt
from sealane.domain.errors import BadRecord
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import b64, digest32, unb64

ROOT = ".sealane/"
PROBE = ROOT + ".probe/"

SESSION = "session.json"
MULTIPART = "multipart.json"
DECISION = "decision.json"
DONE = "done.json"
DELETED = "deleted.json"
RECORDS = frozenset({SESSION, MULTIPART, DECISION, DONE, DELETED})

TOKEN_METADATA = "sealane-token"  # noqa: S105 - the name, not the token
"""User metadata on the multipart upload: whose object it is."""

_ETAG = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_INDEX = re.compile(r"[0-9]{8}", re.ASCII)
_SESSION_KEY = re.compile(
    r"\.sealane/(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/sessions/(?P<session>[0-9a-f]{32})/(?P<rest>.+)", re.ASCII | re.S
)
_REQUEST_KEY = re.compile(r"\.sealane/(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/requests/[0-9a-f]{64}\.json", re.ASCII)
_OBJECT_KEY = re.compile(
    r"(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/by-session/(?P<session>[0-9a-f]{32})/(?P<rest>[^/]+)", re.ASCII | re.S
)


def object_key(tenant: Tenant, session: SessionId, filename: str) -> str:
    """The object's key, the session's own: two sessions of one filename never meet."""
    return f"{by_session_prefix(tenant)}{session}/{filename}"


def by_session_prefix(tenant: Tenant) -> str:
    """All objects at keys of their sessions' own."""
    return f"{tenant}/by-session/"


def own_object_prefix(tenant: Tenant, session: SessionId) -> str:
    """The object of this session, whatever its filename."""
    return f"{by_session_prefix(tenant)}{session}/"


def sessions_prefix(tenant: Tenant) -> str:
    return f"{ROOT}{tenant}/sessions/"


def session_prefix(tenant: Tenant, session: SessionId) -> str:
    """Everything sealane records of one session."""
    return f"{sessions_prefix(tenant)}{session}/"


def record(tenant: Tenant, session: SessionId, name: str) -> str:
    """The key of one of :data:`RECORDS`."""
    if name not in RECORDS:
        raise ValueError(f"no such record: {name}")
    return session_prefix(tenant, session) + name


def request_record(tenant: Tenant, request_id: str) -> str:
    return f"{requests_prefix(tenant)}{hashlib.sha256(request_id.encode()).hexdigest()}.json"


def requests_prefix(tenant: Tenant) -> str:
    return f"{ROOT}{tenant}/requests/"


def probe_prefix(random_hex: str) -> str:
    return f"{PROBE}{random_hex}/"


def receipts_prefix(tenant: Tenant, session: SessionId, index: int | None = None) -> str:
    """All receipts of a session, or those of one chunk."""
    prefix = session_prefix(tenant, session) + "receipts/"
    return prefix if index is None else f"{prefix}{index:08d}."


def receipt(tenant: Tenant, session: SessionId, value: Receipt) -> str:
    """The zero-byte object whose key is the receipt (about 185 bytes in its last segment; stores allow 255)."""
    # An ETag is 32 hex digits wherever it was seen, and opaque by the book: any other spelling goes in base64url.
    etag = value.etag if _ETAG.fullmatch(value.etag) else "~" + b64(value.etag.encode())
    digests = f"{b64(value.blake3)}.{b64(value.chaining_value)}.{b64(value.sha256)}"
    return f"{receipts_prefix(tenant, session, value.index)}{value.length}.{digests}.{etag}"


def parse_receipt(key: str) -> Receipt:
    """The receipt that a key says; BadRecord if it says none (fail closed, section 11)."""
    segments = key.rsplit("/", 1)[-1].split(".")
    if len(segments) != 6:
        raise BadRecord(private=f"receipt key has {len(segments)} fields, not 6: {key!r}")
    index, length, blake3, cv, sha256, etag = segments
    if not _INDEX.fullmatch(index) or not _NUMBER.fullmatch(length):
        raise BadRecord(private=f"receipt key with a malformed number: {key!r}")
    try:
        name = unb64(etag[1:]).decode() if etag.startswith("~") else etag
        parsed = Receipt(int(index), int(length), digest32(blake3), digest32(cv), digest32(sha256), name)
    except ValueError as error:
        raise BadRecord(private=f"receipt key with a malformed digest or ETag: {key!r}") from error
    if not name or (not etag.startswith("~") and not _ETAG.fullmatch(etag)):
        raise BadRecord(private=f"receipt key with a malformed ETag: {key!r}")
    return parsed


def parse_request_key(key: str) -> Tenant | None:
    """Whose request record a key is; None if it is none."""
    match = _REQUEST_KEY.fullmatch(key)
    return None if match is None else Tenant(match["tenant"])


class SessionKey(NamedTuple):
    """A key under ``.sealane/{tenant}/sessions/`` taken apart; ``rest`` is a record's name or ``receipts/…``."""

    tenant: Tenant
    session: SessionId
    rest: str


def parse_session_key(key: str) -> SessionKey | None:
    """What session a record or receipt belongs to; None if the key is no session's."""
    match = _SESSION_KEY.fullmatch(key)
    if match is None:
        return None
    return SessionKey(Tenant(match["tenant"]), SessionId(match["session"]), match["rest"])


def parse_object_key(key: str) -> SessionKey | None:
    """What session an object or upload at a key of its own belongs to; None if it is no session's own key."""
    match = _OBJECT_KEY.fullmatch(key)
    if match is None:
        return None
    return SessionKey(Tenant(match["tenant"]), SessionId(match["session"]), match["rest"])
