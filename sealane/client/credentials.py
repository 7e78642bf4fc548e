"""What a client shows with each call: a bearer token, wherever it comes from; never to who it was not meant for."""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sealane.client.errors import Unauthenticated
from sealane.rpc.token_file import TokenFile, checked_token

Metadata = Sequence[tuple[str, str]]
Token: TypeAlias = str | Path | Callable[[], str | Awaitable[str]]
"""The token itself, a file that has it (read again when it changes), or a callable that answers it, plain or async,
asked before every call: it should keep what it has until that is about to expire."""

_KEY = "authorization"
_TARGET = re.compile(r"(?:(?:ipv[46]|dns|unix|unix-abstract):(?://[^/]*/)?)?(?P<addresses>.*)", re.DOTALL)


class Credentials:
    """``metadata`` goes with every call as it is; ``token`` is asked for each time."""

    def __init__(self, metadata: Metadata, token: Token | None) -> None:
        """ValueError for a token that can't stand in a header."""
        self._metadata = tuple(metadata)
        self._fixed = isinstance(token, str)
        self._token: Callable[[], str | Awaitable[str]] | None
        if isinstance(token, str):
            fixed = checked_token(token, "token")
            self._token = lambda: fixed
        else:
            self._token = TokenFile(token) if isinstance(token, Path) else token

    async def metadata(self) -> Metadata:
        """What goes with a call that begins now. Unauthenticated if there is no token: nothing was asked then."""
        if self._token is None:
            return self._metadata
        try:
            token = self._token()
            if inspect.isawaitable(token):
                token = await token
            token = checked_token(token, "the token's source")
        except (OSError, ValueError) as error:
            raise Unauthenticated(f"No token could be had: {error}") from None
        return (*self._metadata, (_KEY, f"Bearer {token}"))

    def may_be_renewed(self, error: Exception) -> bool:
        """Whether ``error`` may be that of a token that expired on its way, so that one more try has a newer one."""
        return isinstance(error, Unauthenticated) and self._token is not None and not self._fixed


def stays_here(target: str) -> bool:
    """Whether a gRPC target is on this machine, every address of it."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    match = _TARGET.fullmatch(target)
    assert match is not None  # it matches everything
    return all(_loopback(address.strip()) for address in match["addresses"].split(","))


def _loopback(address: str) -> bool:
    host = address.rpartition(":")[0] if address.count(":") == 1 or "]" in address else address
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
