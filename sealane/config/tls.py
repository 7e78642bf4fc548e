"""TLS of a service's own listener, and what it shows and trusts when it calls the other service (docs/security.md)."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from sealane.config.identity import is_loopback
from sealane.config.rules import Rules
from sealane.reloaded import read
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.tls import TlsFiles, checked

_HOSTS = re.compile(r"(?:ipv[46]:|dns:(?:///)?)?(?P<addresses>.*)")


class TlsSettings(Rules):
    """Files are PEM, read again when they change. Times in seconds."""

    plaintext: bool = False
    """Listen and call beyond this machine without TLS: only where a mesh or a closed network protects it."""
    tls_cert_file: Path | None = None
    """The certificate of the gRPC listener, its chain behind it. Health stays plaintext, for probes."""
    tls_key_file: Path | None = None
    """Its private key, without a password."""
    tls_client_ca_file: Path | None = None
    """Authorities for client certificates. With it every client must show one (mTLS)."""
    max_connection_age: float = Field(default=1800.0, ge=1, le=7 * 86400)
    """After this a client connects anew (calls in hand go on): so new certificates and new replicas take effect."""
    peer_tls: bool = False
    """Call the other service with TLS, and trust the system's authorities. Implied by SEALANE_PEER_CA_FILE."""
    peer_ca_file: Path | None = None
    """Authorities to trust when calling the other service."""
    peer_server_name: str = ""
    """The name in the other service's certificate, where it is not the one in SEALANE_PEER."""
    peer_cert_file: Path | None = None
    """The client certificate to show to the other service. Without it: SEALANE_TLS_CERT_FILE."""
    peer_key_file: Path | None = None
    """Its private key."""
    peer_token_file: Path | None = None
    """A bearer token to show to the other service. Read again when it changes."""

    @property
    def calls_with_tls(self) -> bool:
        """Whether the other service is called with TLS."""
        return self.peer_tls or self.peer_ca_file is not None

    def faults(self) -> list[str]:
        faults = super().faults()
        for pair in (("tls_cert_file", "tls_key_file"), ("peer_cert_file", "peer_key_file")):
            if len({getattr(self, name) is None for name in pair}) > 1:
                faults.append(f"{', '.join(f'SEALANE_{name.upper()}' for name in pair)}: both or neither")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            faults.append("SEALANE_TLS_CLIENT_CA_FILE: only with SEALANE_TLS_CERT_FILE")
        if self.peer_server_name and not self.calls_with_tls:
            faults.append("SEALANE_PEER_SERVER_NAME: only with SEALANE_PEER_TLS or SEALANE_PEER_CA_FILE")
        return faults + self._unreadable()

    def _one_name(self, peer: str) -> list[str]:
        """gRPC checks the certificates of several addresses by one name, which it must be told."""
        if len(_addresses(peer)) > 1 and self.calls_with_tls and not self.peer_server_name:
            return ["SEALANE_PEER_SERVER_NAME: must be set for several addresses: one name, in all certificates"]
        return []

    def _unreadable(self) -> list[str]:
        """Files that are not there, or not what they should be."""
        faults: list[str] = []
        for name in ("peer_ca_file", "peer_cert_file", "peer_key_file", "peer_token_file"):
            path = getattr(self, name)
            try:
                if path is not None:
                    read(path)
            except (OSError, ValueError) as error:
                faults.append(f"SEALANE_{name.upper()}: {path}: {getattr(error, 'strerror', None) or error}")
        if self.calls_with_tls and not faults and (self.peer_cert_file is None) == (self.peer_key_file is None):
            try:
                ClientTls(self.peer_ca_file, self.peer_cert_file, self.peer_key_file).credentials()
            except (OSError, ValueError) as error:
                faults.append(f"SEALANE_PEER_CA_FILE, SEALANE_PEER_CERT_FILE, SEALANE_PEER_KEY_FILE: {error}")
        if self.tls_cert_file is None or self.tls_key_file is None:
            return faults
        files = TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)
        try:
            checked([read(path) for path in files.paths])
        except OSError as error:
            faults.append(f"SEALANE_TLS_…_FILE: {error.filename}: {error.strerror}")
        except ValueError as error:
            faults.append(f"SEALANE_TLS_CERT_FILE, SEALANE_TLS_KEY_FILE, SEALANE_TLS_CLIENT_CA_FILE: {error}")
        return faults

    def unknown_to_each_other(self, modes: frozenset[str]) -> list[str]:
        """Faults for which nobody could be known by a certificate, or the two services not by each other."""
        faults: list[str] = []
        if "mtls" in modes and self.tls_client_ca_file is None:
            faults.append("SEALANE_TLS_CLIENT_CA_FILE: must be set for mtls: nobody would show a certificate")
        by_certificate = "mtls" in modes and self.calls_with_tls
        if modes != {"static"} and not by_certificate and self.peer_token_file is None:
            faults.append(
                "SEALANE_PEER_TOKEN_FILE: must be set: the other service asks who calls it, as this one does"
                + (" (or SEALANE_PEER_CA_FILE, to show it the certificate)" if "mtls" in modes else "")
            )
        return faults

    def exposed(self, listen: str, peer: str) -> list[str]:
        """Faults of what would go over the network in plaintext without anybody having said so."""
        faults = self._one_name(peer)
        if self.plaintext:
            return faults
        if self.tls_cert_file is None and not is_loopback(_host(listen)):
            faults.append(
                f"SEALANE_LISTEN: {listen} is reached from other machines, without TLS. Set SEALANE_TLS_CERT_FILE and "
                "SEALANE_TLS_KEY_FILE, or SEALANE_PLAINTEXT=true where a mesh or a closed network protects it"
            )
        secret = self.peer_token_file is not None and not self.calls_with_tls
        if secret and not all(is_loopback(_host(address)) for address in _addresses(peer)):
            faults.append(
                f"SEALANE_PEER_TOKEN_FILE: the token would go to {peer} without TLS. Set SEALANE_PEER_CA_FILE or "
                "SEALANE_PEER_TLS, or SEALANE_PLAINTEXT=true where a mesh or a closed network protects it"
            )
        return faults


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _addresses(target: str) -> list[str]:
    match = _HOSTS.fullmatch(target)
    assert match is not None  # it matches everything
    return match["addresses"].split(",")
