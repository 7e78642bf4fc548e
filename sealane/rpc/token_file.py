"""A bearer token in a file that somebody renews: a projected service account's, say."""

from __future__ import annotations

import re
from pathlib import Path

MAX_BYTES = 16 << 10

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)


class TokenFile:
    """Call it for the token; it is read again when the file changes. A file that can't be read leaves the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """The token. OSError, ValueError if there never was one. A local file's status is a matter of microseconds."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._token, self._stamp = self._read(), stamp
        except (OSError, ValueError):
            if not self._token:
                raise
        return self._token

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return checked_token(file.read(MAX_BYTES + 1).decode("ascii", "replace").strip(), str(self._path))


def checked_token(token: str, source: str) -> str:
    """``token`` if it can stand in a header (RFC 6750), else ValueError, which names ``source`` and nothing of it."""
    if len(token) > MAX_BYTES or not _TOKEN.fullmatch(token):
        raise ValueError(f"{source}: no bearer token (one word of letters, digits and -._~+/=)")
    return token
