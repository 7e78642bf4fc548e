"""What the service tells its operator, beside the answers that it gives its callers."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """Where assembly reports to. Injected, so that the simulation and the tests can listen.

    ``facts`` are for the log alone: never a secret (a token, a signature), and never on the wire.
    """

    def alarm(self, event: str, **facts: object) -> None:
        """Something that must not be, or that only an operator can mend. Somebody must look."""
        ...

    def note(self, event: str, **facts: object) -> None:
        """Something worth a line in the log."""
        ...
