"""The object store, as both services are told of it."""

from __future__ import annotations

from pydantic import Field, SecretStr

from sealane.config.fields import Weaknesses
from sealane.config.rules import Rules
from sealane.store.s3_settings import S3Settings


class StoreSettings(Rules):
    """Where the store is, how it is asked, and what it may lack. Times in seconds."""

    s3_endpoint: str = Field(pattern=r"^https?://[^/?#@\s]+/?$")
    """The object store: http://host:port or https://host. The bucket goes into the path."""
    s3_bucket: str = Field(default="sealane", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """A bucket of sealane's alone, not versioned, that exists."""
    s3_region: str = Field(default="us-east-1", min_length=1)
    """Region that requests are signed for."""
    s3_access_key: SecretStr | None = None
    """Without the two keys: AWS_ACCESS_KEY_ID …, ~/.aws/credentials, web identity or the instance's role."""
    s3_secret_key: SecretStr | None = None
    """Goes with s3_access_key."""
    s3_ca_file: str | None = None
    """PEM file of the authorities to trust for https, in place of the system's."""
    s3_max_connections: int = Field(default=16, ge=2, le=512)
    """Connections to the store, and so requests in hand."""
    s3_attempt_seconds: float = Field(default=30.0, gt=0, le=600)
    """One attempt of a small call."""
    s3_part_seconds: float = Field(default=120.0, gt=0, le=3600)
    """One attempt to upload a part."""
    accept_weak_store: Weaknesses = ""
    """Guarantees that the store may lack, "R2,R5" say, AT THE RISK OF LOSING DATA. Loud in logs and GetServerInfo."""
    probe_page_keys: int = Field(default=1000, ge=10, le=1000)
    """Page of LIST whose edges the start-up probe tries; 1000 is what the services use. Two requests a key: fewer make
    a restart cheaper where `sealane doctor` has proven the store in full before. R1's verdict names the number."""

    store_look_seconds: float = Field(default=10.0, ge=0.1, le=300)
    """How often a replica looks for the store. Two looks in a row without an answer, or one connection that is refused:
    not ready, and calls get STORE_UNAVAILABLE, until the store is back and R2 proven again."""

    @property
    def accepted_weaknesses(self) -> frozenset[str]:
        """``accept_weak_store`` as a set of "R1"…"R6"."""
        return frozenset(name.strip() for name in self.accept_weak_store.split(",") if name.strip())

    @property
    def s3(self) -> S3Settings:
        """What the adapter must be told."""
        access, secret = self.s3_access_key, self.s3_secret_key
        return S3Settings(
            endpoint=self.s3_endpoint,
            bucket=self.s3_bucket,
            region=self.s3_region,
            access_key=access.get_secret_value() if access else None,
            secret_key=secret.get_secret_value() if secret else None,
            ca_file=self.s3_ca_file,
            max_connections=self.s3_max_connections,
        )

    def faults(self) -> list[str]:
        faults = super().faults()
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            faults.append("SEALANE_S3_ACCESS_KEY, SEALANE_S3_SECRET_KEY: both or neither")
        if self.s3_ca_file is not None and not self.s3_endpoint.startswith("https://"):
            faults.append("SEALANE_S3_CA_FILE: only for an https endpoint")
        return faults
