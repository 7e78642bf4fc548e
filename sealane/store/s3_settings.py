"""What the S3 adapter must be told: where the store is, who asks, and how many connections it may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Raises ValueError naming every fault at once.

    ``max_connections`` bounds connections, threads and requests in hand alike; a part upload and a stream that is
    being read hold one each for as long as they last. It therefore has to exceed the parts that may be in flight, or
    records wait behind parts.
    """

    endpoint: str
    """``http://host:port`` or ``https://host``; the bucket goes into the path (path style), never into the host."""
    bucket: str
    region: str = "us-east-1"
    access_key: str | None = None
    """Without the two keys: environment (AWS_ACCESS_KEY_ID …), ~/.aws/credentials, web identity or instance role."""
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    """PEM file of the authorities to trust for https, in place of the system's."""
    max_connections: int = 32
    connect_timeout: float = 5.0
    """Seconds for TCP and TLS set-up, within the call's own timeout."""
    idle_seconds: float = 20.0
    """A connection unused for longer is replaced: stores close theirs after a while, often without a word."""

    def __post_init__(self) -> None:
        faults: list[str] = []
        try:
            url = urlsplit(self.endpoint)
            _ = url.port
        except ValueError as error:
            faults.append(f"endpoint: {error}")
        else:
            if url.scheme not in ("http", "https") or not url.hostname:
                faults.append("endpoint: expected http://host[:port] or https://host[:port]")
            if url.username is not None or url.path not in ("", "/") or url.query or url.fragment:
                faults.append("endpoint: a host and a port only")
            if self.ca_file is not None and url.scheme == "http":
                faults.append("ca_file: only for https")
        if not self.bucket or "/" in self.bucket or "?" in self.bucket:
            faults.append("bucket: a bucket's name")
        if not self.region:
            faults.append("region: must not be empty")
        if bool(self.access_key) != bool(self.secret_key):
            faults.append("access_key, secret_key: both or neither")
        if self.max_connections < 1:
            faults.append("max_connections: at least 1")
        if self.connect_timeout <= 0 or self.idle_seconds <= 0:
            faults.append("connect_timeout, idle_seconds: more than 0")
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def url(self) -> SplitResult:
        """The endpoint in its parts."""
        return urlsplit(self.endpoint)

    @property
    def secure(self) -> bool:
        return self.url.scheme == "https"

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.secure else 80)

    @property
    def host_header(self) -> str:
        """Host as it is sent and signed: with the port only where it isn't the scheme's own."""
        host = self.url.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"
