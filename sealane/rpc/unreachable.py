"""Why a server can't be reached, in words: gRPC's own text names its sources, and OpenSSL's, but not what to do."""

from __future__ import annotations

UNREACHABLE = "The server can't be reached."

_TLS = (
    (
        "CERTIFICATE_VERIFY_FAILED: certificate has expired",
        "The server's certificate has expired.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "The server's certificate is not signed by an authority that is trusted here.",
    ),
    (
        "Hostname Verification Check failed",
        "The name in the server's certificate is not the one that was called.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "The server does not speak TLS.",
    ),
    (
        "last error: UNAVAILABLE: ",  # … Socket closed, or reset: it let us in, and threw us out
        "The server closed the connection at once. It may want TLS, or a client certificate that it trusts.",
    ),
)


def explained(text: str) -> str:
    """``text`` is gRPC's of an UNAVAILABLE without our details (measured, grpcio 1.85)."""
    if "Connection refused" in text:
        return UNREACHABLE
    return next((words for sign, words in _TLS if sign in text), UNREACHABLE)


def is_about_tls(message: str) -> bool:
    """Whether ``message`` has what :func:`explained` says of a handshake."""
    return any(words in message for _, words in _TLS)
