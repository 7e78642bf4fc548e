"""TLS of a channel: whom to trust, and what to show. Its files are read again when they change.

gRPC gives a channel its certificates once, so new files mean a new channel: :mod:`sealane.rpc.renewed_channel`.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from sealane.file_stamp import stamp

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files. ``ca_file`` None: the system's authorities. ``server_name``: the name in the server's certificate,
    where it is not the target's own."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a client certificate goes with its key: both files or neither")

    @property
    def options(self) -> list[tuple[str, str]]:
        """Channel arguments beside the credentials."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []

    def stamp(self) -> Stamp:
        """What changes when a file does: a few microseconds."""
        return tuple(stamp(path) for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads and checks the files: gRPC would only fail its handshakes, without a word. OSError naming the file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca_file is not None:
            with _naming(self.ca_file, "no certificates in PEM"):
                context.load_verify_locations(cafile=self.ca_file)
        if self.cert_file is not None and self.key_file is not None:
            with _naming(self.cert_file, f"no certificate in PEM that goes with the key in {self.key_file}"):
                context.load_cert_chain(self.cert_file, self.key_file, password="")
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca_file.read_bytes() if self.ca_file else system_authorities(),
            private_key=self.key_file.read_bytes() if self.key_file else None,
            certificate_chain=self.cert_file.read_bytes() if self.cert_file else None,
        )


@contextlib.contextmanager
def _naming(path: Path, fault: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:
        raise OSError(errno.EINVAL, fault, str(path)) from None


def system_authorities() -> bytes | None:
    """The system's own, in PEM, which gRPC does not look for by itself; None (gRPC's own) where it has none."""
    authorities = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in authorities).encode() or None
