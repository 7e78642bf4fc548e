"""How one service calls the other: its channel, its credentials, and the tenant on whose behalf it asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from grpc import aio

from sealane.domain.errors import PeerUnavailable, SealaneError
from sealane.domain.ids import Tenant
from sealane.identity.bearer import AUTHORIZATION
from sealane.identity.caller import TENANT_KEY
from sealane.logs import get_logger
from sealane.rpc.channel import channel
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.token_file import TokenFile

_log = get_logger(__name__)

PeerMetadata: TypeAlias = Callable[[Tenant], Sequence[tuple[str, str]]]
"""What goes with a call on a tenant's behalf."""


class PeerSettings(Protocol):
    """See :class:`sealane.config.CommonSettings`."""

    @property
    def peer(self) -> str: ...
    @property
    def calls_with_tls(self) -> bool: ...
    @property
    def peer_ca_file(self) -> Path | None: ...
    @property
    def peer_cert_file(self) -> Path | None: ...
    @property
    def peer_key_file(self) -> Path | None: ...
    @property
    def tls_cert_file(self) -> Path | None: ...
    @property
    def tls_key_file(self) -> Path | None: ...
    @property
    def peer_server_name(self) -> str: ...
    @property
    def peer_token_file(self) -> Path | None: ...
    @property
    def identity_modes(self) -> frozenset[str]: ...


def refused_by(service: str, said: SealaneError) -> PeerUnavailable:
    """What it means to a caller that ``service`` does not let this one in: not his fault, nor his to mend."""
    _log.error("refused_by_peer", alarm=True, peer_service=service, reason=said.reason.value, detail=said.message)
    return PeerUnavailable.of(service, private=f"{service} refuses this service: {said.message} {said.private}")


def nothing(tenant: Tenant) -> Sequence[tuple[str, str]]:
    """Where identity is static, every call is the one tenant's, and no header may name it."""
    return ()


def peer_channel(settings: PeerSettings) -> aio.Channel:
    """A channel to the other service; it keeps up with the files. OSError, ValueError of these. Close it."""
    if not settings.calls_with_tls:
        return channel(settings.peer)
    cert, key = settings.peer_cert_file, settings.peer_key_file
    if cert is None:
        cert, key = settings.tls_cert_file, settings.tls_key_file
    tls = ClientTls(settings.peer_ca_file, cert, key, settings.peer_server_name)
    return channel(settings.peer, credentials=tls)


def peer_metadata(settings: PeerSettings) -> PeerMetadata:
    """The tenant, and the token if there is a file for it. OSError, ValueError if that has none."""
    if settings.identity_modes == {"static"}:
        return nothing
    token = TokenFile(settings.peer_token_file) if settings.peer_token_file else None
    if token is not None:
        token()

    def metadata(tenant: Tenant) -> Sequence[tuple[str, str]]:
        named = (TENANT_KEY, str(tenant))
        return (named,) if token is None else (named, (AUTHORIZATION, f"Bearer {token()}"))

    return metadata
