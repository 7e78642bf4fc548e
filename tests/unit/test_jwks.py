"""The keys that tokens are verified with: fetched off the loop, seldom, and kept while their source is away."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from sealane.domain.errors import PeerUnavailable, Unauthenticated
from sealane.identity.jwks import ALARM_AFTER, MAX_BYTES, SigningKeys, from_file, from_url, parse_keys
from tests.authority import Authority
from tests.jwt_issuer import Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


class Source:
    """A set that changes; None: it is away."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.asked = 0

    def __call__(self) -> bytes:
        assert threading.current_thread() is not threading.main_thread()  # never on the loop
        self.asked += 1
        if self.content is None:
            raise OSError("away")
        return self.content


@contextlib.asynccontextmanager
async def watched(source: Any, **pace: float) -> AsyncIterator[SigningKeys]:
    keys = SigningKeys(source, **({"every": 3600.0} | pace))
    watching = asyncio.create_task(keys.watch())
    try:
        async with asyncio.timeout(30):
            yield keys
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def test_the_first_call_waits_for_the_keys(issuer: Issuer) -> None:
    async with watched(Source(issuer.jwks())) as keys:
        assert (await keys.find("rsa")).kid == "rsa"


async def test_a_new_key_is_fetched_when_a_token_names_it(issuer: Issuer) -> None:
    """A rotation takes effect with its first token, not an interval later."""
    source = Source(issuer.jwks("rsa"))
    async with watched(source, least=0.0) as keys:
        await keys.find("rsa")
        source.content = issuer.jwks("ec")
        assert (await keys.find("ec")).kid == "ec"
        with pytest.raises(Unauthenticated):
            await keys.find("rsa")  # it has been taken out


async def test_unknown_keys_do_not_hammer_the_source(issuer: Issuer) -> None:
    """Everybody can name a key that nobody has."""
    source = Source(issuer.jwks("rsa"))
    async with watched(source) as keys:
        await keys.find("rsa")
        for number in range(50):
            with pytest.raises(Unauthenticated):
                await keys.find(f"nobody's-{number}")
        assert source.asked == 1


async def test_calls_that_want_the_same_fetch_share_it(issuer: Issuer) -> None:
    source = Source(issuer.jwks())
    async with watched(source) as keys:
        await asyncio.gather(*(keys.find("rsa") for _ in range(50)))
        assert source.asked == 1


async def test_a_source_that_goes_away_leaves_its_keys(issuer: Issuer) -> None:
    source = Source(issuer.jwks("rsa"))
    async with watched(source, least=0.0) as keys:
        await keys.find("rsa")
        source.content = None
        with pytest.raises(PeerUnavailable):  # it can't be known whose that is
            await keys.find("ec")
        assert (await keys.find("rsa")).kid == "rsa"
        source.content = b"[]"
        with pytest.raises(PeerUnavailable):
            await keys.find("ec")
        assert (await keys.find("rsa")).kid == "rsa"


async def test_a_source_that_stays_away_is_an_alarm_and_one_miss_is_not(issuer: Issuer) -> None:
    lines: list[Any] = []
    capture = structlog.testing.LogCapture()
    capture.entries = lines
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    try:
        source = Source(None)
        async with watched(source, every=0.001, least=0.0):
            while source.asked < ALARM_AFTER + 2:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.001)
    finally:
        structlog.reset_defaults()
    away = [line for line in lines if line["event"] == "signing_keys_unavailable"]
    assert [bool(line.get("alarm")) for line in away[: ALARM_AFTER + 1]] == [False, False, True, False]


async def test_keys_that_never_came_are_unavailable_and_not_the_callers_fault() -> None:
    """UNAVAILABLE: worth a repetition, which UNAUTHENTICATED is not."""
    async with watched(Source(None), wait=0.05) as keys:
        for _ in range(2):
            with pytest.raises(PeerUnavailable):
                await keys.find("rsa")


async def test_without_a_name_only_a_single_key_will_do(issuer: Issuer) -> None:
    async with watched(Source(issuer.jwks("rsa"))) as keys:
        assert (await keys.find(None)).kid == "rsa"
    async with watched(Source(issuer.jwks())) as keys:
        await keys.find("rsa")
        with pytest.raises(Unauthenticated):
            await keys.find(None)


