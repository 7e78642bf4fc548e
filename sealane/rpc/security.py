"""All that the settings say of identity and TLS, made once for a service: what its composition root hands on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from grpc import aio

from sealane.config.identity import is_loopback
from sealane.config.shared import CommonSettings
from sealane.domain import ids
from sealane.logs import get_logger
from sealane.rpc.identity import Identity
from sealane.rpc.identity_modes import identity_of
from sealane.rpc.peer import PeerMetadata, peer_channel, peer_metadata
from sealane.rpc.reloaded import LOOK_SECONDS
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
