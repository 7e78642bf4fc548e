"""What can be seen of a service from outside, beside its logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sealane import tracing
from sealane.config.fields import Address
from sealane.config.rules import Rules


class ObservabilitySettings(Rules):
    """Where metrics are scraped, and where traces are sent. Logs: :mod:`sealane.config.shared`."""

    metrics_listen: Address = "127.0.0.1:7321"
    """Address for GET /metrics, and nothing else. Plaintext, and open to whoever reaches it: keep it inside."""
    traces_endpoint: Annotated[str, AfterValidator(tracing.checked_endpoint)] = ""
    """OTLP collector that traces are sent to by gRPC, http://host:4317 say. Empty: no traces, at no cost. Needs the
    extra `otel`. OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES …) apply, too."""
    traces_sample: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that is sent, of those that begin here. Whoever calls with a trace has chosen already."""
