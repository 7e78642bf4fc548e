"""Progress of bytes on stderr: a bar drawn in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from sealane.cli import text
from sealane.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY_PERCENT = 10
_LINE_EVERY_SECONDS = 10.0
_WINDOW_SECONDS = 5.0
_LINE_EVERY_BYTES = 256 << 20
"""Of what has no known size."""


class Meter(Protocol):
    """A context manager that is told how far it is."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, done: int, total: int | None, *, already: int = 0, note: str = "") -> None:
        """``done`` of ``total`` bytes; ``already`` of them were done before this run, and don't count for the rate."""


def meter(output: Output, title: str) -> Meter:
    """The meter that fits where stderr goes."""
    if output.live:
        return _Bar(title)
    return _Lines(output.note)


class Pace:
    """Bytes a second over the latest few seconds: what a stall or a resume does to the rate soon shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._moved = 0

    def rate(self, done: int, already: int) -> float:
        """Bytes a second; 0 while nothing is known. ``done`` may fall (a broken stream): that is no progress."""
        now = self._clock()
        self._moved = max(self._moved, done - already)
        self._looks.append((now, self._moved))
        while len(self._looks) > 2 and self._looks[1][0] <= now - _WINDOW_SECONDS:
            self._looks.popleft()
        then, before = self._looks[0]
        return (self._moved - before) / (now - then) if now > then else 0.0


class _Lines:
    """A line at every tenth of the way, and at least every ten seconds while there is news."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._pace = Pace(clock)
        self._said_step = -1
        self._said_done = -1
        self._said_at = clock()
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, done: int, total: int | None, *, already: int = 0, note: str = "") -> None:
        rate = self._pace.rate(done, already)
        if note and note != self._note:
            self._say(note)
        self._note = note
        step = 100 * done // total // _LINE_EVERY_PERCENT if total else done // _LINE_EVERY_BYTES
        now = self._clock()
        late = now - self._said_at >= _LINE_EVERY_SECONDS and done != self._said_done
        if step <= self._said_step and not late:
            return
        self._said_step, self._said_done, self._said_at = max(step, self._said_step), done, now
        self._say(_line(done, total, rate))


def _line(done: int, total: int | None, rate: float) -> str:
    speed = f"  {text.rate(rate)}" if rate else ""
    if not total:
        return f"{text.size(done)}{speed}"
    left = f"  {remaining}" if (remaining := _left(done, total, rate)) else ""
    return f"{100 * done // total:>3}%  {text.size(done)} of {text.size(total)}{speed}{left}"


def _left(done: int, total: int | None, rate: float) -> str:
    """The time that is left at this rate; "" if it can't be known, or is over before it is read."""
    seconds = (total - done) / rate if rate and total else 0.0
    return f"{text.duration(seconds)} left" if seconds >= 1 else ""


class _Bar:
    """rich's bar: share, bytes, rate, remaining time. Colours by NO_COLOR's rule, which rich keeps."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._pace = Pace()

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[moved]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
            console=Console(stderr=True),
        )
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, done: int, total: int | None, *, already: int = 0, note: str = "") -> None:
        assert self._progress is not None
        rate = self._pace.rate(done, already)
        moved = f"{text.size(done)} of {text.size(total)}" if total is not None else text.size(done)
        fields: dict[str, Any] = {
            "moved": moved,
            "rate": text.rate(rate) if rate else "",
            "left": note or _left(done, total, rate),
        }
        if self._task is None:
            self._task = self._progress.add_task(self._title, total=total, completed=done, **fields)
        self._progress.update(self._task, total=total, completed=done, **fields)
