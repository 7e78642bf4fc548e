"""What can be seen of a service from outside, beside its logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sealane import tracing
from sealane.config.fields import Address
from sealane.config.rules import Rules


def _endpoint(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if text and (scheme not in {"http", "https"} or not rest or any(letter in rest for letter in "/@? ")):
        raise ValueError("expected http://host:port or https://host:port, an OTLP collector's port for gRPC")
    return text


class ObservabilitySettings(Rules):
    """Where metrics are scraped, and where traces are sent. Logs: :mod:`sealane.config.shared`."""

    metrics_listen: Address = "127.0.0.1:7321"
    """Address for GET /metrics, and nothing else. Plaintext, and open to whoever reaches it: keep it inside."""
    traces_endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    """OTLP collector that traces are sent to by gRPC, http://host:4317 say. Empty: no traces, at no cost. Needs the
    extra `otel`. OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES …) apply, too."""
    traces_sample: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that is sent, of those that begin here. Whoever calls with a trace has chosen already."""

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.traces_endpoint and not tracing.installed():
            faults.append(f"SEALANE_TRACES_ENDPOINT: OpenTelemetry is not installed: {tracing.INSTALL}")
        return faults
