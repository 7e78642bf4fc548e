"""What a caller says of the key that it chose: which generation its commit may replace (protocol.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Precondition:
    """``if_generation_match``: 0 = the key must be vacant, g = replace exactly generation g, None = any or none."""

    if_generation_match: int | None = 0

    def holds(self, generation: int) -> bool:
        """``generation``: the holder's; 0 if the key is vacant."""
        return self.if_generation_match is None or self.if_generation_match == generation


VACANT = Precondition(0)
ANY = Precondition(None)
