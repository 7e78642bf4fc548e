"""Rules over several settings: every mixin says its own, and all that are broken are reported together."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SEALANE_"


class Rules(BaseSettings):
    """The base of every settings mixin."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    def faults(self) -> list[str]:
        """What does not fit together, a line each, naming the variables. An override adds ``super().faults()``."""
        return []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if faults := self.faults():
            raise ValueError("\n".join(faults))
        return self
