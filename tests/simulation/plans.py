"""What happens in one run: sessions, what clients do to them, and what goes wrong meanwhile. Plain data.

:mod:`tests.simulation.plan` draws it from a seed. It can be shrunk, item by item.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.simulation.faults import StoreFault, Storm

CHUNK = 1024
REPLICAS = 2
"""Of each service."""


@functools.cache
def _piece(stock: int, index: int) -> bytes:
    return random.Random(f"piece {stock} {index}").randbytes(CHUNK)


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One object to upload. ``size`` in bytes; ``told``: create names the size; ``ttl`` in seconds."""

    size: int
    told: bool
    ttl: int
    stock: int = 0
    """Which of the contents in stock it is."""
    key: str = ""
    """The key that the caller chooses."""
    match: int | None = None
    """With a key: the generation that it may replace; None: any."""
    neighbour: bool = False
    """Of another tenant, which calls it as the first session is called: by the same file name and request id."""

    @property
    def content(self) -> bytes:
        pieces = (_piece(self.stock, index) for index in range(-(-self.size // CHUNK)))
        return b"".join(pieces)[: self.size]

    def __str__(self) -> str:
        key = f" at {self.key} if {'any' if self.match is None else self.match}" if self.key else ""
        whose = "neighbour's " if self.neighbour else ""
        return f"{whose}session of {self.size} bytes{'' if self.told else ', untold'}{key}, ttl {self.ttl} s"


@dataclass(frozen=True, slots=True)
class Deed:
    """What one client does: ``kind`` names a function of :mod:`tests.simulation.deeds`; ``start`` in seconds."""

    kind: str
    session: int
    start: float
    seconds: float
    """The deadline of the whole."""
    parallel: int = 2
    chunks_per_stream: int = 4

    def __str__(self) -> str:
        return f"{self.kind} session {self.session} from {self.start:.2f} s, within {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class NetFault:
    """The ``nth`` call of ``method`` by ``who``…: lose_request, lose_answer, delay, delay_answer, cut, corrupt."""

    who: str
    method: str
    nth: int
    kind: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.seconds:.2f} s: call {self.nth} of {self.method} by {self.who or 'any'}"


@dataclass(frozen=True, slots=True)
class Fate:
    """Before its ``step``th step, ``who`` crashes (and comes back after ``seconds``, if not inf) or stands still.

    ``kind``: crash, pause (its clock stops, too: a paused machine), stop (SIGSTOP). ``life``: 0 is its first.
    """

    who: str
    life: int
    step: int
    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.who} (life {self.life}) before its step {self.step}, for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Cut:
    """``one``… and ``other``… can't hear each other."""

    one: str
    other: str
    start: float
    seconds: float

    def __str__(self) -> str:
        return f"partition of {self.one} and {self.other} from {self.start:.2f} s for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. The tuples are what shrinking takes items from."""

    seed: int
    dialect: str
    page: int
    pace: float
    sessions: tuple[SessionPlan, ...]
    deeds: tuple[Deed, ...]
    faults: tuple[StoreFault, ...] = ()
    storms: tuple[Storm, ...] = ()
    cuts: tuple[Cut, ...] = ()
    net: tuple[NetFault, ...] = ()
    fates: tuple[Fate, ...] = ()
    skews: tuple[tuple[str, float], ...] = ()
    strangers: tuple[str, ...] = ()
    """Chosen keys at which somebody else's objects lie from the start."""

    TROUBLES = ("deeds", "faults", "storms", "cuts", "net", "fates", "skews", "strangers")

    @property
    def calm(self) -> bool:
        """Nothing goes wrong."""
        return not (self.faults or self.storms or self.cuts or self.net or self.fates)

    def smaller(self) -> Iterator[Plan]:
        """This plan without one of its items, each in turn; the troubles before the deeds."""
        for name in reversed(self.TROUBLES):
            items = getattr(self, name)
            for index in range(len(items)):
                yield replace(self, **{name: items[:index] + items[index + 1 :]})

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.dialect}, pages of {self.page}, a pass every {self.pace:g} s"]
        lines += [f"  {number}: {session}" for number, session in enumerate(self.sessions)]
        for name in self.TROUBLES[:-2]:
            lines += [f"  {item}" for item in getattr(self, name)]
        lines += [f"  clock of {who} is wrong by {skew:g} s" for who, skew in self.skews]
        lines += [f"  somebody else's object at {key}" for key in self.strangers]
        return "\n".join(lines)
