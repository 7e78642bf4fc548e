"""A request that is malformed: INVALID_ARGUMENT, with the field's proto name."""

from __future__ import annotations

from sealane.domain.errors.reason import Reason, SealaneError


class InvalidRequest(SealaneError):
    """A field is malformed. ``field`` is its proto name."""

    reason = Reason.INVALID_REQUEST

    def __init__(self, message: str, *, field: str = "", private: str = "") -> None:
        super().__init__(message, private=private)
        self.field = field


class InvalidSessionId(InvalidRequest):
    reason = Reason.INVALID_SESSION_ID


class InvalidFilename(InvalidRequest):
    reason = Reason.INVALID_FILENAME


class InvalidMetadata(InvalidRequest):
    reason = Reason.INVALID_METADATA


class InvalidDigest(InvalidRequest):
    reason = Reason.INVALID_DIGEST


class InvalidStream(InvalidRequest):
    reason = Reason.INVALID_STREAM


class InvalidSize(InvalidRequest):
    reason = Reason.INVALID_SIZE


class InvalidPageToken(InvalidRequest):
    reason = Reason.INVALID_PAGE_TOKEN


class InvalidObjectKey(InvalidRequest):
    """No key that a caller may choose: see :func:`sealane.domain.ids.object_key`, and docs/adr/0007."""

    reason = Reason.INVALID_OBJECT_KEY
