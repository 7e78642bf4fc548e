"""TLS of a server: certificates that are exchanged while it runs, and clients that may have to show theirs.

gRPC asks for the certificate once a handshake, in a thread of its own: what it is handed was read and checked before
(:mod:`sealane.reloaded`), so a handshake never waits for a disk, and a pair that does not fit is never served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from sealane.logs import get_logger
from sealane.reloaded import LOOK_SECONDS, Reloaded

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With ``client_ca`` every client must show a certificate that one of these authorities signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))


class ServerTls:
    """What a listener needs. :meth:`watch` beside it keeps the certificate new."""

    def __init__(self, files: TlsFiles) -> None:
        """Reads and checks the files. OSError, ValueError."""
        self._files = files
        self._loaded = Reloaded("certificate", files.paths, checked, describe=described)
        self._served = self._loaded.value
        _log.info("certificate", **described(self._served))

    def credentials(self) -> grpc.ServerCredentials:
        """For ``add_secure_port``. Handshakes begun after a reload get the new certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._served.configuration, self._fetch, self._files.client_ca is not None
        )

    @property
    def not_after(self) -> float:
        """When the newest certificate that was loaded ends: seconds since 1970."""
        return self._loaded.value.certificate.not_valid_after_utc.timestamp()

    async def watch(self, every: float = LOOK_SECONDS) -> None:
        """Look for new files until cancelled."""
        await self._loaded.watch(every)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks for at a handshake; None: as before. It must neither wait nor raise."""
        now = self._loaded.value
        if now is self._served:
            return None
        self._served = now
        return now.configuration


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain with its key, found to fit, as gRPC takes it."""

    configuration: grpc.ServerCertificateConfiguration
    certificate: x509.Certificate


def checked(contents: Sequence[bytes]) -> Pair:
    """The contents of :attr:`TlsFiles.paths`. ValueError, whose text names no secret."""
    chain_pem, key_pem, *authorities = contents
    chain = _certificates(chain_pem, "the certificate file")
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the key file is no private key in PEM without a password") from None
    if key.public_key() != chain[0].public_key():
        raise ValueError("the key does not belong to the certificate")
    for authority in authorities:
        _certificates(authority, "the file of client authorities")
    configuration = grpc.ssl_server_certificate_configuration(
        [(key_pem, chain_pem)], root_certificates=authorities[0] if authorities else None
    )
    return Pair(configuration, chain[0])


def _certificates(pem: bytes, which: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{which} has no certificate in PEM") from None


def described(pair: Pair) -> Mapping[str, str]:
    """What an operator wants to know of a certificate."""
    certificate = pair.certificate
    return {
        "subject_name": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
