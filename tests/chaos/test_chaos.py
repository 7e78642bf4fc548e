"""The short form of ``make chaos``: real processes on a real store, for seconds; and proof that it would notice."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from minio import Minio

from sealane.dev.ports import LOOPBACK
from sealane.dev.seaweed import SeaweedFS
from sealane.domain.views import CommittedObject

from .cluster import Cluster
from .hand import Blow, plan
from .ledger import Entry, Ledger, content
from .proxy import Fault, Link, Weather
from .reckoning import Verified, reckon
from .run import Options, chaos

SEED = 4
LATE = 15.0


@pytest.mark.e2e
@pytest.mark.real_store
@pytest.mark.timeout(400)
async def test_what_was_acknowledged_survives_a_seeded_hand(tmp_path: Path) -> None:
    """I4, I5, I6, I8, I9, I14 of real processes under SIGKILL, SIGSTOP, SIGTERM and cut, torn and swallowed calls."""
    options = Options(SEED, seconds=10.0, pace=0.8, lanes=4, patience=150.0)
    report = await chaos(options, tmp_path, kernel=Path(os.environ["NUMBA_CACHE_DIR"]))
    assert report.ledger.violations == []
    assert report.tally.all_kills >= 3
    assert report.verified.objects >= 3
    assert report.births > report.tally.all_kills


def test_a_seed_is_a_plan_and_every_kind_of_blow_and_fault_is_in_it() -> None:
    first, second = (list(itertools.islice(plan(SEED, pace=1.0), 1000)) for _ in range(2))
    assert first == second
    assert first != list(itertools.islice(plan(SEED + 1, pace=1.0), 1000))
    assert {move.blow for move in first} == set(Blow)
    assert {move.weather.fault for move in first if move.weather} == set(Fault)


# --- the reckoning notices ---


@dataclasses.dataclass
class Bucket:
    """A bucket with one committed object in it, as the ledger has it, and a reckoning of it."""

    s3: Minio
    cluster: Cluster
    ledger: Ledger
    entry: Entry

    @property
    def name(self) -> str:
        return self.cluster.store.bucket

    def put(self, key: str, body: bytes = b"") -> None:
        import io

        self.s3.put_object(self.name, key, io.BytesIO(body), len(body))

    async def reckon(self) -> tuple[Verified, list[str]]:
        verified = await reckon(self.cluster, self.ledger, cast("Any", NoClient()), patience=0.0)
        return verified, self.ledger.violations


class NoClient:
    """Lists no sessions."""

    async def list_sessions(self, *, timeout: float) -> Any:
        return
        yield

    async def audit(self, *, min_age: float) -> Any:
        return
        yield


@pytest.fixture
def committed(seaweed: SeaweedFS, bucket: str, plain_s3: Minio) -> Bucket:
    store = SimpleNamespace(
        endpoint=seaweed.endpoint, bucket=bucket, access_key=seaweed.access_key, secret_key=seaweed.secret_key
    )
    entry = Entry("SDK", "seed", 100_000, session_id=secrets.token_hex(16), chunk_size=8 << 20)
    made = Bucket(plain_s3, cast("Cluster", SimpleNamespace(store=store)), Ledger([entry]), entry)
    key = f"default/by-session/{entry.session_id}/upload.bin"
    made.put(key, entry.content)
    for record in ("session", "multipart", "decision", "done"):
        made.put(f".sealane/default/sessions/{entry.session_id}/{record}.json", b"{}")
    etag = (plain_s3.stat_object(bucket, key).etag or "").strip('"')
    entry.committed(CommittedObject(bucket, key, etag, entry.size, b"\0" * 32, datetime.now(UTC)))
    entry.acknowledged.add(0)
    return made


@pytest.mark.real_store
async def test_the_reckoning_finds_a_whole_bucket_whole(committed: Bucket) -> None:
    verified, violations = await committed.reckon()
    assert violations == []
    assert (verified.objects, verified.bytes, verified.acknowledged_chunks) == (1, 100_000, 1)


def _tear(b: Bucket) -> None:
    b.put(b.entry.answers[0].key, b.entry.content[:-1] + b"?")


def _lose(b: Bucket) -> None:
    b.s3.remove_object(b.name, b.entry.answers[0].key)


def _ghost_object(b: Bucket) -> None:
    b.put(f"default/by-session/{'0' * 32}/ghost.bin", b"x")


def _ghost_receipt(b: Bucket) -> None:
    b.put(f".sealane/default/sessions/{b.entry.session_id}/receipts/00000000.x")


def _ghost_record(b: Bucket) -> None:
    b.put(f".sealane/default/sessions/{'0' * 32}/decision.json", b"{}")


def _ghost_upload(b: Bucket) -> None:
    b.s3._create_multipart_upload(b.name, f"default/by-session/{'0' * 32}/x", {})  # the plain SDK has no public call


def _two_answers(b: Bucket) -> None:
    b.entry.committed(dataclasses.replace(b.entry.answers[0], etag="another"))


def _both_ways(b: Bucket) -> None:
    b.entry.refusals.append("SessionExpired")


@pytest.mark.real_store
@pytest.mark.parametrize(
    ("tamper", "invariant"),
    [
        (_tear, "I4"),
        (_lose, "I4"),
        (_ghost_object, "ghost.bin"),
        (_ghost_receipt, "receipts/"),
        (_ghost_record, "decision.json"),
        (_ghost_upload, "an upload is left"),
        (_two_answers, "I6"),
        (_both_ways, "I8"),
    ],
)
async def test_the_reckoning_notices(committed: Bucket, tamper: Callable[[Bucket], None], invariant: str) -> None:
    """A chaos that could not fail would prove nothing."""
    tamper(committed)
    _, violations = await committed.reckon()
    assert len(violations) == 1
    assert invariant in violations[0]


def _at_key(generation: int, *, seed: str = "x", deleted: bool = False, duplicate: bool = False) -> Entry:
    entry = Entry("at a shared key", seed, 1, session_id=secrets.token_hex(16), object_key="k", deleted=deleted)
    now = datetime.now(UTC)
    entry.committed(CommittedObject("b", "k", "e", 1, b"\0" * 32, now, generation=generation, duplicate=duplicate))
    return entry


def test_the_highest_generation_holds_a_key_unless_it_was_deleted_and_none_is_made_twice() -> None:
    """I16, as the reckoning sees it."""
    first, second = _at_key(1), _at_key(2)
    ledger = Ledger([second, first, _at_key(2, duplicate=True)])
    assert ledger.holders() == {"k": second}
    assert ledger.violations == []
    assert Ledger([first, _at_key(2, deleted=True)]).holders() == {}
    twice = Ledger([first, _at_key(1, seed="y")])
    twice.holders()
    assert len(twice.violations) == 1
    assert "I16" in twice.violations[0]


def test_contents_are_their_seeds() -> None:
    assert content("a", 10) == content("a", 20)[:10] != content("b", 10)


# --- the links do what they are told ---


class Echo:
    """A server that answers each line, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.new = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            self.new.set()
            writer.write(line)
        writer.close()


