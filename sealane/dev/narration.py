"""A demonstration told as it happens: numbered steps, commands and their output, and checks that must hold."""

from __future__ import annotations

import os
import sys
import time


class DemoFailed(Exception):
    """Something was not as it must be. The text says what."""


class Narrator:
    """Numbered steps, commands and their output, and checks."""

    def __init__(self) -> None:
        self._number = 0
        self._began = time.monotonic()
        self._bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def step(self, title: str) -> None:
        self._number += 1
        line = f"{self._number}. {title}"
        print(f"\n\033[1m{line}\033[0m" if self._bold else f"\n{line}", flush=True)

    def say(self, line: str) -> None:
        print(f"   {line}", flush=True)

    def command(self, *words: str) -> None:
        self.say(f"$ {' '.join(words)}")

    def output(self, lines: str) -> None:
        for line in lines.rstrip("\n").splitlines():
            print(f"   │ {line}", flush=True)

    def check(self, what: str, ok: bool) -> None:
        """Say whether it holds; DemoFailed if not."""
        self.say(f"{'✓' if ok else '✗'} {what}")
        if not ok:
            raise DemoFailed(what)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began
