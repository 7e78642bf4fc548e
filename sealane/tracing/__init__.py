"""Traces by OpenTelemetry, for those who want them: nothing of it is imported before :func:`sent_to` or :func:`use`.

The services and the CLI send to an OTLP collector. A program with traces of its own calls ``sealane.tracing.use()``
once: the SDK's spans then belong to its traces.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sealane import spans

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

INSTALL = "pip install 'sealane[otel]'"


def installed() -> bool:
    """Whether the extra ``otel`` is there."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def checked_endpoint(text: str) -> str:
    """``text`` if it can be an OTLP collector's, or is empty; ValueError, which says what is wrong."""
    if not text:
        return text
    scheme, _, rest = text.partition("://")
    if scheme not in {"http", "https"} or not rest or any(letter in rest for letter in "/@? "):
        raise ValueError("expected http://host:port or https://host:port, an OTLP collector's port for gRPC")
    if not installed():
        raise ValueError(f"OpenTelemetry is not installed: {INSTALL}")
    return text


def use(provider: TracerProvider | None = None) -> None:
    """Make spans with ``provider``; None: with the one that the program has set for OpenTelemetry as a whole."""
    from sealane.tracing.otel import OpenTelemetry

    spans.install(OpenTelemetry(provider))


@contextlib.asynccontextmanager
async def sent_to(endpoint: str, *, service: str, sample: float = 1.0) -> AsyncIterator[None]:
    """While the block runs, traces go to the OTLP collector at ``endpoint`` ("": nowhere, and nothing is imported).

    ``sample`` is the share of traces that begin here. What is left is sent at the end, within a few seconds.
    """
    if not endpoint:
        yield
        return
    from sealane.tracing.otel import OpenTelemetry, exporting, flushed

    provider = exporting(endpoint, service=service, sample=sample)
    spans.install(OpenTelemetry(provider))
    try:
        yield
    finally:
        spans.install(None)
        await flushed(provider)
