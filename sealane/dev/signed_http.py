"""One S3 request with AWS Signature Version 4, on the standard library alone.

The embedded store's readiness check must not need the ``server`` extra, and sealane's S3 adapter is the only module
that imports the SDK. Rules: "Signature Version 4 signing process" in the Amazon S3 API reference.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit


def signed_request(
    endpoint: str,
    method: str,
    path: str,
    *,
    access_key: str,
    secret_key: str,
    body: bytes = b"",
    region: str = "us-east-1",
    timeout: float = 5.0,
) -> tuple[int, bytes]:
    """Status and body of the answer to ``METHOD endpoint/path`` (no query). ``path`` is not yet percent-encoded.

    Raises OSError or http.client.HTTPException when there is no answer within ``timeout`` seconds.
    """
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=timeout)
    try:
        _send(connection, endpoint, method, path, access_key, secret_key, body, region)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def signed_stream(
    endpoint: str,
    path: str,
    *,
    access_key: str,
    secret_key: str,
    region: str = "us-east-1",
    timeout: float = 60.0,
) -> Iterator[http.client.HTTPResponse]:
    """The answer to ``GET endpoint/path``, to be read in pieces; an object need not fit in memory. Errors as above.

    ``timeout`` bounds each piece, not the whole.
    """
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=timeout)
    try:
        _send(connection, endpoint, "GET", path, access_key, secret_key, b"", region)
        yield connection.getresponse()
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPConnection,
    endpoint: str,
    method: str,
    path: str,
    access_key: str,
    secret_key: str,
    body: bytes,
    region: str,
) -> None:
    host = urlsplit(endpoint).netloc
    target = "/" + quote(path.lstrip("/"), safe="/-_.~")
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    payload = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join(
        [method, target, "", *(f"{name}:{value}" for name, value in headers.items()), "", names, payload]
    )
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    connection.request(method, target, body=body, headers=headers)
