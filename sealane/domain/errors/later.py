"""Not now: nothing is lost, and the same request succeeds later."""

from __future__ import annotations

from typing import ClassVar

from sealane.domain.errors.reason import Reason, SealaneError


class RetryLater(SealaneError):
    """Nothing is lost: the same request again after ``retry_after`` seconds."""

    default_message: ClassVar[str]
    default_retry_after: ClassVar[float] = 1.0

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, private: str = "") -> None:
        super().__init__(message or self.default_message, private=private)
        self.retry_after = self.default_retry_after if retry_after is None else retry_after


class Overloaded(RetryLater):
    reason = Reason.OVERLOADED
    default_message = "This replica's memory or streams are full. Wait, then resume from the coverage."


class Draining(RetryLater):
    reason = Reason.DRAINING
    default_message = "This replica is shutting down. Resume on another, from the coverage."
    default_retry_after = 0.1


class StoreUnavailable(RetryLater):
    reason = Reason.STORE_UNAVAILABLE
    default_message = "The object store does not answer. Nothing is lost: repeat the request."


class OutcomeUnknown(RetryLater):
    reason = Reason.OUTCOME_UNKNOWN
    default_message = "The outcome is not known yet. Repeat the same request: it is idempotent."


class PeerUnavailable(RetryLater):
    reason = Reason.PEER_UNAVAILABLE
    default_message = "The other sealane service does not answer. Nothing is lost: repeat the request."

    @classmethod
    def of(cls, service: str, *, private: str = "") -> PeerUnavailable:
        """``service`` is the one that does not answer, "ingest" or "assembly": whoever reads it knows where to look."""
        return cls(
            f"The other service, {service}, does not answer. Nothing is lost: repeat the request.", private=private
        )


class DeadlineExceeded(SealaneError):
    reason = Reason.DEADLINE_EXCEEDED

    def __init__(
        self,
        message: str = "The deadline, yours or the longest this server allows, came first. Repeat: nothing is lost.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
