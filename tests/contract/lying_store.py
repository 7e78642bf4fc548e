"""A proxy in front of a real SeaweedFS that breaks one guarantee at a time, and is honest in all else.

It is an S3 server as far as its clients can tell: it takes signed requests, and signs them anew, as what it changes
would not verify otherwise. Its clients' signatures it believes, but for their age (R6).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

import urllib3
from minio.credentials import Credentials
from minio.signer import sign_v4_s3

from sealane.dev.ports import LOOPBACK
from sealane.dev.seaweed import SeaweedFS

_SKEW = timedelta(minutes=15)
_STALE = b"<Error><Code>RequestTimeTooSkewed</Code><Message>too old</Message></Error>"
_NOT_PASSED_ON = {"authorization", "host", "x-amz-date", "x-amz-content-sha256", "connection", "accept-encoding"}
_NOT_PASSED_BACK = {"connection", "transfer-encoding", "content-length", "date", "server", "content-encoding"}


class Lie(Enum):
    """What is broken, and the guarantee of protocol.md section 2 that it is."""

    NONE = ""
    LIST_HIDES_NEWEST = "R1"
    LIST_LOSES_PAGE_EDGE = "R1 "
    GET_ANSWERS_OLD_BYTES = "R1  "
    IGNORES_IF_NONE_MATCH = "R2"
    LOOKS_THEN_WRITES = "R2 "
    IGNORES_PART_CHECKSUM = "R3"
    IGNORES_ETAG_AT_COMPLETE = "R3 "
    IGNORES_SHA256_AT_COMPLETE = "R3  "
    DROPS_METADATA = "R4"
    HIDES_COMPOSITE = "R4 "
    COMPLETE_RESURRECTS = "R5"
    ACCEPTS_OLD_SIGNATURES = "R6"

    @property
    def guarantee(self) -> str:
        return self.value.strip()


@dataclass
class Asked:
    """A request as it is passed on."""

    method: str
    path: str
    query: dict[str, list[str]]
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def upload_id(self) -> str:
        return self.query.get("uploadId", [""])[0]

    @property
    def completes(self) -> bool:
        return self.method == "POST" and "uploadId" in self.query

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and "partNumber" in self.query

    @property
    def is_plain_put(self) -> bool:
        return self.method == "PUT" and not self.query

    @property
    def lists(self) -> bool:
        return self.method == "GET" and self.query.get("list-type") == ["2"]


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Liar:
    """Passes requests on to ``store``, with one lie."""

    store: SeaweedFS
    lie: Lie
    newest: str = ""
    first_bodies: dict[str, bytes] = field(default_factory=dict)
    parts: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(upload, part number) -> true ETag and SHA-256."""
    completed: dict[str, tuple[Answered, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=64, retries=urllib3.Retry(total=False), timeout=60.0)
    )

    def answer(self, asked: Asked, signed_at: datetime) -> Answered:
        if self.lie is not Lie.ACCEPTS_OLD_SIGNATURES and abs(datetime.now(UTC) - signed_at) > _SKEW:
            return Answered(403, {"content-type": "application/xml"}, _STALE)
        self._spoil(asked)
        if self.lie is Lie.COMPLETE_RESURRECTS and asked.completes and asked.upload_id in self.completed:
            answered, body = self.completed[asked.upload_id]
            self._pass_on(Asked("PUT", asked.path, {}, asked.path, {}, body))
            return answered
        answered = self._pass_on(asked)
        self._learn(asked, answered)
        return self._twisted(asked, answered)

    def _spoil(self, asked: Asked) -> None:
        """What the store is asked, in place of what the client asked."""
        match self.lie:
            case Lie.IGNORES_IF_NONE_MATCH:
                asked.headers.pop("if-none-match", None)
            case Lie.LOOKS_THEN_WRITES if asked.headers.get("if-none-match"):
                there = self._pass_on(Asked("HEAD", asked.path, {}, asked.path, {}, b"")).status == 200
                if not there:
                    del asked.headers["if-none-match"]
            case Lie.IGNORES_PART_CHECKSUM if asked.is_part:
                asked.headers["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
            case Lie.IGNORES_ETAG_AT_COMPLETE | Lie.IGNORES_SHA256_AT_COMPLETE if asked.completes:
                asked.body = self._with_true_parts(asked)
            case Lie.DROPS_METADATA:
                for name in [name for name in asked.headers if name.startswith("x-amz-meta-")]:
                    del asked.headers[name]

    def _with_true_parts(self, asked: Asked) -> bytes:
        """The part list, with what the store holds in place of what the client names."""

        def mend(part: re.Match[str]) -> str:
            text = part[0]
            number = re.search(r"<PartNumber>(\d+)<", text)
            assert number is not None
            etag, sha256 = self.parts[asked.upload_id, number[1]]
            if self.lie is Lie.IGNORES_ETAG_AT_COMPLETE:
                return re.sub(r"<ETag>.*?</ETag>", f"<ETag>{etag}</ETag>", text)
            return re.sub(r"<ChecksumSHA256>.*?</", f"<ChecksumSHA256>{sha256}</", text)

        return re.sub(r"<Part>.*?</Part>", mend, asked.body.decode(), flags=re.DOTALL).encode()

    def _learn(self, asked: Asked, answered: Answered) -> None:
        if answered.status != 200:
            return
        if asked.is_plain_put:
            with self.lock:
                self.newest = unquote(asked.path).split("/", 2)[2]
                self.first_bodies.setdefault(asked.path, asked.body)
        elif asked.is_part:
            sha256 = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
            number = asked.query["partNumber"][0]
            self.parts[asked.upload_id, number] = (answered.headers["etag"], sha256)
        elif asked.completes and b"<Error>" not in answered.body:
            whole = self._pass_on(Asked("GET", asked.path, {}, asked.path, {}, b"")).body
            self.completed[asked.upload_id] = (answered, whole)

    def _twisted(self, asked: Asked, answered: Answered) -> Answered:
        """What the client hears, in place of what the store answered."""
        match self.lie:
            case Lie.LIST_HIDES_NEWEST if asked.lists:
                answered.body = _without(answered.body, lambda number, key: key == self.newest)
            case Lie.LIST_LOSES_PAGE_EDGE if asked.lists and (
                "continuation-token" in asked.query or "start-after" in asked.query
            ):
                answered.body = _without(answered.body, lambda number, key: number == 0)
            case Lie.GET_ANSWERS_OLD_BYTES if asked.method == "GET" and answered.status == 200:
                answered.body = self.first_bodies.get(asked.path, answered.body)
            case Lie.HIDES_COMPOSITE if asked.method == "HEAD":
                answered.headers.pop("x-amz-checksum-sha256", None)
        return answered

    def _pass_on(self, asked: Asked) -> Answered:
        url = urlsplit(f"{self.store.endpoint}{asked.target}")
        digest = hashlib.sha256(asked.body).hexdigest()
        now = datetime.now(UTC)
        headers: dict[str, Any] = {
            **asked.headers,
            "Host": url.netloc,
            "x-amz-content-sha256": digest,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        credentials = Credentials(self.store.access_key, self.store.secret_key)
        signed = sign_v4_s3(
            method=asked.method,
            url=url,
            region="us-east-1",
            headers=headers,
            credentials=credentials,
            content_sha256=digest,
            date=now,
        )
        response = self.pool.request(
            asked.method, url.geturl(), body=asked.body or None, headers=signed, redirect=False, decode_content=False
        )
        return Answered(
            response.status, {name.lower(): value for name, value in response.headers.items()}, response.data
        )


def _without(listing: bytes, hidden: Any) -> bytes:
    numbers = iter(range(1_000_000))

    def keep(row: re.Match[str]) -> str:
        key = re.search(r"<Key>(.*?)</Key>", row[0], re.DOTALL)
        assert key is not None
        return "" if hidden(next(numbers), unquote(unescape(key[1]))) else row[0]

    return re.sub(r"<Contents>.*?</Contents>", keep, listing.decode(), flags=re.DOTALL).encode()


@contextlib.contextmanager
def lying(store: SeaweedFS, lie: Lie) -> Iterator[str]:
    """The endpoint of a liar, until the block ends."""
    liar = Liar(store, lie)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.pop("content-length", 0)))
            signed_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            path, _, query = self.path.partition("?")
            asked = Asked(
                self.command,
                path,
                parse_qs(query, keep_blank_values=True),
                self.path,
                {name: value for name, value in headers.items() if name not in _NOT_PASSED_ON},
                body,
            )
            answered = liar.answer(asked, signed_at)
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                if name not in _NOT_PASSED_BACK:
                    self.send_header(name, value)
            length = answered.headers.get("content-length", "0") if self.command == "HEAD" else str(len(answered.body))
            if answered.status != 204:
                self.send_header("content-length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answered.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        liar.pool.clear()
