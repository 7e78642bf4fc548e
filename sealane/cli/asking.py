"""What `sealane doctor` still waits for, as one line drawn in place: rows come only as they end."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from sealane.cli.output import Output

_CLEAR = "\r\x1b[K"


class Asking:
    """A context manager. Where stderr is no terminal, or with ``--json``, it says nothing at all."""

    def __init__(self, output: Output) -> None:
        self._live = output.live
        self._open: list[str] = []

    def __enter__(self) -> Self:
        self._draw("reaching the store …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw("")

    def began(self, guarantee: str) -> None:
        """It is being tried now."""
        self._open.append(guarantee)
        self._draw(f"trying {', '.join(self._open)} …")

    def ended(self, guarantee: str) -> None:
        """It has its row, which is printed now: the line makes room. :meth:`go_on` follows."""
        self._open.remove(guarantee)
        self._draw("")

    def go_on(self) -> None:
        self._draw(f"trying {', '.join(self._open)} …" if self._open else "removing what was written …")

    def _draw(self, text: str) -> None:
        if self._live:
            print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)
