"""A readable account of one run: time, who, what, what came of it."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9a-f]{32}")
_RECEIPT = re.compile(r"(receipts/\d+\.\d+\.)(.{6})[^ ]*")


class Trace:
    """Lines as they happen; ids and digests shortened."""

    def __init__(self, start: float) -> None:
        self._start = start
        self.lines: list[str] = []
        self._names: dict[str, str] = {}

    def tell(self, now: float, who: str, what: str, outcome: str) -> None:
        text = f"{now - self._start:10.3f}  {who:12} {what}"
        if outcome:
            text = f"{text} -> {outcome}"
        self.lines.append(_ID.sub(self._short, _RECEIPT.sub(r"\1\2…", text)))

    def _short(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], match[0][:6] + "…")
