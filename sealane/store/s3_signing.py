"""Credentials and Signature Version 4, both from the MinIO SDK: ``minio.credentials`` and ``minio.signer``.

The only module that imports the SDK; nothing here is a private call of it.
"""

from __future__ import annotations

import configparser
import threading
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import SplitResult
from xml.etree.ElementTree import ParseError

from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AWSConfigProvider,
    ChainedProvider,
    EnvAWSProvider,
    IamAwsProvider,
    Provider,
    StaticProvider,
)
from minio.signer import sign_v4_s3
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from sealane.store.port import AccessDenied, OutcomeUnknown
from sealane.store.s3_settings import S3Settings


def credential_provider(settings: S3Settings) -> Provider:
    """The settings' own keys, else the usual chain: environment, ~/.aws/credentials, web identity or instance role."""
    if settings.access_key and settings.secret_key:
        return StaticProvider(settings.access_key, settings.secret_key, settings.session_token)
    # Bounded, unlike the SDK's own client: it is asked in the course of a call that has a deadline.
    role_client = PoolManager(timeout=Timeout(connect=1.0, read=5.0), retries=Retry(total=1, backoff_factor=0.2))
    return ChainedProvider(
        [EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider(http_client=role_client, region=settings.region)]
    )


class Signer:
    """Signs requests for one region. Thread-safe; may block while temporary credentials are renewed."""

    def __init__(self, settings: S3Settings, provider: Provider | None = None) -> None:
        self._region = settings.region
        self._provider = provider or credential_provider(settings)
        self._lock = threading.Lock()

    def sign(
        self,
        method: str,
        url: SplitResult,
        headers: Mapping[str, str],
        *,
        payload_sha256: str,
        at: datetime,
        wait: float,
    ) -> dict[str, str]:
        """``headers`` (with Host) plus date, payload hash (hex), token and Authorization.

        Raises AccessDenied if there are no credentials, OutcomeUnknown if another thread's renewal takes more than
        ``wait`` seconds (nothing has been sent then).
        """
        credentials = self._credentials(wait)
        signed: dict[str, str | list[str] | tuple[str]] = dict(headers)
        signed["x-amz-date"] = at.strftime("%Y%m%dT%H%M%SZ")
        signed["x-amz-content-sha256"] = payload_sha256
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        sign_v4_s3(
            method=method,
            url=url,
            region=self._region,
            headers=signed,
            credentials=credentials,
            content_sha256=payload_sha256,
            date=at,
        )  # has added Authorization to ``signed``
        return {name: str(value) for name, value in signed.items()}

    def _credentials(self, wait: float) -> Credentials:
        if not self._lock.acquire(timeout=max(wait, 0.0)):
            raise OutcomeUnknown("waited for credentials until the timeout; nothing was sent")
        try:
            return self._provider.retrieve()
        except (ValueError, KeyError, OSError, HTTPError, configparser.Error, ParseError) as error:
            # The type only: the text of a token service's error may quote what was sent to it.
            raise AccessDenied(f"no credentials to sign with: {type(error).__name__}") from error
        finally:
            self._lock.release()
