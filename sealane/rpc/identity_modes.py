"""The identity that the settings ask for: one way to know a caller, or several beside each other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sealane.config.identity import IdentitySettings
from sealane.domain.errors import Unauthenticated
from sealane.domain.ids import Tenant
from sealane.rpc import jwks
from sealane.rpc.bearer import bearer_token, looks_like_jwt
from sealane.rpc.identities import parse
from sealane.rpc.identity import Caller, Identity, Presented, Role, StaticIdentity
from sealane.rpc.identity_jwt import JwtIdentity, JwtRules
from sealane.rpc.identity_mtls import MtlsIdentity
from sealane.rpc.identity_tokens import TokenIdentity
from sealane.rpc.reloaded import Reloaded


@dataclass(frozen=True, slots=True)
class Modes:
    """A bearer token is judged by what it looks like; without one, the client certificate says who it is.

    So a caller with both is who its token says: a proxy's certificate does not lend its identity to what it passes on.
    """

    mtls: MtlsIdentity | None = None
    jwt: JwtIdentity | None = None
    tokens: TokenIdentity | None = None

    async def __call__(self, presented: Presented) -> Caller:
        """An :data:`~sealane.rpc.identity.Identity`."""
        token = bearer_token(presented.metadata)
        if token is None:
            if self.mtls is None:
                raise Unauthenticated(private="no authorization header")
            return self.mtls.caller(presented.peer)
        if self.jwt is not None and (self.tokens is None or looks_like_jwt(token)):
            return await self.jwt.caller(token)
        if self.tokens is None:
            raise Unauthenticated(private="a bearer token, and SEALANE_IDENTITY takes none")
        return self.tokens.caller(token)


def identity_of(
    settings: IdentitySettings, tenant: Tenant, now: Callable[[], datetime], every: float
) -> tuple[Identity, list[Coroutine[Any, Any, None]]]:
    """The identity, and what must run beside the server to keep it up to date. OSError, ValueError of its files.

    Files are looked at ``every`` so many seconds. ``now`` is the store's clock: tokens expire by the same one as
    everything else, though a replica's own be a day off.
    """
    modes = settings.identity_modes
    if modes == {"static"}:
        return StaticIdentity(tenant), []
    beside: list[Coroutine[Any, Any, None]] = []
    identities = None
    if settings.identities_file is not None:
        identities = Reloaded("identities", [settings.identities_file], parse)
        beside.append(identities.watch(every))
    jwt = None
    if "jwt" in modes:
        keys = _keys(settings)
        beside.append(keys.watch())
        jwt = JwtIdentity(jwt_rules(settings), keys, identities, now)
    mtls = MtlsIdentity(identities, now) if "mtls" in modes and identities is not None else None
    tokens = TokenIdentity(identities, now) if "tokens" in modes and identities is not None else None
    return Modes(mtls, jwt, tokens), beside


def jwt_rules(settings: IdentitySettings) -> JwtRules:
    """What the settings say of tokens."""
    return JwtRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=settings.jwt_allowed_algorithms,
        tenant_claim=settings.jwt_tenant_claim,
        roles_claim=settings.jwt_roles_claim,
        default_roles=frozenset(Role(name) for name in settings.jwt_default_role_names),
        leeway=settings.jwt_leeway_seconds,
    )


def _keys(settings: IdentitySettings) -> jwks.SigningKeys:
    if settings.jwt_jwks_file is not None:
        source, every = jwks.from_file(settings.jwt_jwks_file)
    else:
        source, every = jwks.from_url(
            settings.jwt_jwks_url,
            ca_file=settings.jwt_jwks_ca_file,
            token_file=settings.jwt_jwks_token_file,
            every=settings.jwt_jwks_seconds,
        )
    return jwks.SigningKeys(source, every=every)
