"""Rounds of plays, with an honest client between them, and the books afterwards: nothing hangs, nothing grows."""

from __future__ import annotations

import asyncio
import gc
import platform
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psutil
from blake3 import blake3

from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket

from .plays import KIB, Attacker, Judge
from .world import World, until, world

AT_ONCE = 8
PLAYS_A_ROUND = 200
_WARM_UP_ROUNDS = 4
SESSIONS_A_ROUND = 6
MAX_GROWTH = 48 << 20
"""Bytes of RSS from the fourth round to the last: the allocator breathes, a leak of a million messages does not fit."""


@dataclass
class Books:
    """What a run did, and what was found."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    judge: Judge = field(default_factory=Judge)
    received: int = 0
    received_bytes: int = 0
    honest_objects: int = 0
    rss_first: int = 0
    rss_last: int = 0
    tasks_first: int = 0
    tasks_last: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.wrong

    def document(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "python": platform.python_version(),
            "rounds": self.rounds,
            "plays": dict(self.judge.plays),
            "messages_sent": self.judge.sent,
            "messages_received": self.received,
            "bytes_received": self.received_bytes,
            "answers": dict(self.judge.answers.most_common()),
            "honest_objects": self.honest_objects,
            "rss_growth_bytes": self.rss_last - self.rss_first,
            "tasks_growth": self.tasks_last - self.tasks_first,
            "wrong": self.wrong,
        }


async def fuzz(seed: int, *, messages: int | None = None, seconds: float | None = None) -> Books:
    """Until ``messages`` have been read by the servers, or ``seconds`` have passed."""
    books, rng = Books(seed), random.Random(seed)
    began = time.monotonic()
    store = SimulatedStore()
    async with world(store) as subject:
        while True:
            await _round(subject, books, random.Random(rng.random()))
            _sweep_away(store)
            books.rounds += 1
            books.received, books.received_bytes = subject.received.messages, subject.received.bytes
            await _look(subject, books)
            over = seconds is not None and time.monotonic() - began > seconds
            if books.wrong or over or (messages is not None and books.received >= messages):
                break
        books.wrong += _growth(books)
        if subject.bugs:
            books.wrong.append(f"{subject.bugs} answers were INTERNAL")
        books.wrong += [f"alarm: {event} {facts}" for event, facts in subject.events.alarms[:5]]
    books.seconds = time.monotonic() - began
    return books


async def _round(subject: World, books: Books, rng: random.Random) -> None:
    honest = rng.randbytes(3 * KIB + 17)
    mine = await subject.create(size=len(honest), filename="honest.bin")
    await subject.put_chunk(mine, 0, honest[:KIB])
    sessions = [await subject.create(size=4 * KIB) for _ in range(SESSIONS_A_ROUND)]
    sessions.append(await subject.create())  # of unknown size
    plays = iter(range(PLAYS_A_ROUND))

    async def attack(attacker: Attacker) -> None:
        for _ in plays:
            await attacker.play()

    async with asyncio.TaskGroup() as attackers:
        for _ in range(AT_ONCE):
            attackers.create_task(attack(Attacker(subject, books.judge, random.Random(rng.random()), sessions)))
    for index in (3, 1, 2):
        await subject.put_chunk(mine, index, honest[index * KIB : (index + 1) * KIB])
    answer = await subject.commit(mine, honest)
    if answer.blake3 != blake3(honest).digest():
        books.wrong.append("an honest object has a wrong digest")
    books.honest_objects += 1
    books.wrong += books.judge.wrong


async def _look(subject: World, books: Books) -> None:
    """At rest after every round; and how large we are."""
    try:
        await until(subject.at_rest, what="streams and bytes of chunks are given back")
    except AssertionError as error:
        memory, streams = subject.ingest.memory.in_use, subject.ingest.streams.held
        books.wrong.append(f"{error}: {memory} bytes, {streams} streams")
    gc.collect()
    books.rss_last, books.tasks_last = psutil.Process().memory_info().rss, len(asyncio.all_tasks())
    if books.rounds <= _WARM_UP_ROUNDS:
        books.rss_first, books.tasks_first = books.rss_last, books.tasks_last


def _growth(books: Books) -> list[str]:
    wrong: list[str] = []
    if books.rss_last - books.rss_first > MAX_GROWTH:
        wrong.append(f"RSS grew by {(books.rss_last - books.rss_first) >> 20} MiB")
    if books.tasks_last > books.tasks_first + AT_ONCE:
        wrong.append(f"tasks grew from {books.tasks_first} to {books.tasks_last}")
    return wrong


def _sweep_away(store: SimulatedStore) -> None:
    """What a round has stored is as much as it asked for: not the services' growth."""
    store.state = SimulatedBucket()
    store.calls.clear()


def table(books: Books) -> list[tuple[str, str]]:
    """For people."""

    def counts(counter: Counter[str]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())

    return [
        ("seed", str(books.seed)),
        ("minutes", f"{books.seconds / 60:.1f}"),
        ("messages that the servers read", f"{books.received:,} ({books.received_bytes:,} bytes)"),
        ("plays", f"{books.judge.plays.total():,}: {counts(books.judge.plays)}"),
        ("answers", counts(books.judge.answers)),
        ("honest objects between them", f"{books.honest_objects:,}"),
        ("RSS, from round 4 to the last", f"{(books.rss_last - books.rss_first) / (1 << 20):+.1f} MiB"),
        ("tasks, from round 4 to the last", f"{books.tasks_last - books.tasks_first:+d}"),
        ("wrong", str(len(books.wrong))),
    ]
