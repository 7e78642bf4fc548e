"""The keys that tokens are verified with, from a file or a URL (a JWK set, RFC 7517), fetched off the event loop.

They are fetched every so often, and at once when a token names a key that is not among them; but never twice within
LEAST_SECONDS, for everybody can name a key that nobody has. A source that is away leaves the keys that there are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet, OctKey, import_key

from sealane.domain.errors import PeerUnavailable, Unauthenticated
from sealane.logs import get_logger
from sealane.reloaded import LOOK_SECONDS, read

_log = get_logger(__name__)

LEAST_SECONDS = 10.0
WAIT_SECONDS = 5.0
"""How long a call waits for keys that are being fetched."""
FETCH_SECONDS = 10.0
"""One fetch from a URL, in all."""
RETRY_SECONDS = 15.0
"""After a fetch that failed."""
ALARM_AFTER = 3
"""Fetches in a row that fail: once is a network's hiccup."""
MAX_BYTES = 256 << 10

Source = Callable[[], bytes]
"""The set's JSON. It blocks; OSError, ValueError, urllib3's HTTPError."""


class SigningKeys:
    """:meth:`watch` beside the server keeps them; without it there are none."""

    def __init__(self, source: Source, *, every: float, least: float = LEAST_SECONDS, wait: float = WAIT_SECONDS):
        """``every``, ``least``, ``wait``: seconds, see the module's text."""
        self._source = source
        self._every = every
        self._least = least
        self._wait = wait
        self._content = b""
        self._keys: KeySet | None = None
        self._failures = 0
        """Fetches that have failed since the last good one."""
        self._began = float("-inf")
        self._wanted = asyncio.Event()
        self._fetched = asyncio.Event()
        """Of the fetch that comes next; each has its own."""

    async def find(self, kid: str | None) -> Key:
        """The key that a token names; without a name, the only one. Unauthenticated; PeerUnavailable if the source is
        away, so that it can't be known."""
        key = self._known(kid)
        if key is None and (self._keys is None or asyncio.get_running_loop().time() - self._began >= self._least):
            fetched = self._fetched
            self._wanted.set()
            try:
                async with asyncio.timeout(self._wait):
                    await fetched.wait()
            except TimeoutError:
                pass
            key = self._known(kid)
        if key is not None:
            return key
        if self._keys is None or self._failures:
            raise PeerUnavailable(
                "The keys that tokens are verified with can't be had just now. Nothing is lost: repeat the request.",
                private="the JWK set's source does not answer",
            )
        raise Unauthenticated(private="the token is signed with a key that is not in the JWK set")

    async def watch(self) -> None:
        """Fetch, now and again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._began = loop.time()
            self._wanted.clear()
            await self._fetch()
            fetched, self._fetched = self._fetched, asyncio.Event()
            fetched.set()
            pause = min(self._every, RETRY_SECONDS) if self._failures else self._every
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(max(0.0, min(self._least, pause) - (loop.time() - self._began)))

    def _known(self, kid: str | None) -> Key | None:
        keys = list(self._keys or ())
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.kid == kid), None)

    async def _fetch(self) -> None:
        try:
            content = await asyncio.to_thread(self._source)
            if content != self._content:
                self._keys, self._content = parse_keys(content), content
                _log.info("signing_keys", kids=[key.kid for key in self._keys])
            self._failures = 0
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            self._failures += 1
            detail = f"{type(error).__name__}: {error}"
            if self._failures == ALARM_AFTER:
                _log.error("signing_keys_unavailable", alarm=True, detail=detail, kept=self._keys is not None)
            else:
                _log.warning("signing_keys_unavailable", detail=detail, kept=self._keys is not None)


def parse_keys(content: bytes) -> KeySet:
    """The public keys of a JWK set. ValueError if there is none.

    Symmetric ones are left out: whoever knows such a key can make tokens, so it does not belong where keys are shown.
    So is what is not understood (RFC 7517, section 5): an issuer that adds a key of a new kind, for others, must not
    take away those that there are.
    """
    try:
        listed = json.loads(content)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no JWK set ({type(error).__name__})") from None
    if not isinstance(listed, list):
        raise ValueError("no JWK set (its keys are no list)")
    public = [key for each in listed if (key := _public_key(each)) is not None]
    if not public:
        raise ValueError("the JWK set has no public key for signatures")
    return KeySet(public)


def _public_key(listed: Any) -> Key | None:
    """A key that signatures may be verified with, else None."""
    if not isinstance(listed, dict) or listed.get("use") not in (None, "sig"):
        return None
    try:
        key = import_key(listed)
        key.check_key_op("verify")
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return None if isinstance(key, OctKey) else key


def from_file(path: Path) -> tuple[Source, float]:
    """A source, and how often to ask it."""
    return lambda: read(path), LOOK_SECONDS


def from_url(url: str, *, ca_file: Path | None, token_file: Path | None, every: float) -> tuple[Source, float]:
    """A source, and how often to ask it. Redirects are not followed: a key comes from where it was said to be.

    ``token_file``: a bearer token to show there, as Kubernetes' API server asks for.
    """
    pool = urllib3.PoolManager(ca_certs=str(ca_file) if ca_file else None, retries=False)

    def fetch() -> bytes:
        headers = {"accept": "application/json"}
        if token_file is not None:
            headers["authorization"] = f"Bearer {read(token_file).decode('ascii').strip()}"
        ends = time.monotonic() + FETCH_SECONDS  # noqa: TID251 - in a thread, where there is no loop's clock
        response = pool.request(
            "GET", url, headers=headers, redirect=False, preload_content=False, timeout=urllib3.Timeout(total=5.0)
        )
        try:
            if response.status != 200:
                raise ValueError(f"the JWK set's URL answered {response.status}")
            content = b""
            while piece := response.read1(1 << 16):
                content += piece
                if len(content) > MAX_BYTES:
                    raise ValueError(f"the JWK set has more than {MAX_BYTES} bytes")
                if time.monotonic() > ends:  # noqa: TID251 - see above
                    raise ValueError(f"the JWK set took more than {FETCH_SECONDS:g} s")
            return content
        finally:
            response.close()

    return fetch, every
