"""Several ways to know a caller, beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from sealane.domain.errors import Unauthenticated
from sealane.identity.bearer import bearer_token, looks_like_jwt
from sealane.identity.caller import Caller, Presented
from sealane.identity.jwt import JwtIdentity
from sealane.identity.mtls import MtlsIdentity
from sealane.identity.tokens import TokenIdentity


@dataclass(frozen=True, slots=True)
class Modes:
    """A bearer token is judged by what it looks like; without one, the client certificate says who it is.

    So a caller with both is who its token says: a proxy's certificate does not lend its identity to what it passes on.
    """

    mtls: MtlsIdentity | None = None
    jwt: JwtIdentity | None = None
    tokens: TokenIdentity | None = None

    async def __call__(self, presented: Presented) -> Caller:
        """An :data:`~sealane.identity.caller.Identity`."""
        token = bearer_token(presented.metadata)
        if token is None:
            if self.mtls is None:
                raise Unauthenticated(private="no authorization header")
            return self.mtls.caller(presented.peer)
        if self.jwt is not None and (self.tokens is None or looks_like_jwt(token)):
            return await self.jwt.caller(token)
        if self.tokens is None:
            raise Unauthenticated(private="a bearer token, and SEALANE_IDENTITY takes none")
        return self.tokens.caller(token)
