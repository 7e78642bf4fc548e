"""``GET /metrics`` on a port of its own, in a handful of threads: neither a scrape nor a slow reader holds the loop up.

Nothing of it can be reached on the port of gRPC.

Prometheus' client has a server of its own; it starts a thread for every connection and waits for each for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sealane.logs import get_logger

_log = get_logger(__name__)

READERS = 4
"""Scrapes at once. Two Prometheus servers and a person's curl are three."""
PATIENCE_SECONDS = 5.0
"""A reader that is silent, or takes nothing, for so long is left."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    server: _Server
    protocol_version = "HTTP/1.0"  # a connection a scrape: an idle one would hold one of the few threads

    def do_GET(self) -> None:
        """The metrics, in the format that was asked for."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"GET /metrics\n")
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "sealane"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """A line a scrape would be most of the log."""


class _Server(HTTPServer):
    request_queue_size = 16
    allow_reuse_address = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        self.registry = registry
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="metrics")
        self._free = threading.BoundedSemaphore(READERS)
        self._in_hand: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the resolver for the name of every address.
        super(HTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(timeout=1.0):  # meanwhile others wait in the kernel's own bounded queue
            self.shutdown_request(request)
            return
        self._in_hand.add(request)
        self._pool.submit(self._serve, request, client_address).add_done_callback(_told)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the reader left
        finally:
            self._in_hand.discard(request)
            self.shutdown_request(request)
            self._free.release()

    def server_close(self) -> None:
        super().server_close()
        for request in tuple(self._in_hand):  # a reader that dribbles must not keep the process from ending
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _told(scrape: Future[None]) -> None:
    """A reading that fails must not fail in silence: no metrics look like no replica."""
    if not scrape.cancelled() and (error := scrape.exception()) is not None:
        _log.error("scrape_failed", alarm=True, exc_info=error)


@contextlib.contextmanager
def exposed(listen: str, registry: CollectorRegistry) -> Iterator[str]:
    """Serve ``registry`` at ``listen`` (host:port, 0 for a free one) while the block runs; gives the real address.

    OSError naming the address if it can't be had.
    """
    host, _, port = listen.rpartition(":")
    try:
        server = _Server(host.strip("[]"), int(port), registry)
    except OSError as error:
        raise OSError(f"can't listen on {listen}: {error}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)