async def _say(link: Link, line: bytes) -> bytes:
    host, _, port = link.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(line)
        return await reader.readline()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("fault", "answer", "arrives"),
    [
        (None, b"hello\n", True),
        (Fault.CUT_ANSWER, b"reset", True),
        (Fault.TEAR_REQUEST, b"", False),
        (Fault.DELAY_30_MS, b"hello\n", True),
        (Fault.RESET, b"reset", False),
    ],
)
async def test_a_link_does_to_a_call_what_its_weather_says(fault: Fault | None, answer: bytes, arrives: bool) -> None:
    echo = Echo()
    server = await asyncio.start_server(echo, LOOPBACK, 0)
    async with server, Link((LOOPBACK, server.sockets[0].getsockname()[1]), rng=random.Random(1)) as link:
        link.set(Weather(fault) if fault else None)
        assert await _say(link, b"hello\n") == answer
        if arrives:
            await asyncio.wait_for(echo.new.wait(), LATE)
        assert (echo.heard == [b"hello\n"]) == arrives
        assert link.suffered.total() == (fault is not None)


async def test_what_was_swallowed_lands_late_though_its_sender_has_left() -> None:
    """Section 12: a write that lands after its caller was told that nobody knows."""
    echo = Echo()
    server = await asyncio.start_server(echo, LOOPBACK, 0)
    async with server, Link((LOOPBACK, server.sockets[0].getsockname()[1]), rng=random.Random(1)) as link:
        link.set(Weather(Fault.BLACKHOLE))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_say(link, b"late\n"), 0.2)
        assert echo.heard == []
        link.set(None)
        await asyncio.wait_for(echo.new.wait(), LATE)
        assert echo.heard == [b"late\n"]
