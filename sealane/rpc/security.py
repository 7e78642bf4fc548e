"""All that the settings say of identity and TLS, made once for a service: what its composition root hands on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from grpc import aio

from sealane.config.identity import IdentitySettings, is_loopback
from sealane.config.shared import CommonSettings
from sealane.domain import ids
from sealane.domain.ids import Tenant
from sealane.identity import jwks
from sealane.identity.caller import Identity, Role, StaticIdentity
from sealane.identity.identities import parse
from sealane.identity.jwt import JwtIdentity, JwtRules
from sealane.identity.modes import Modes
from sealane.identity.mtls import MtlsIdentity
from sealane.identity.tokens import TokenIdentity
from sealane.logs import get_logger
from sealane.reloaded import LOOK_SECONDS, Reloaded
from sealane.rpc.peer import PeerMetadata, peer_channel, peer_metadata
from sealane.rpc.tls import ServerTls, TlsFiles

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Security:
    """``peer`` is the caller's to close; ``background`` runs beside the server, for as long as it does."""

    identity: Identity
    tls: ServerTls | None
    peer: aio.Channel
    peer_metadata: PeerMetadata
    background: tuple[Coroutine[Any, Any, None], ...]


def security(settings: CommonSettings, now: Callable[[], datetime], *, every: float = LOOK_SECONDS) -> Security:
    """``now`` is the store's clock; files are looked at ``every`` so many seconds.

    OSError, ValueError of the files, though the settings found them good.
    """
    identity, background = identity_of(settings, ids.tenant(settings.tenant), now, every)
    tls = None
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        tls = ServerTls(TlsFiles(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file))
        background.append(tls.watch(every))
    if settings.identity_modes == {"static"} and not is_loopback(settings.listen.rpartition(":")[0]):
        _log.warning(
            "everybody_is_one_tenant", tenant=settings.tenant, listen=settings.listen, setting="SEALANE_IDENTITY"
        )
    return Security(identity, tls, peer_channel(settings), peer_metadata(settings), tuple(background))


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
