"""Client certificates: what TLS has taken and nobody can read is nobody's, and no fault of the server's."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sealane.domain.errors import Unauthenticated
from sealane.identity.identities import parse
from sealane.identity.mtls import MtlsIdentity

ID = "spiffe://example.org/farm"
FILE: Any = SimpleNamespace(value=parse([f'[[spiffe]]\nid = "{ID}"\ntenant = "acme"\nroles = ["reader"]\n'.encode()]))


@pytest.mark.parametrize("certificate", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_certificate_that_can_not_be_read_is_nobodys(certificate: bytes) -> None:
    identity = MtlsIdentity(FILE, lambda: datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(Unauthenticated):
        identity.caller({"peer_spiffe_id": [ID.encode()], "x509_pem_cert": [certificate]})
