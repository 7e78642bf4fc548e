"""One blocking HTTP exchange with the store, which another thread can cut short, and the connections it uses.

Nothing is ever sent twice here: no retries, no redirects.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import SplitResult, quote

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.response import HTTPResponse

from sealane import __version__
from sealane.store.port import NoListener, OutcomeUnknown
from sealane.store.s3_clock import StoreClock
from sealane.store.s3_settings import S3Settings
from sealane.store.s3_signing import Signer

T = TypeVar("T")

ERROR_BYTES = 64 << 10
"""More of a refusal's body isn't read."""
USER_AGENT = f"sealane/{__version__}"
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_FAILURES = (HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``key`` "" addresses the bucket; ``payload_sha256`` is hex, of ``body``."""

    method: str
    key: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | bytearray | memoryview | None = None
    payload_sha256: str = EMPTY_SHA256
    max_answer_bytes: int = ERROR_BYTES
    signed_ago: timedelta = timedelta()
    signed_at: datetime | None = None
    """When the signature says that it was made, by the store's clock; None: when it is."""

    def __str__(self) -> str:
        """For logs: no values of the query, no headers."""
        names = "&".join(name for name, _ in self.query)
        return f"{self.method} /{self.key}" + (f"?{names}" if names else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``headers`` finds names in any case. ``whole`` is False if the body went over its bound."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    clock_moved: float

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Endpoint:
    """Where exchanges go: idle connections, the store's clock and the signer. Thread-safe."""

    def __init__(self, settings: S3Settings, signer: Signer, clock: StoreClock, monotonic: Callable[[], float]) -> None:
        self.settings = settings
        # Parsed once: to take the endpoint apart is a tenth of what a record's request costs.
        self._address = settings.url.hostname or "", settings.port
        self._scheme, self._host = settings.url.scheme, settings.host_header
        self.clock = clock
        self.monotonic = monotonic
        self._signer = signer
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._closed = False
        self._tls = ssl.create_default_context(cafile=settings.ca_file) if settings.secure else None

    def take(self) -> HTTPConnection:
        """A living idle connection, or one that isn't connected yet."""
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self.monotonic() - since < self.settings.idle_seconds and connection.is_connected:
                return connection
            connection.close()
        host, port = self._address
        if self._tls is not None:
            return HTTPSConnection(host, port, ssl_context=self._tls)
        return HTTPConnection(host, port)

    def give(self, connection: HTTPConnection) -> None:
        """Take back a connection whose answer has been read whole."""
        if self._closed:
            connection.close()
        else:
            self._idle.append((connection, self.monotonic()))

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def signed(self, request: Request, wait: float) -> tuple[str, dict[str, str]]:
        """Target (path and query, encoded) and headers of ``request``, signed at the store's time."""
        path = quote(f"/{self.settings.bucket}/{request.key}" if request.key else f"/{self.settings.bucket}", safe="/~")
        query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in request.query)
        headers = self._signer.sign(
            request.method,
            SplitResult(self._scheme, self._host, path, query, ""),
            {"Host": self._host, **request.headers},
            payload_sha256=request.payload_sha256,
            at=(request.signed_at or self.clock.now()) - request.signed_ago,
            wait=wait,
        )
        headers["User-Agent"] = USER_AGENT
        return (f"{path}?{query}" if query else path), headers


class Exchange:
    """One request and its answer. All but :meth:`cut` runs in worker threads, one at a time."""

    def __init__(self, endpoint: Endpoint, request: Request, deadline: float) -> None:
        self.deadline = deadline
        self._endpoint = endpoint
        self._request = request
        self._lock = threading.Lock()
        self._cut = False
        self._sending = False
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._sent_whole = False
        self._clock_moved = 0.0

    def __str__(self) -> str:
        return str(self._request)

    def cut(self) -> bool:
        """End the exchange now; nothing is sent from here on. Answer whether a thread may still be reading the body,
        for the moment that it takes to wake up."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it may be closed already
                    # Not SSLSocket's own: that drops the TLS state under the other thread's feet.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return self._sending

    def _remaining(self) -> float:
        remaining = self.deadline - self._endpoint.monotonic()
        if self._cut or remaining <= 0:
            raise TimeoutError("no time left")
        return remaining

    def converse(self) -> Answer:
        """Send, and read the whole answer."""
        return self._told(lambda: self._answer(self._begin(), self._request.max_answer_bytes))

    def open(self) -> Answer:
        """Send, and read the answer's head; its body too if it is a refusal, else :meth:`read` gives it."""

        def begin() -> Answer:
            response = self._begin()
            if 200 <= response.status < 300:
                return Answer(response.status, response.headers, b"", False, self._clock_moved)
            return self._answer(response, ERROR_BYTES)

        return self._told(begin)

    def read(self, block_bytes: int) -> bytes:
        """The next block of an opened answer, b"" at its end."""

        def block() -> bytes:
            assert self._response is not None
            assert self._socket is not None
            self._socket.settimeout(self._remaining())
            return self._response.read(block_bytes)

        return self._told(block)

    def end(self) -> None:
        """Give the connection back, or close it if anything is left on it."""
        connection, self._connection = self._connection, None
        with self._lock:
            self._socket = None  # from here on a late cut must not hit the connection's next user
            reusable = not self._cut and self._sent_whole
        if connection is None:
            return
        if reusable and self._response is not None and self._response.closed and not connection.is_closed:
            self._endpoint.give(connection)
        else:
            if self._response is not None:
                self._response.close()
            connection.close()

    def _told(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except _FAILURES as error:
            # Only a connect: what ends a connection that there was may be an idle time-out, or a proxy's.
            refused = isinstance(error, NewConnectionError) and isinstance(error.__cause__, ConnectionRefusedError)
            kind = NoListener if refused else OutcomeUnknown
            failure = kind(f"{self._request}: {type(error).__name__}: {error}")
        # Outside the handler, so without the cause: its traceback would keep views of the caller's buffer (I13).
        raise failure

    def _begin(self) -> HTTPResponse:
        endpoint, request = self._endpoint, self._request
        connection = self._connection = endpoint.take()
        if connection.sock is None:
            connection.timeout = min(endpoint.settings.connect_timeout, self._remaining())
            connection.connect()
        target, headers = endpoint.signed(request, self._remaining())
        with self._lock:
            connection.timeout = self._remaining()
            self._socket = connection.sock
            self._sending = True
        sent = endpoint.clock.local()
        try:
            connection.request(
                request.method,
                target,
                request.body,  # type: ignore[arg-type] # any buffer goes to sendall as it is: no copy
                headers,
                preload_content=False,
                decode_content=False,
            )
            self._sent_whole = True
        except (BrokenPipeError, ConnectionResetError):
            pass  # the store may have refused before it had read everything: its answer says why
        finally:
            with self._lock:
                self._sending = False
        connection.timeout = self._remaining()
        response = self._response = connection.getresponse()
        date = response.headers.get("Date")
        self._clock_moved = endpoint.clock.learn(date, sent=sent, received=endpoint.clock.local())
        return response

    def _answer(self, response: HTTPResponse, max_bytes: int) -> Answer:
        limit = max_bytes if 200 <= response.status < 300 else ERROR_BYTES
        blocks: list[bytes] = []
        size = 0
        while size <= limit:
            block = response.read(min(limit + 1 - size, 1 << 20))
            if not block:
                break
            blocks.append(block)
            size += len(block)
        return Answer(response.status, response.headers, b"".join(blocks)[:limit], size <= limit, self._clock_moved)
