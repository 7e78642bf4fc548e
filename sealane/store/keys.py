"""The bucket's layout: the only place that spells an S3 key (protocol.md section 3).

    {tenant}/by-session/{session_id}/{filename}             the object, at a key of its own
    {tenant}/{object_key}                                   the object, at a key that the caller chose
    .sealane/{tenant}/sessions/{session_id}/
        session.json · multipart.json · decision.json · done.json · deleted.json
        receipts/{index:08d}.{length}.{blake3}.{cv}.{sha256}.{etag}
    .sealane/{tenant}/requests/{sha256(request_id)}.json
    .sealane/{tenant}/claims/{sha256(object_key)}/{generation:012d}.json
    .sealane/.probe/{random}/                               the probe's, gone when it ends

The same names in another order would do; these sort so that one LIST answers coverage in order of the indexes, and one
prefix holds everything of a session.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import NamedTuple

from sealane.domain import ids
from sealane.domain.chunks import Receipt
from sealane.domain.errors import BadRecord, InvalidObjectKey
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.record_fields import b64, digest32, unb64
from sealane.domain.records import SessionRecord

ROOT = ".sealane/"
PROBE = ROOT + ".probe/"

SESSION = "session.json"
MULTIPART = "multipart.json"
DECISION = "decision.json"
DONE = "done.json"
DELETED = "deleted.json"
RECEIPTS = "receipts/"
"""The folder of a session's receipts."""
RECORDS = frozenset({SESSION, MULTIPART, DECISION, DONE, DELETED})

TOKEN_METADATA = "sealane-token"  # noqa: S105 - the name, not the token
"""User metadata on the multipart upload: whose object it is."""

_ETAG = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_INDEX = re.compile(r"[0-9]{8}", re.ASCII)
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_SESSION_KEY = re.compile(
    r"\.sealane/(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/sessions/(?P<session>[0-9a-f]{32})/(?P<rest>.+)", re.ASCII | re.S
)
_REQUEST_KEY = re.compile(r"\.sealane/(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/requests/[0-9a-f]{64}\.json", re.ASCII)
_CLAIM_KEY = re.compile(
    r"\.sealane/(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/claims/(?P<log>[0-9a-f]{64})/(?P<number>[0-9]{12})\.json", re.ASCII
)
_OBJECT_KEY = re.compile(
    r"(?P<tenant>[a-z0-9][a-z0-9-]{0,62})/by-session/(?P<session>[0-9a-f]{32})/(?P<rest>[^/]+)", re.ASCII | re.S
)


def object_key(tenant: Tenant, session: SessionId, filename: str) -> str:
    """The object's key, the session's own: two sessions of one filename never meet."""
    return f"{by_session_prefix(tenant)}{session}/{filename}"


def chosen_object_key(tenant: Tenant, object_key: str) -> str:
    """The object's key where its caller chose it; :func:`sealane.domain.ids.object_key` has let ``object_key`` pass."""
    return f"{tenant}/{object_key}"


def key_of(tenant: Tenant, record: SessionRecord) -> str:
    """The one key that a session of this session.json may touch (I12). BadRecord if its chosen key is none."""
    if not record.chosen_key:
        return object_key(tenant, SessionId(record.session_id), record.filename)
    try:
        return chosen_object_key(tenant, ids.object_key(record.chosen_key, tenant))
    except InvalidObjectKey as error:
        raise BadRecord(private=f"session.json of {record.session_id}: {error.message}") from error


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
    return f"{ROOT}{tenant}/sessions/{session}/"


def record(tenant: Tenant, session: SessionId, name: str) -> str:
    """The key of one of :data:`RECORDS`."""
    if name not in RECORDS:
        raise ValueError(f"no such record: {name}")
    return session_prefix(tenant, session) + name


def request_record(tenant: Tenant, request_id: str) -> str:
    return f"{requests_prefix(tenant)}{hashlib.sha256(request_id.encode()).hexdigest()}.json"


def requests_prefix(tenant: Tenant) -> str:
    return f"{ROOT}{tenant}/requests/"


def all_claims_prefix(tenant: Tenant) -> str:
    """The logs of all keys that this tenant's callers chose."""
    return f"{ROOT}{tenant}/claims/"


def claims_prefix(tenant: Tenant, object_key: str) -> str:
    """The log of claims of one key; number 0 says whether the name is a key or a folder (docs/adr/0007)."""
    return f"{all_claims_prefix(tenant)}{hashlib.sha256(object_key.encode()).hexdigest()}/"


