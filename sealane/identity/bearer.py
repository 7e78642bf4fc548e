"""The bearer token of a call: ``authorization: Bearer …`` (RFC 6750)."""

from __future__ import annotations

from sealane.domain.errors import Unauthenticated
from sealane.identity.caller import Metadata

AUTHORIZATION = "authorization"


def bearer_token(metadata: Metadata) -> str | None:
    """The token; None if there is no authorization at all. Unauthenticated for two of them, or for another scheme."""
    given = [value for key, value in metadata if key == AUTHORIZATION]
    if not given:
        return None
    if len(given) > 1 or not isinstance(given[0], str):
        raise Unauthenticated(private="more than one authorization header")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(private="the authorization header is no bearer token")
    return token.strip()


def looks_like_jwt(token: str) -> bool:
    """Three parts with dots between, the first of which begins a JSON object."""
    return token.count(".") == 2 and token.startswith("eyJ")
