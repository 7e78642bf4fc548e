"""What can be seen of a service from outside, beside its logs."""

from __future__ import annotations

from sealane.config.fields import Address
from sealane.config.rules import Rules


class ObservabilitySettings(Rules):
    """Where metrics are scraped. Logs: :mod:`sealane.config.shared`."""

    metrics_listen: Address = "127.0.0.1:7321"
    """Address for GET /metrics, and nothing else. Plaintext, and open to whoever reaches it: keep it inside."""
