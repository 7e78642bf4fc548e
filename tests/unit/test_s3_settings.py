"""What the S3 adapter is told, and whose name it signs in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

import pytest

from sealane.store.port import AccessDenied
from sealane.store.s3_settings import S3Settings
from sealane.store.s3_signing import Signer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sign(settings: S3Settings) -> dict[str, str]:
    url = SplitResult("http", "h", "/b/k", "", "")
    return Signer(settings).sign("GET", url, {"Host": "h"}, payload_sha256="0" * 64, at=AT, wait=1.0)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's environment nor its files, and no instance service to wait for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    # A web identity whose token isn't there: answered from this machine alone.
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "no-token"))


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("http://127.0.0.1:8333", "127.0.0.1:8333", 8333),
        ("http://store.local/", "store.local", 80),
        ("http://store.local:80", "store.local", 80),
        ("https://store.local", "store.local", 443),
        ("https://store.local:80", "store.local:80", 80),
        ("http://[::1]:9000", "[::1]:9000", 9000),
    ],
)
def test_the_host_is_named_with_its_port_unless_that_is_the_schemes_own(endpoint: str, host: str, port: int) -> None:
    settings = S3Settings(endpoint, "bucket")
    assert settings.host_header == host
    assert settings.port == port


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "store.local:8333"},
        {"endpoint": "ftp://store.local"},
        {"endpoint": "http://"},
        {"endpoint": "http://h:99999"},
        {"endpoint": "http://user:pass@h"},
        {"endpoint": "http://h/bucket"},
        {"endpoint": "http://h?x=1"},
        {"bucket": ""},
        {"bucket": "a/b"},
        {"region": ""},
        {"access_key": "only"},
        {"secret_key": "only"},
        {"ca_file": "ca.pem"},
        {"max_connections": 0},
        {"connect_timeout": 0.0},
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        S3Settings(**({"endpoint": "http://h", "bucket": "b"} | wrong))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)endpoint.*bucket.*max_connections"):
        S3Settings("nowhere", "", max_connections=-1)


def test_the_secret_is_not_in_the_repr() -> None:
    assert "s3cr3t" not in repr(
        S3Settings("http://h", "b", access_key="a", secret_key="s3cr3t", session_token="s3cr3t")
    )


def test_given_keys_sign_and_a_session_token_is_signed_too() -> None:
    signed = sign(S3Settings("http://h", "b", access_key="a", secret_key="s", session_token="t"))
    assert signed["x-amz-security-token"] == "t"
    assert "Credential=a/20260102/us-east-1/s3/aws4_request" in signed["Authorization"]
    assert "host;x-amz-content-sha256;x-amz-date;x-amz-security-token" in signed["Authorization"]


@pytest.mark.usefixtures("no_credentials")
def test_without_given_keys_the_environment_is_asked_then_the_credentials_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = S3Settings("http://h", "b", region="eu-west-1")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=from-file\naws_secret_access_key=x\n")
    assert "Credential=from-file/20260102/eu-west-1/" in sign(settings)["Authorization"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert "Credential=from-env/" in sign(settings)["Authorization"]


@pytest.mark.usefixtures("no_credentials")
def test_no_credentials_at_all_are_access_denied() -> None:
    with pytest.raises(AccessDenied, match="no credentials"):
        sign(S3Settings("http://h", "b"))
