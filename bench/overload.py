"""Ten times the load that fits: memory keeps its bound, goodput its height, and every tenant gets on.

``python -m bench.overload [--quick] [--json FILE] [--check]``
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import machine
from bench.offered_load import Clients, Offer, arriving, identities, offer, token_of
from bench.table import Report, Row, at_least, at_most
from ingest_service.settings import TRANSPORT_BYTES
from sealane.client import Client
from sealane.dev.cluster import Cluster
from sealane.dev.signals import Stopped, stop_on_signal
from sealane.domain.limits import MiB

SIZE = 32 * MiB
"""Of an object: four chunks, so streams come and go."""
SMALL = 64 << 10
STREAMS, BUDGET = 16, 160 * MiB
FITS = (Offer("steady", 4),)
"""Four streams at full speed, (4 + 1) chunks each: the whole budget."""
TEN_TIMES = (Offer("greedy", 28), Offer("many", 8), Offer("few", 3), Offer("one", 1))
TURNS = 2
"""How often both loads are offered, one after the other: a store that tires, or wakes, is so to both."""
_SAMPLE_SECONDS = 0.1


class Rss:
    """The most that a process had, of resident memory, bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.idle = self.most = 0

    def settle(self) -> None:
        """What it has now is idle."""
        self.idle = self.most = self._process.memory_info().rss

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        enough = threading.Event()

        def watch() -> None:
            while not enough.wait(_SAMPLE_SECONDS):
                self.most = max(self.most, self._process.memory_info().rss)

        thread = threading.Thread(target=watch, name="rss")
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()


def allowed(*, budget: int = BUDGET, streams: int = STREAMS) -> int:
    """Bytes over the idle process that overload may cost (docs/operations.md, Size)."""
    return (budget + streams * TRANSPORT_BYTES) * 11 // 10


@contextlib.contextmanager
def overloadable(directory: Path, tenants: Sequence[str], **settings: str) -> Iterator[Cluster]:
    """A store, one ingest of few streams and little memory, one assembly; a token a tenant."""
    directory.mkdir(parents=True, exist_ok=True)
    file, peer = directory / "identities.toml", directory / "peer.token"
    file.write_text(identities(tenants))
    peer.write_text(token_of("peer"))
    with Cluster(
        directory / "cluster",
        settings={
            "SEALANE_IDENTITY": "tokens",
            "SEALANE_IDENTITIES_FILE": str(file),
            "SEALANE_PEER_TOKEN_FILE": str(peer),
            "SEALANE_INGEST_MAX_STREAMS": str(STREAMS),
            "SEALANE_INGEST_MEMORY_BUDGET": str(BUDGET),
            **settings,
        },
    ) as cluster:
        yield cluster


@dataclass(frozen=True, slots=True)
class _Seen:
    fits: Counter[str]
    over: Counter[str]
    clients: Clients
    rss: Rss
    refused: int


async def _measure(cluster: Cluster, *, seconds: float, warm_up: float) -> _Seen:
    ingest, assembly = cluster.target("ingest"), cluster.target("assembly")
    clients = Clients()
    rss = Rss(cluster.of_kind("ingest")[0].pid)
    # A process that has served has its threads and connections: that is what idle is, not one that was just born.
    small = (Offer("steady", STREAMS // 2),)
    await offer(ingest, assembly, small, size=SMALL, clients=clients, uploads_each=2)
    rss.settle()
    fits, over = Counter[str](), Counter[str]()
    with rss.watched():
        for _ in range(TURNS):
            for offers, arrived in ((FITS, fits), (TEN_TIMES, over)):
                arrived += await arriving(
                    cluster, offers, size=SIZE, seconds=seconds / TURNS, warm_up=warm_up, clients=clients
                )
    async with Client(ingest, assembly, metadata=Clients.metadata("one")) as client:
        counts = (await client.get_server_info()).statistics
    return _Seen(fits, over, clients, rss, counts.errors_by_reason.get("OVERLOADED", 0))


def run(directory: Path, *, seconds: float, warm_up: float) -> Report:
    tenants = sorted({each.tenant for each in (*FITS, *TEN_TIMES)})
    with overloadable(directory, tenants, SEALANE_PROBE_PAGE_KEYS="10") as cluster:
        seen = asyncio.run(_measure(cluster, seconds=seconds, warm_up=warm_up))
    return _report(seen, seconds)


def _report(seen: _Seen, seconds: float) -> Report:
    def rate(stored: int) -> float:
        return stored / MiB / seconds

    peak, over = rate(seen.fits.total()), rate(seen.over.total())
    cost = seen.rss.most - seen.rss.idle
    greedy = rate(seen.over["greedy"]) / TEN_TIMES[0].streams
    least = min(rate(seen.over[each.tenant]) for each in TEN_TIMES)
    fits, ten = (sum(each.streams for each in offers) for offers in (FITS, TEN_TIMES))
    rows = [
        Row.of(f"goodput, {fits} streams: what fits", peak, "MiB/s"),
        Row.of(f"goodput, {ten} streams", over, "MiB/s"),
        Row.of("… of what fits", over / peak if peak else 0.0, "×", at_least(0.9)),
        Row.of("ingest's RSS, idle, after small uploads", seen.rss.idle / MiB, "MiB"),
        Row.of("… the most under load", seen.rss.most / MiB, "MiB"),
        Row.of("… over idle, of 1.1 × (budget + window × streams)", cost / allowed(), "×", at_most(1)),
    ]
    rows += [
        Row.of(f"tenant {each.tenant}, {each.streams} streams", rate(seen.over[each.tenant]), "MiB/s")
        for each in TEN_TIMES
    ]
    rows += [
        Row.of("the tenant with the least, over one greedy stream", least / max(greedy, 1e-9), "×", at_least(1)),
        Row.of("streams and calls that got OVERLOADED", seen.refused, ""),
        Row.of("failed uploads", len(seen.clients.failures), "", at_most(0)),
    ]
    return Report(
        "overload",
        f"one ingest of {STREAMS} streams and {BUDGET // MiB} MiB, for {seconds:g} s each, in {TURNS} turns",
        rows,
        (
            "Goodput counts chunks whose receipts the store shows. The clients share the machine with everything else.",
            *seen.clients.failures[:5],
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it work?")
    parser.add_argument("--seconds", type=float, help="of each measurement (default 30; quick: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args(arguments)
    seconds = options.seconds or (3.0 if options.quick else 30.0)
    described = machine.describe()
    print(machine.line(described), flush=True)
    with tempfile.TemporaryDirectory(prefix="sealane-overload-") as directory:
        report = run(Path(directory), seconds=seconds, warm_up=1.0 if options.quick else 5.0)
    print(f"\n{report}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"version": 1, "quick": options.quick, "machine": described, "benchmarks": [report.as_json()]}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if report.missed and options.check else 0


if __name__ == "__main__":
    try:
        with stop_on_signal():  # so that the temporary folder goes and nothing is left running
            sys.exit(main())
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
