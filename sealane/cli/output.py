"""What goes where: results to stdout, everything else to stderr.

With ``--json``, stdout holds one JSON document (indented; commands that stream write one a line, compact), and stderr
nothing but, when the command fails, one line ``{"error": {…}}``. Without it, stdout holds the result for people to
read and stderr progress, advice and errors. ``--quiet`` keeps progress and advice away.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealane.cli import text
from sealane.domain.chunks import ChunkRange


@dataclass(frozen=True, slots=True)
class Output:
    """How one command speaks."""

    as_json: bool = False
    quiet: bool = False

    def document(self, value: Mapping[str, Any]) -> None:
        """The whole result, as JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)

    def record(self, value: Mapping[str, Any]) -> None:
        """One of several results, as a line of JSON."""
        print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """The result as names and values, one a line, values aligned. Rows without a value are left out."""
        shown = [(name, text.printable(value)) for name, value in rows if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            print(f"{name:<{width}}  {value}")
        sys.stdout.flush()

    def line(self, value: str = "") -> None:
        """One line of the result, for people."""
        print(value, flush=True)

    def note(self, value: str) -> None:
        """Progress or advice: for people who watch, on stderr."""
        if not self.as_json and not self.quiet:
            print(value, file=sys.stderr, flush=True)

    @property
    def live(self) -> bool:
        """Whether progress may be drawn in place: stderr is a terminal that can move its cursor."""
        return not self.as_json and not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def bar(self, count: int, missing: Sequence[ChunkRange]) -> str:
        """Coverage as a bar that stdout can print."""
        drawn = text.coverage_bar(count, missing)
        try:
            drawn.encode(sys.stdout.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return text.ascii_only(drawn)
        return drawn


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, a line each, plain text: to read, and to cut and sort."""
    cells = [list(headings), *([text.printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
