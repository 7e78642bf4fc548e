"""Settings of identity and TLS: what does not fit together is a fault at the start, with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest_service.settings import IngestSettings
from sealane.config import load
from tests.authority import Authority
from tests.jwt_issuer import Issuer

SECRET = "a-secret-token-of-somebody"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.upper().startswith("SEALANE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEALANE_S3_ENDPOINT", "http://127.0.0.1:8333")
    return monkeypatch


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Good files, by what they are."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("service")
    (tmp_path / "identities.toml").write_text(
        f'[[token]]\nname = "a"\ntoken = "{SECRET}"\ntenant = "acme"\nroles = ["reader"]\n'
    )
    (tmp_path / "jwks.json").write_bytes(Issuer().jwks())
    (tmp_path / "peer-token").write_text(SECRET)
    return {
        "cert": str(cert),
        "key": str(key),
        "ca": str(authority.ca_file),
        "identities": str(tmp_path / "identities.toml"),
        "jwks": str(tmp_path / "jwks.json"),
        "token": str(tmp_path / "peer-token"),
    }


def faults(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **values: str) -> str:
    """What load() writes with these settings; empty: nothing, they are good."""
    for name, value in values.items():
        environment.setenv(f"SEALANE_{name.upper()}", value)
    try:
        load(IngestSettings)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    for name in values:
        environment.delenv(f"SEALANE_{name.upper()}")
    told = capsys.readouterr().err
    assert SECRET not in told
    assert code == (78 if told else 0)
    return told


@pytest.mark.parametrize("listen", ["0.0.0.0:7301", "[::]:7301", "10.0.0.7:7301", "ingest.example:7301"])
def test_what_other_machines_reach_needs_tls_or_a_word(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: dict[str, str], listen: str
) -> None:
    """Plaintext only by an explicit setting; the fault says which."""
    told = faults(environment, capsys, listen=listen)
    assert "SEALANE_LISTEN" in told
    assert "SEALANE_TLS_CERT_FILE" in told
    assert "SEALANE_PLAINTEXT=true" in told
    assert not faults(environment, capsys, listen=listen, plaintext="true")
    assert not faults(environment, capsys, listen=listen, tls_cert_file=files["cert"], tls_key_file=files["key"])


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7301", "localhost:7301"])
def test_on_this_machine_plaintext_is_the_default(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], listen: str
) -> None:
    assert not faults(environment, capsys, listen=listen)


def test_a_token_does_not_go_to_another_machine_in_plaintext(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(SECRET)
    token = str(tmp_path / "token")
    for peer in ("assembly:7302", "10.0.0.1:7302,10.0.0.2:7302", "127.0.0.1:1,10.0.0.2:7302"):
        told = faults(environment, capsys, peer=peer, peer_token_file=token)
        assert "SEALANE_PEER_TOKEN_FILE" in told
        for tls in ({"peer_ca_file": files["ca"]}, {"peer_tls": "true"}):
            named = {"peer_server_name": "assembly"} if "," in peer else {}
            assert not faults(environment, capsys, peer=peer, peer_token_file=token, **tls, **named)
            told = faults(environment, capsys, peer=peer, peer_token_file=token, **tls)
            assert ("SEALANE_PEER_SERVER_NAME" in told) is ("," in peer)
        assert not faults(environment, capsys, peer=peer, peer_token_file=token, plaintext="true")
    assert not faults(environment, capsys, peer="127.0.0.1:1,127.0.0.1:2", peer_token_file=token)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"identity": "oauth"}, "SEALANE_IDENTITY"),
        ({"identity": " , "}, "SEALANE_IDENTITY"),
        ({"identity": "static,jwt"}, "static stands alone"),
        ({"identity": "tokens"}, "SEALANE_IDENTITIES_FILE: must be set"),
        ({"identity": "jwt"}, "SEALANE_IDENTITIES_FILE: must be set"),
        ({"identity": "mtls"}, "SEALANE_IDENTITIES_FILE: must be set"),
        ({"identities_file": "/nowhere"}, "SEALANE_IDENTITIES_FILE: /nowhere: No such file"),
        ({"identities_file": "{cert}"}, "SEALANE_IDENTITIES_FILE: the identities file is no TOML"),
        ({"tls_cert_file": "{cert}"}, "SEALANE_TLS_CERT_FILE, SEALANE_TLS_KEY_FILE: both or neither"),
        ({"tls_cert_file": "/nowhere", "tls_key_file": "{key}"}, "/nowhere: No such file"),
        ({"tls_cert_file": "{cert}", "tls_key_file": "{cert}"}, "no private key in PEM"),
        ({"tls_cert_file": "{ca}", "tls_key_file": "{key}"}, "does not belong to the certificate"),
        ({"tls_cert_file": "{key}", "tls_key_file": "{key}"}, "no certificate in PEM"),
        ({"tls_client_ca_file": "{ca}"}, "only with SEALANE_TLS_CERT_FILE"),
        ({"peer_cert_file": "{cert}"}, "SEALANE_PEER_CERT_FILE, SEALANE_PEER_KEY_FILE: both or neither"),
        ({"peer_ca_file": "/nowhere"}, "SEALANE_PEER_CA_FILE: /nowhere"),
        ({"peer_ca_file": "{identities}"}, "SEALANE_PEER_CA_FILE"),
        ({"peer_token_file": "/nowhere"}, "SEALANE_PEER_TOKEN_FILE: /nowhere"),
        ({"peer_server_name": "x"}, "SEALANE_PEER_SERVER_NAME: only with"),
        ({"identity": "mtls"}, "SEALANE_TLS_CLIENT_CA_FILE: must be set for mtls"),
        ({"identity": "mtls"}, "SEALANE_PEER_TOKEN_FILE: must be set"),
        ({"identity": "tokens"}, "SEALANE_PEER_TOKEN_FILE: must be set"),
        ({"identity": "jwt", "peer_ca_file": "{ca}"}, "SEALANE_PEER_TOKEN_FILE: must be set"),
        ({"identity": "jwt"}, "SEALANE_JWT_ISSUER: must be set"),
        ({"identity": "jwt"}, "SEALANE_JWT_AUDIENCE: must be set"),
        ({"identity": "jwt"}, "SEALANE_JWT_JWKS_FILE, SEALANE_JWT_JWKS_URL: one of them"),
        ({"identity": "jwt", "jwt_algorithms": "RS256,none"}, "SEALANE_JWT_ALGORITHMS"),
        ({"identity": "jwt", "jwt_algorithms": "HS256"}, "SEALANE_JWT_ALGORITHMS"),
        ({"identity": "jwt", "jwt_default_roles": "admin"}, "SEALANE_JWT_DEFAULT_ROLES"),
        ({"identity": "jwt", "jwt_default_roles": "reader,service"}, "SEALANE_JWT_DEFAULT_ROLES"),
        ({"identity": "jwt", "jwt_jwks_url": "http://issuer.example/keys"}, "expected https"),
        ({"identity": "jwt", "jwt_jwks_url": "ftp://127.0.0.1/"}, "expected https"),
    ],
)
def test_what_does_not_fit_together_is_a_fault(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    values: dict[str, str],
    told: str,
) -> None:
    filled = {name: value.format(**files) for name, value in values.items()}
    assert told in faults(environment, capsys, **filled)


def test_each_mode_has_settings_that_it_starts_with(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: dict[str, str]
) -> None:
    peer = {"peer_token_file": files["token"]}
    listed = {"identities_file": files["identities"]}
    jwt = {"jwt_issuer": "https://issuer.example", "jwt_audience": "sealane"} | peer
    tls = {"tls_cert_file": files["cert"], "tls_key_file": files["key"], "tls_client_ca_file": files["ca"]}
    assert not faults(environment, capsys, identity="tokens", **listed, **peer)
    assert not faults(environment, capsys, identity="jwt", jwt_jwks_file=files["jwks"], **jwt, **listed)
    for url in ("https://issuer.example/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys"):
        assert not faults(environment, capsys, identity="jwt", jwt_jwks_url=url, **jwt, **listed)
    assert not faults(environment, capsys, identity="mtls", **listed, **tls, **peer)
    assert not faults(environment, capsys, identity="mtls", **listed, **tls, peer_ca_file=files["ca"])
    assert not faults(
        environment, capsys, identity="mtls, jwt,tokens", jwt_jwks_file=files["jwks"], **jwt, **listed, **tls
    )
