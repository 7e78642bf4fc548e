"""The server's own: a bug, a record that must not be, an operation that it does not have."""

from __future__ import annotations

from sealane.domain.errors.reason import Reason, SealaneError


class Unimplemented(SealaneError):
    reason = Reason.UNIMPLEMENTED

    def __init__(self, message: str = "This server does not have the operation.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class InternalError(SealaneError):
    """A bug, or a state that must not be: alarmed. The message never has a cause in it."""

    reason = Reason.INTERNAL

    def __init__(self, message: str = "Internal error. Report the error id.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class BadRecord(InternalError):
    """A record or receipt in the bucket is forged, torn, or of a future version: fail closed (section 11)."""
