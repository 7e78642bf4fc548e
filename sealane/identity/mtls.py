"""Identity by client certificate: the SPIFFE id that TLS has verified, matched exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from cryptography import x509

from sealane.domain.errors import PermissionDenied, Unauthenticated
from sealane.identity.caller import Caller
from sealane.identity.identities import Grant, Identities
from sealane.reloaded import Reloaded

_SPIFFE_ID = "peer_spiffe_id"
"""gRPC's name for it. It is there only where the certificate has exactly one URI, as SPIFFE demands."""
_CERTIFICATE = "x509_pem_cert"


class MtlsIdentity:
    """SPIFFE ids of the identities file. A certificate that expires holds no more, in open streams too."""

    def __init__(self, identities: Reloaded[Identities], now: Callable[[], datetime]) -> None:
        self._identities = identities
        self._now = now

    def caller(self, peer: Mapping[str, Sequence[bytes]]) -> Caller:
        """Whose certificate it is. Unauthenticated; PermissionDenied for a valid one that is nobody's here."""
        ids, certificates = peer.get(_SPIFFE_ID, ()), peer.get(_CERTIFICATE, ())
        if len(ids) != 1 or len(certificates) != 1:
            raise Unauthenticated(private="no client certificate with one SPIFFE id")
        spiffe_id = ids[0].decode("utf-8", "replace")
        try:
            expires = x509.load_pem_x509_certificate(certificates[0]).not_valid_after_utc
        except ValueError:  # TLS has taken it, and takes more than this library does
            raise Unauthenticated(private=f"the certificate of {spiffe_id} can't be read") from None
        grant = self._grant(spiffe_id, expires)

        def recheck() -> None:
            if self._grant(spiffe_id, expires) != grant:
                raise Unauthenticated(private=f"{spiffe_id} means something else by now")

        return Caller(spiffe_id, grant.roles, grant.tenant, recheck)

    def _grant(self, spiffe_id: str, expires: datetime) -> Grant:
        now = self._now()
        if now >= expires:
            raise Unauthenticated(private=f"the certificate of {spiffe_id} has expired")
        grant = self._identities.value.spiffe.get(spiffe_id)
        if grant is None or (grant.expires is not None and now >= grant.expires):
            raise PermissionDenied(private=f"{spiffe_id} is not in the identities file")
        return grant
