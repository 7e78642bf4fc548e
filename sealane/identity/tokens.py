"""Identity by a list of tokens: for set-ups too small for an issuer of tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime

from sealane.domain.errors import Unauthenticated
from sealane.identity.caller import Caller
from sealane.identity.identities import Grant, Identities
from sealane.reloaded import Reloaded


class TokenIdentity:
    """Tokens of the identities file. One that is taken out, or that expires, holds no more, in open streams too."""

    def __init__(self, identities: Reloaded[Identities], now: Callable[[], datetime]) -> None:
        self._identities = identities
        self._now = now

    def caller(self, token: str) -> Caller:
        """Whose token this is. Unauthenticated."""
        digest = hashlib.sha256(token.encode()).digest()
        grant = self._grant(digest)

        def recheck() -> None:
            if self._grant(digest) != grant:
                raise Unauthenticated(private=f"the token of {grant.name} means something else by now")

        return Caller(grant.name, grant.roles, grant.tenant, recheck)

    def _grant(self, digest: bytes) -> Grant:
        found: Grant | None = None
        for known, grant in self._identities.value.tokens.items():  # all of them: the time it takes tells nothing
            if hmac.compare_digest(known, digest):
                found = grant
        if found is None:
            raise Unauthenticated(private="the token is not in the identities file")
        if found.expires is not None and self._now() >= found.expires:
            raise Unauthenticated(private=f"the token of {found.name} has expired")
        return found
