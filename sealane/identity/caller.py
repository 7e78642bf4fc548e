"""Who asks: what a caller presents, what an identity makes of it, and for which tenant it then acts.

The tenant comes from the verified identity alone (protocol.md section 1). The one exception is a *service*, the other
half of sealane: it names in metadata ``x-sealane-tenant`` the tenant on whose behalf it asks, and has no other rights
then than a service's; from anyone else that header is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sealane.domain import ids
from sealane.domain.errors import InvalidRequest, PermissionDenied
from sealane.domain.ids import Tenant

Metadata = Iterable[tuple[str, str | bytes]]

TENANT_KEY = "x-sealane-tenant"
"""Metadata key in which a service names the tenant that it asks for."""


class Role(StrEnum):
    """What a caller is to sealane; one may be several. :mod:`sealane.identity.access` says what each may do."""

    UPLOADER = "uploader"
    """Makes sessions of its tenant, sends their chunks, commits or aborts them."""
    READER = "reader"
    """Looks at its tenant's sessions, keys and objects."""
    OPERATOR = "operator"
    """Looks at everything of its tenant, aborts, deletes, audits and repairs; sends nothing."""
    SERVICE = "service"
    """The other half of sealane, for any tenant: receipts and outcomes, no more."""


USER_ROLES = frozenset({Role.UPLOADER, Role.READER, Role.OPERATOR})
"""All that somebody of a tenant can be."""


def _valid() -> None:
    """For credentials that hold for as long as their call."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified identity."""

    subject: str
    """Who it is, for logs and for session.json's owner; never a secret."""
    roles: frozenset[Role]
    tenant: Tenant | None = None
    """None: it has no data of its own; a service."""
    recheck: Callable[[], None] = _valid
    """Raises Unauthenticated once the credentials hold no more (expired, revoked): asked again on long streams."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with a call."""

    metadata: Metadata
    peer: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """gRPC's auth context: what TLS has verified of the other side; nothing of it on a plaintext line."""


Identity = Callable[[Presented], Awaitable[Caller]]
"""The verified identity of a call. Unauthenticated; PermissionDenied; RetryLater if it can't be verified just now."""


class StaticIdentity:
    """Everybody is the one tenant of the settings, and may do everything in it: for loopback, and for development."""

    def __init__(self, tenant: Tenant, subject: str = "anonymous") -> None:
        self._answer = Caller(subject, USER_ROLES, tenant)

    async def __call__(self, presented: Presented) -> Caller:
        return self._answer


def standing(caller: Caller, metadata: Metadata) -> tuple[Tenant, frozenset[Role]]:
    """The tenant that this call acts for, and the roles that it has there. PermissionDenied, InvalidRequest."""
    named = [value for key, value in metadata if key == TENANT_KEY]
    if not named:
        if caller.tenant is None:
            raise PermissionDenied(f"A service names the tenant that it asks for in {TENANT_KEY}.")
        return caller.tenant, caller.roles
    if Role.SERVICE not in caller.roles:
        raise PermissionDenied(f"Only a service may name a tenant in {TENANT_KEY}.")
    if len(named) > 1 or not isinstance(named[0], str):
        raise InvalidRequest(f"{TENANT_KEY} must name one tenant.", field=TENANT_KEY)
    return ids.tenant(named[0]), frozenset({Role.SERVICE})