def claim(tenant: Tenant, object_key: str, generation: int) -> str:
    """The claim to be generation ``generation`` of a key."""
    return f"{claims_prefix(tenant, object_key)}{generation:012d}.json"


def probe_prefix(random_hex: str) -> str:
    return f"{PROBE}{random_hex}/"


def receipts_prefix(tenant: Tenant, session: SessionId, index: int | None = None) -> str:
    """All receipts of a session, or those of one chunk."""
    prefix = session_prefix(tenant, session) + RECEIPTS
    return prefix if index is None else f"{prefix}{index:08d}."


def receipt(tenant: Tenant, session: SessionId, value: Receipt) -> str:
    """The zero-byte object whose key is the receipt (about 185 bytes in its last segment; stores allow 255)."""
    # An ETag is 32 hex digits wherever it was seen, and opaque by the book: any other spelling goes in base64url.
    etag = value.etag if _ETAG.fullmatch(value.etag) else "~" + b64(value.etag.encode())
    digests = f"{b64(value.blake3)}.{b64(value.chaining_value)}.{b64(value.sha256)}"
    return f"{receipts_prefix(tenant, session, value.index)}{value.length}.{digests}.{etag}"


def parse_receipt(key: str, store_time: datetime | None = None) -> Receipt:
    """The receipt that a key says; BadRecord if it says none (fail closed, section 11). ``store_time``: as listed."""
    segments = key.rsplit("/", 1)[-1].split(".")
    if len(segments) != 6:
        raise BadRecord(private=f"receipt key has {len(segments)} fields, not 6: {key!r}")
    index, length, blake3, cv, sha256, etag = segments
    if not _INDEX.fullmatch(index) or not _NUMBER.fullmatch(length):
        raise BadRecord(private=f"receipt key with a malformed number: {key!r}")
    try:
        name = unb64(etag[1:]).decode() if etag.startswith("~") else etag
        parsed = Receipt(int(index), int(length), digest32(blake3), digest32(cv), digest32(sha256), name, store_time)
    except ValueError as error:
        raise BadRecord(private=f"receipt key with a malformed digest or ETag: {key!r}") from error
    if not name or (not etag.startswith("~") and not _ETAG.fullmatch(etag)):
        raise BadRecord(private=f"receipt key with a malformed ETag: {key!r}")
    return parsed


def receipt_size(rest: str) -> tuple[int, int] | None:
    """(index, length) of the receipt that the rest of a session's key says; None if it says none. Checks no digest."""
    segments = rest.removeprefix(RECEIPTS).split(".", 2)
    if not rest.startswith(RECEIPTS) or len(segments) != 3:
        return None
    index, length = segments[:2]
    return (int(index), int(length)) if _INDEX.fullmatch(index) and _NUMBER.fullmatch(length) else None


def parse_request_key(key: str) -> Tenant | None:
    """Whose request record a key is; None if it is none."""
    match = _REQUEST_KEY.fullmatch(key)
    return None if match is None else Tenant(match["tenant"])


class ClaimKey(NamedTuple):
    """A key under ``.sealane/{tenant}/claims/`` taken apart. ``log``: SHA-256 of the chosen key, in hex."""

    tenant: Tenant
    log: str
    number: int


def parse_claim_key(key: str) -> ClaimKey | None:
    """Which claim of which log a key is; None if it is none."""
    match = _CLAIM_KEY.fullmatch(key)
    return None if match is None else ClaimKey(Tenant(match["tenant"]), match["log"], int(match["number"]))


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


def parse_chosen_key(key: str, tenant: Tenant | None = None) -> tuple[Tenant, str] | None:
    """(tenant, the key as the caller chose it); None if nobody can have chosen it, or it is not ``tenant``'s (I12)."""
    owner, _, chosen = key.partition("/")
    if not _TENANT.fullmatch(owner) or tenant not in (None, owner):
        return None
    try:
        return Tenant(owner), ids.object_key(chosen, Tenant(owner))
    except InvalidObjectKey:
        return None


def parse_object_key(key: str) -> SessionKey | None:
    """What session an object or upload at a key of its own belongs to; None if it is no session's own key."""
    match = _OBJECT_KEY.fullmatch(key)
    if match is None:
        return None
    return SessionKey(Tenant(match["tenant"]), SessionId(match["session"]), match["rest"])
