"""What goes wrong between a service and the store, and when: data, so that a failing run can be told and shrunk."""

from __future__ import annotations

import random
from dataclasses import dataclass

TARGETS: tuple[tuple[str, str, int], ...] = (
    ("put", "/session.json", 2),
    ("put", "/requests/", 2),
    ("put", "/multipart.json", 3),
    ("put", "/receipts/", 3),
    ("put", "/decision.json", 6),
    ("put", "/done.json", 4),
    ("create_multipart", "", 3),
    ("upload_part", "", 4),
    ("complete_multipart", "", 6),
    ("abort_multipart", "", 3),
    ("delete", "", 3),
    ("head", "", 2),
    ("get", "/session.json", 3),
    ("get", "/decision.json", 3),
    ("get", "/done.json", 2),
    ("get", "/multipart.json", 1),
    ("list_objects", "", 3),
    ("list_parts", "", 2),
    ("list_uploads", "", 1),
    ("", "", 2),
)
"""(operation, part of the key, weight); "" fits all."""

READS = frozenset({"get", "head", "list_objects", "list_parts", "list_uploads", "read"})
ANY_KINDS = ("refused", "throttled", "slow", "slow_answer", "denied")
WRITE_KINDS = ("lost", "lost", "late", "late")
LONG = (0.05, 0.5, 5.0, 40.0, 90.0, 250.0, 600.0, 890.0)
"""Seconds that something is late: within an operation, beyond its deadline, beyond every retention."""


SHOWS_WITHIN = 0.25
"""Seconds: the looks that a committer takes after NoSuchUpload reach 0.3 s (roll_forward.HEADS_BEFORE_LOST)."""


@dataclass(frozen=True, slots=True)
class StoreFault:
    """The ``nth`` call (and ``times`` - 1 after it) of ``op`` on keys with ``part``, by processes named ``who``…

    Kinds: refused (an error, no effect), throttled (503), denied (403), conflict (409), lost (an effect, no answer),
    late (no answer; the effect after ``seconds``), slow (on its way for ``seconds``), slow_answer, early_abort (an
    abort is answered, and takes effect after ``seconds``), error200 (CMU: 200 with an error in it, the effect after
    ``seconds``, or none if 0), shows_late (CMU: the upload is gone at once, the object there after ``seconds``, and the
    answer after that), says_gone (CMU: NoSuchUpload, and the upload lives), lose_upload (the store forgets the upload
    that the call is about), crash_before and crash_after (its process dies, and comes back after ``seconds``),
    pause_before (the whole machine stands still just before the call is sent).
    """

    who: str
    op: str
    part: str
    nth: int
    times: int
    kind: str
    seconds: float = 0.0

    def __str__(self) -> str:
        calls = f"{self.nth}" if self.times == 1 else f"{self.nth}-{self.nth + self.times - 1}"
        long = f" {self.seconds:g} s" if self.seconds else ""
        return f"{self.kind}{long}: call {calls} of {self.op or 'any'} *{self.part}* by {self.who or 'any'}"


@dataclass(frozen=True, slots=True)
class Storm:
    """Every call of processes named ``who``… fails for ``seconds``: a store that is down, or asks for less."""

    who: str
    start: float
    seconds: float
    kind: str

    def __str__(self) -> str:
        return f"storm of {self.kind}: {self.seconds:g} s from {self.start:.2f} s, of {self.who or 'any'}"


class FaultBook:
    """The faults of one run. ``fired`` counts by kind."""

    def __init__(self, faults: list[StoreFault], storms: list[Storm], start: float) -> None:
        self._faults = faults
        self._storms = storms
        self._seen = [0] * len(faults)
        self._start = start
        self.fired: dict[str, int] = {}
        self.off = False

    def note(self, kind: str) -> None:
        self.fired[kind] = self.fired.get(kind, 0) + 1

    def of(self, who: str, op: str, key: str, now: float) -> StoreFault | None:
        """What happens to this call; None mostly."""
        if self.off:
            return None
        for storm in self._storms:
            if storm.start <= now - self._start < storm.start + storm.seconds and who.startswith(storm.who):
                self.note(f"storm {storm.kind}")
                return StoreFault("", "", "", 1, 1, storm.kind)
        found = None
        for number, fault in enumerate(self._faults):
            if (not fault.op or op == fault.op) and fault.part in key and who.startswith(fault.who):
                self._seen[number] += 1
                if found is None and 0 <= self._seen[number] - fault.nth < fault.times:
                    found = fault
        if found is not None:
            self.note(found.kind)
        return found


def store_fault(rng: random.Random) -> StoreFault:
    """A fault that makes sense for the call that it hits."""
    op, part, _ = rng.choices(TARGETS, weights=[weight for _, _, weight in TARGETS])[0]
    kinds = list(ANY_KINDS)
    if op not in READS and op:
        kinds += WRITE_KINDS * 2
    if part.endswith(".json") and op == "put":
        kinds += ["conflict"]
    if op == "complete_multipart":
        kinds += ["conflict", "error200", "error200", "shows_late", "says_gone", "lose_upload"]
    if op == "abort_multipart":
        kinds += ["early_abort"] * 4
    if op == "upload_part" and rng.random() < 0.1:
        kinds = ["lose_upload"]
    kind = rng.choice(kinds)
    if rng.random() < 0.3:
        kind = rng.choice(("crash_before", "crash_after", "pause_before", "pause_before"))
    seconds = 0.0
    if kind.startswith("crash"):
        seconds = rng.choice((0.2, 2.0, 30.0, 200.0))
    elif kind == "pause_before":
        seconds = rng.choice((3.0, 90.0, 330.0, 600.0, 880.0))
    elif kind in {"late", "slow", "slow_answer", "early_abort"}:
        seconds = rng.choice(LONG) * rng.uniform(0.5, 1.0)
    elif kind == "error200" and rng.random() < 0.7:
        seconds = rng.choice(LONG[:3])
    elif kind == "shows_late":
        seconds = rng.uniform(0.05, SHOWS_WITHIN)
    who = rng.choice(("", "", "ingest", "assembly", "assembly-0"))
    if op in {"complete_multipart", "abort_multipart", "delete", "head"} or "decision" in part or "done" in part:
        who = rng.choice(("", "assembly-0", "assembly-1"))
    return StoreFault(who, op, part, rng.choice((1, 1, 1, 2, 2, 3, 5)), rng.choice((1, 1, 1, 2, 4)), kind, seconds)
