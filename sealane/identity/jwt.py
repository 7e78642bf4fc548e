"""Identity by JWT (RFC 7519): signature, issuer, audience and times verified, then tenant and roles read out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, JoseError

from sealane.domain.errors import InvalidRequest, PermissionDenied, Unauthenticated
from sealane.domain.ids import Tenant
from sealane.domain.ids import tenant as parse_tenant
from sealane.identity.caller import USER_ROLES, Caller, Role
from sealane.identity.identities import Grant, Identities
from sealane.identity.jwks import SigningKeys
from sealane.reloaded import Reloaded

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"})
"""What may be allowed at all. Never "none", and no HS…: a public key must not serve as a secret."""

_SUBJECT = re.compile(r"[\x20-\x7e]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class JwtRules:
    """What a token must be. A claim is a top-level name, or a JSON pointer (RFC 6901): ``/kubernetes.io/namespace``."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    tenant_claim: str
    roles_claim: str
    default_roles: frozenset[Role]
    """Of a token without the claim of roles."""
    leeway: int
    """Seconds that clocks may differ."""


class JwtIdentity:
    """``identities``: subjects whose roles (and tenant) are written down, which goes before what their token claims."""

    def __init__(
        self,
        rules: JwtRules,
        keys: SigningKeys,
        identities: Reloaded[Identities] | None,
        now: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._identities = identities
        self._now = now
        self._registry = jws.JWSRegistry(algorithms=sorted(rules.algorithms), strict_check_header=False)
        self._registry.max_header_length = 4096  # some issuers put their certificates there; gRPC's own limit is near
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(now().timestamp()),
            leeway=rules.leeway,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def caller(self, token: str) -> Caller:
        """Whose token it is. Unauthenticated; PermissionDenied for a valid one that names no tenant; PeerUnavailable
        if the keys can't be had."""
        claims = await self._verified(token)
        subject = claims["sub"]
        if not _SUBJECT.fullmatch(subject):
            raise Unauthenticated(private="JWT: its subject has no 1 to 200 printable characters")
        grant = self._grant(subject)
        roles = grant.roles if grant else self._roles(claims)
        tenant = grant.tenant if grant and grant.tenant else self._tenant(claims)
        if tenant is None and roles != {Role.SERVICE}:
            raise PermissionDenied(private=f"JWT of {subject}: no claim that is a tenant")
        expires = claims["exp"] + self._rules.leeway

        def recheck() -> None:
            if self._now().timestamp() >= expires:
                raise Unauthenticated(private=f"JWT of {subject}: expired_token")
            if self._grant(subject) != grant:
                raise Unauthenticated(private=f"JWT of {subject}: the identities file says something else by now")

        return Caller(subject, roles, tenant, recheck)

    async def _verified(self, token: str) -> dict[str, Any]:
        try:
            header = jws.extract_compact(token.encode(), registry=self._registry).headers()
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self._rules.algorithms:
                raise Unauthenticated(private="JWT: its algorithm is not allowed")
            key = await self._keys.find(kid if isinstance(kid, str) else None)
            if key.get("alg") not in (None, algorithm):
                raise Unauthenticated(private="JWT: its algorithm is not the key's")
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except ClaimError as error:
            raise Unauthenticated(private=f"JWT: {error.error} {error.claim}") from None
        except JoseError as error:
            raise Unauthenticated(private=f"JWT: {error.error}") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:  # of what is no JWT at all
            raise Unauthenticated(private=f"JWT: malformed ({type(error).__name__})") from None
        return claims

    def _grant(self, subject: str) -> Grant | None:
        grant = None if self._identities is None else self._identities.value.subjects.get(subject)
        if grant is not None and grant.expires is not None and self._now() >= grant.expires:
            raise PermissionDenied(private=f"JWT of {subject}: its entry in the identities file has expired")
        return grant

    def _tenant(self, claims: Mapping[str, Any]) -> Tenant | None:
        value = claim(claims, self._rules.tenant_claim)
        try:
            return parse_tenant(value) if isinstance(value, str) else None
        except InvalidRequest:
            return None

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        """Those of the claim, a list or a text with spaces between; an issuer's other roles are none of ours.

        Never a service's ⚠: it stands for every tenant, and many an issuer has a role of that name for others. Whose
        token is the other half of sealane's, the identities file says.
        """
        value = claim(claims, self._rules.roles_claim) if self._rules.roles_claim else None
        if value is None:
            return self._rules.default_roles
        named = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(role for role in USER_ROLES if role.value in named)


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """The value of a claim, by its top-level name or by a JSON pointer; None if there is none."""
    if not name.startswith("/"):
        return claims.get(name)
    value: Any = claims
    for part in name[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value
