"""Who asks, and what they may do and have: identity, roles, quotas."""

from __future__ import annotations

from sealane.domain.errors.reason import Reason, SealaneError


class Unauthenticated(SealaneError):
    reason = Reason.UNAUTHENTICATED

    def __init__(self, message: str = "No valid identity was presented.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class PermissionDenied(SealaneError):
    reason = Reason.PERMISSION_DENIED

    def __init__(self, message: str = "This identity may not do this.", *, private: str = "") -> None:
        super().__init__(message, private=private)


class QuotaExceeded(SealaneError):
    """``quota`` is its name in the settings, ``limit`` what it allows, ``used`` what there is as far as is known."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(
        self,
        message: str = "A quota of this tenant is used up.",
        *,
        quota: str = "",
        limit: int = 0,
        used: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.quota = quota
        self.limit = limit
        self.used = used

    @classmethod
    def of(cls, quota: str, used: int, limit: int, what: str, advice: str) -> QuotaExceeded:
        text = f"This tenant has {used} {what}, of {limit} that it may have. {advice}"
        return cls(text, quota=quota, limit=limit, used=used)
