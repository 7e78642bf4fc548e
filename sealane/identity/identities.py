"""The identities file: who is which tenant, and may do what. TOML, in three kinds of tables:

[[token]]                       # SEALANE_IDENTITY=tokens
name = "render-farm"            # for logs, and for session.json's owner
sha256 = "9f86d081…"            # of the token; or: token = "the token itself"
tenant = "acme"
roles = ["uploader", "reader"]
expires = 2027-01-31T00:00:00Z  # optional

[[spiffe]]                      # SEALANE_IDENTITY=mtls: the client certificate's URI, matched exactly
id = "spiffe://example.org/ns/sealane/sa/assembly"
roles = ["service"]             # a service has no tenant of its own

[[subject]]                     # SEALANE_IDENTITY=jwt: a verified token's subject; goes before the claims
sub = "system:serviceaccount:films:renderer"
tenant = "acme"                 # optional: else the tenant's claim
roles = ["uploader"]
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sealane.domain.errors import InvalidRequest
from sealane.domain.ids import Tenant
from sealane.domain.ids import tenant as parse_tenant
from sealane.identity.caller import Role

SHORTEST_TOKEN = 20
"""Characters. A token is a random one, not a password."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+", re.ASCII)
_NAME = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an entry gives. ``tenant`` None: a service's, or (of a subject) the claim's."""

    name: str
    roles: frozenset[Role]
    tenant: Tenant | None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Identities:
    """The file, parsed. Tokens by their SHA-256, 32 bytes."""

    tokens: Mapping[bytes, Grant]
    spiffe: Mapping[str, Grant]
    subjects: Mapping[str, Grant]


def parse(contents: Sequence[bytes]) -> Identities:
    """The one file's contents. ValueError with every fault, none of which names a token."""
    try:
        document = tomllib.loads(contents[0].decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("the identities file is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = re.search(r"\(at .*\)", str(error))  # the rest may quote a line with a token in it
        raise ValueError(f"the identities file is no TOML {where.group() if where else ''}".strip()) from None
    faults: list[str] = [f"{name}: not a table of the identities file" for name in document.keys() - _KINDS.keys()]
    found: dict[str, dict[Any, Grant]] = {kind: {} for kind in _KINDS}
    for kind, read in _KINDS.items():
        entries = document.get(kind, [])
        if not isinstance(entries, list):
            faults.append(f"{kind}: write [[{kind}]]")
            continue
        for number, entry in enumerate(entries, start=1):
            try:
                if not isinstance(entry, dict):
                    raise ValueError(f"write [[{kind}]]")
                key, grant = read(dict(entry))
                if key in found[kind]:
                    raise ValueError("the same as one before")
                found[kind][key] = grant
            except ValueError as error:
                faults.append(f"[[{kind}]] number {number}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return Identities(found["token"], found["spiffe"], found["subject"])


def _token(entry: dict[str, Any]) -> tuple[bytes, Grant]:
    name = _text(entry, "name")
    token, digest = entry.pop("token", None), entry.pop("sha256", None)
    if (token is None) == (digest is None):
        raise ValueError("either token or sha256")
    if token is not None:
        if not isinstance(token, str) or len(token) < SHORTEST_TOKEN:
            raise ValueError(f"token is a text of at least {SHORTEST_TOKEN} characters")
        key = hashlib.sha256(token.encode()).digest()
    elif isinstance(digest, str) and _SHA256.fullmatch(digest):
        key = bytes.fromhex(digest)
    else:
        raise ValueError("sha256 is 64 digits 0-9 and a-f")
    return key, _grant(name, entry, tenant_needed=True)


def _spiffe(entry: dict[str, Any]) -> tuple[str, Grant]:
    uri = _text(entry, "id")
    if not _SPIFFE.fullmatch(uri):
        raise ValueError("id is a SPIFFE id, spiffe://trust-domain/path, matched exactly")
    return uri, _grant(uri, entry, tenant_needed=True)


def _subject(entry: dict[str, Any]) -> tuple[str, Grant]:
    subject = _text(entry, "sub")
    return subject, _grant(subject, entry, tenant_needed=False)


_KINDS: Mapping[str, Callable[[dict[str, Any]], tuple[Any, Grant]]] = {
    "token": _token,
    "spiffe": _spiffe,
    "subject": _subject,
}


def _text(entry: dict[str, Any], field: str) -> str:
    value = entry.pop(field, None)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{field} is a text of 1 to 200 printable characters without spaces")
    return value


def _grant(name: str, entry: dict[str, Any], *, tenant_needed: bool) -> Grant:
    """What is left of an entry once its key was taken."""
    listed, named, expires = entry.pop("roles", None), entry.pop("tenant", None), entry.pop("expires", None)
    if entry:
        raise ValueError(f"{', '.join(sorted(entry))}: not a field of it")
    if not isinstance(listed, list) or not listed or any(role not in [*Role] for role in listed):
        raise ValueError(f"roles is a list of some of {', '.join(Role)}")
    roles = frozenset(Role(role) for role in listed)
    if expires is not None and not isinstance(expires, datetime):
        raise ValueError("expires is a time, 2027-01-31T00:00:00Z")
    if named is None:
        if tenant_needed and roles != {Role.SERVICE}:
            raise ValueError("tenant is missing; only a service has none")
        return Grant(name, roles, None, _utc(expires))
    try:
        tenant = parse_tenant(named) if isinstance(named, str) else None
    except InvalidRequest:
        tenant = None
    if tenant is None:
        raise ValueError("tenant is made of a-z, 0-9 and '-', at most 63 characters")
    return Grant(name, roles, tenant, _utc(expires))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
