"""A key of the caller's choice that is taken, vacant, cooling, or can't be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.domain.errors.later import RetryLater
from sealane.domain.errors.reason import Reason, SealaneError
from sealane.domain.states import SessionState

if TYPE_CHECKING:
    from sealane.domain.views import KeyHolder


class GenerationMismatch(SealaneError):
    """The key is taken, or its generation moved. ``holder`` as it was at that moment; None: the key is vacant."""

    reason = Reason.GENERATION_MISMATCH

    def __init__(self, message: str, *, holder: KeyHolder | None = None, private: str = "") -> None:
        super().__init__(message, private=private)
        self.holder = holder

    @classmethod
    def of(cls, object_key: str, wanted: int | None, holder: KeyHolder | None) -> GenerationMismatch:
        """``wanted``: the generation to replace, 0 for none, or None for any."""
        name = repr(object_key if len(object_key) <= 100 else object_key[:99] + "…")
        if holder is None:
            return cls(f"The key {name} is vacant; generation {wanted} was to be replaced.")
        if holder.foreign:
            return cls(
                f"At the key {name} there is an object that sealane did not write; none of its replaces it.",
                holder=holder,
            )
        undecided = ", which is not decided yet" if holder.state is SessionState.OPEN else ""
        expected = "none was expected" if wanted == 0 else f"{wanted} was to be replaced"
        return cls(
            f"The key {name} has generation {holder.generation}, of session {holder.session_id}{undecided}; "
            f"{expected}.",
            holder=holder,
        )


class DeleteUnsupported(SealaneError):
    reason = Reason.DELETE_UNSUPPORTED

    def __init__(
        self,
        message: str = "This server can't delete an object at a chosen key safely. Nothing was changed.",
        *,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)


class KeyCooling(RetryLater):
    """The key's last object was deleted less than an hour ago; ``retry_after`` says when the key may be used again."""

    reason = Reason.KEY_COOLING
    default_message = "The object at this key was deleted less than an hour ago. The key can't be used again yet."
    default_retry_after = 3600.0
