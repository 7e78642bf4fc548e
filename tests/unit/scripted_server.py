"""A server that says exactly what a test tells it to, byte by byte: what no real store can be made to do on demand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

Handler = Callable[["Peer"], None]
"""Serves one connection; called in a thread of its own, and the connection is closed behind it."""

OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer. Underscores in header names are dashes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(status: int, code: str) -> bytes:
    """A refusal as S3 spells it."""
    return answer(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())


class Gone(Exception):
    """The client has closed the connection."""


class Peer:
    """The client's end of one connection, as the server sees it."""

    def __init__(self, server: ScriptedServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._ahead = b""

    def head(self) -> dict[str, str]:
        """The next request's headers, by lower-case name, with ``method`` and ``target``."""
        while b"\r\n\r\n" not in self._ahead:
            self._ahead += self._some()
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        request = {"method": method, "target": target}
        for line in lines:
            name, _, value = line.partition(":")
            request[name.lower()] = value.strip()
        self._server.requests.append(request)
        return request

    def body(self, size: int) -> bytes:
        """``size`` bytes of the body."""
        while len(self._ahead) < size:
            self._ahead += self._some()
        body, self._ahead = self._ahead[:size], self._ahead[size:]
        return body

    def rest(self) -> bytes:
        """All that comes until the client closes."""
        with contextlib.suppress(Gone):
            while True:
                self._ahead += self._some()
        return self._ahead

    def request(self) -> dict[str, str]:
        """A whole request: its head, the body read and dropped."""
        head = self.head()
        self.body(int(head.get("content-length", "0")))
        return head

    def send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as failure:
            raise Gone from failure

    def reset(self) -> None:
        """Close so that the client gets a reset, not an end."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def _some(self) -> bytes:
        try:
            data = self._connection.recv(1 << 20)
        except OSError as failure:
            raise Gone from failure
        if not data:
            raise Gone
        return data


class ScriptedServer:
    """Listens on a free port of the loopback; ``handler`` serves each connection. A context manager."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[dict[str, str]] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self.stopping = threading.Event()
        self.hung_up = threading.Event()
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def endpoint(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
                self._open.append(connection)
            self._handler(Peer(self, connection))
        except (Gone, OSError):
            pass
        except BaseException as failure:  # noqa: BLE001 - shown by __exit__, in the test's own thread
            self.failures.append(failure)
        finally:
            connection.close()
            self.hung_up.set()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a handler doesn't end"
        if value is None and self.failures:
            raise self.failures[0]