def test_only_public_keys_for_signatures_count(issuer: Issuer) -> None:
    keys = json.loads(issuer.jwks())["keys"]
    symmetric = {"kty": "oct", "k": "A" * 64, "kid": "shared"}
    sealing = {**keys[0], "use": "enc", "kid": "sealing"}
    strange = {"kty": "AKP", "kid": "new"}
    found = parse_keys(json.dumps({"keys": [symmetric, sealing, strange, *keys]}).encode())
    assert {key.kid for key in found} == {"rsa", "ec"}
    for nothing in (
        {"keys": [symmetric]},
        {"keys": []},
        {"keys": 7},
        [],
        7,
        {},
        {"keys": [7]},
        {"keys": [{"kty": "RSA"}]},
    ):
        with pytest.raises(ValueError, match="JWK set"):
            parse_keys(json.dumps(nothing).encode())
    for nothing in (b"<html>", b"[" * 100_000, b'{"keys":' + b"[" * 100_000):
        with pytest.raises(ValueError, match="JWK set"):
            parse_keys(nothing)


def test_a_key_that_is_not_understood_takes_none_of_the_others_away(issuer: Issuer) -> None:
    """RFC 7517, section 5: what an issuer adds for others must not refuse everybody here."""
    keys = json.loads(issuer.jwks())["keys"]
    rsa = next(key for key in keys if key["kty"] == "RSA")
    for strange in (
        {"kty": "EC", "kid": "x", "crv": "BP-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "kid": "x", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "RSA", "kid": "x", "n": "AAAA", "e": "AQAB"},
        {**rsa, "kid": "x", "use": "tls"},
        {**rsa, "kid": "x", "key_ops": ["encrypt"]},
        {**rsa, "kid": "x", "key_ops": 7},
        {"kty": ["RSA"], "kid": "x"},
        {"kid": "x"},
        7,
        None,
    ):
        found = parse_keys(json.dumps({"keys": [strange, *keys]}).encode())
        assert {key.kid for key in found} == {"rsa", "ec"}, strange


# --- sources ---


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serves one answer over real TLS; its authority is in tmp_path/ca/ca.pem."""
    import ssl

    cert, key = Authority(tmp_path / "ca").issue("issuer")
    running: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(status: int, body: bytes, *, token: str = "", location: str = "") -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = not token or self.headers["authorization"] == f"Bearer {token}"
                self.send_response(status if allowed else 401)
                if location:
                    self.send_header("location", location)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"https://127.0.0.1:{server.server_address[1]}/jwks"

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


async def ask(url: str, tmp_path: Path, token_file: Path | None = None) -> bytes:
    source, _ = from_url(url, ca_file=tmp_path / "ca" / "ca.pem", token_file=token_file, every=300)
    return await asyncio.to_thread(source)


async def test_a_url_is_asked_over_tls_with_the_token_it_wants(
    serve: Callable[..., str], tmp_path: Path, issuer: Issuer
) -> None:
    """As Kubernetes' API server serves its keys."""
    url = serve(200, issuer.jwks(), token="t0ken")
    (tmp_path / "token").write_text("t0ken\n")
    assert await ask(url, tmp_path, tmp_path / "token") == issuer.jwks()
    with pytest.raises(ValueError, match="401"):
        await ask(url, tmp_path)


async def test_what_a_url_may_not_do(serve: Callable[..., str], tmp_path: Path, issuer: Issuer) -> None:
    """Another's certificate, a redirect, an error page, an endless answer."""
    good = serve(200, issuer.jwks())
    source, _ = from_url(good, ca_file=Authority(tmp_path / "other").ca_file, token_file=None, every=300)
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(source)
    with pytest.raises(ValueError, match="302"):
        await ask(serve(302, b"", location=good), tmp_path)
    with pytest.raises(ValueError, match="500"):
        await ask(serve(500, issuer.jwks()), tmp_path)
    with pytest.raises(ValueError, match="more than"):
        await ask(serve(200, b"x" * (MAX_BYTES + 1)), tmp_path)


async def test_a_url_nobody_answers_at_is_an_error_that_the_keys_survive(tmp_path: Path) -> None:
    from sealane.dev.ports import free_ports

    (port,) = free_ports(1)
    source, _ = from_url(f"http://127.0.0.1:{port}/", ca_file=None, token_file=None, every=300)
    async with watched(source, wait=10.0) as keys:
        with pytest.raises(PeerUnavailable):
            await keys.find("rsa")


async def test_a_file_is_a_source_too(tmp_path: Path, issuer: Issuer) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(issuer.jwks("rsa"))
    source, every = from_file(path)
    async with watched(source, every=0.001, least=0.0) as keys:
        await keys.find("rsa")
        path.with_suffix(".new").write_bytes(issuer.jwks("ec"))
        path.with_suffix(".new").replace(path)
        assert (await keys.find("ec")).kid == "ec"
    assert every <= 5
