"""A session that is gone, or has become something that the request does not fit."""

from __future__ import annotations

from typing import ClassVar

from sealane.domain.errors.reason import Reason, SealaneError
from sealane.domain.states import SessionState


class SessionNotFound(SealaneError):
    """Unknown, purged, or another tenant's: the same answer for all three."""

    reason = Reason.SESSION_NOT_FOUND

    def __init__(self, message: str = "There is no such session.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class RequestIdUsed(SealaneError):
    reason = Reason.REQUEST_ID_USED

    def __init__(
        self,
        message: str = "This request_id belongs to a session that is gone. Use a new request_id.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


class SessionOutcome(SealaneError):
    """The session has become something that the request does not fit. ``state`` says what."""

    default_state: ClassVar[SessionState]
    default_message: ClassVar[str]

    def __init__(self, message: str | None = None, *, state: SessionState | None = None, private: str = "") -> None:
        super().__init__(message or self.default_message, private=private)
        self.state = state or self.default_state


class SessionSealed(SessionOutcome):
    reason = Reason.SESSION_SEALED
    default_state = SessionState.COMMITTING
    default_message = (
        "The decision to commit this session stands: it takes no other chunk, commit or abort. "
        "GetCommit says what became of it."
    )


class SessionAborted(SessionOutcome):
    reason = Reason.SESSION_ABORTED
    default_state = SessionState.ABORTED
    default_message = "This session was aborted. Start a new one."


class SessionExpired(SessionOutcome):
    reason = Reason.SESSION_EXPIRED
    default_state = SessionState.EXPIRED
    default_message = "This session expired before it was committed. Start a new one, with a longer ttl if need be."


class SessionNotCommitted(SessionOutcome):
    reason = Reason.SESSION_NOT_COMMITTED
    default_state = SessionState.OPEN
    default_message = "This session has no committed object (yet)."


class SessionLost(SealaneError):
    reason = Reason.SESSION_LOST

    def __init__(
        self,
        message: str = "The store lost bytes of this session that it had acknowledged. Upload again in a new session.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
