"""The operator's desk: says each command and what it answered, as in a terminal; goes no further if that is wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
INHERITED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
WAIT_SECONDS = 90.0


class Stumbled(AssertionError):
    """Something was not as the docs say. The text says which, and what was seen."""


@dataclass
class Desk:
    """``env`` is the operator's own environment, ``directory`` where all files are."""

    directory: Path
    env: dict[str, str] = field(default_factory=dict)
    secret: str = ""
    """Shown as a command line would have it, never itself."""

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What every program here runs with: nothing of whoever started the walk but the basics."""
        basic = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return basic | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"} | self.env | dict(more or {})

    def say(self, text: str) -> None:
        print(text, flush=True)

    def head(self, text: str) -> None:
        self.say(f"\n== {text}")

    def run(
        self, *words: str, code: int = 0, show: Sequence[str] | int = 20, env: Mapping[str, str] | None = None
    ) -> str:
        """Run a command to its end. ``show`` is how many lines, or which (those that have one of the words).

        Stumbled if it does not end with ``code``. Its stdout and stderr.
        """
        done = subprocess.run(
            words,
            env=self.environment(env),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=240,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        if isinstance(show, int):
            shown = lines[:show]
        else:
            shown = [line for line in lines if any(word in line for word in show)]
        self.say(f"$ {self._typed(words)}")
        for line in shown:
            self.say(f"  {line[:300]}")
        if code != 0:
            self.say(f"  (exit code {done.returncode})")
        if done.returncode != code:
            raise Stumbled(f"{shlex.join(words)}: exit code {done.returncode}, not {code}\n{done.stdout}")
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that goes on while other things happen; :meth:`end` waits for it."""
        self.say(f"$ {self._typed(words)} &")
        return self._popen(words)

    def answer(self, *words: str) -> str:
        """What a command writes, without a word of it here: for asking again and again."""
        with self._popen(words) as asked:
            return asked.communicate(timeout=30)[0]

    def _popen(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            env=self.environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def end(self, begun: subprocess.Popen[str], what: str) -> str:
        """Its output. Stumbled if it failed, or does not end."""
        try:
            output, _ = begun.communicate(timeout=240)
        finally:
            begun.kill()
        self.check(begun.returncode == 0, f"{what}: exit code {begun.returncode}", output)
        return output

    def check(self, holds: bool, what: str, seen: object = "") -> None:
        """A fact that the docs promise."""
        self.say(f"  {'✓' if holds else '✗'} {what}")
        if not holds:
            raise Stumbled(f"{what}: {seen}")

    def until(self, what: str, holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Wait for a condition, and say how long that took."""
        begun = time.monotonic()
        while not holds():
            if time.monotonic() - begun > seconds:
                self.check(False, f"{what} within {seconds:.0f} s")
            time.sleep(0.2)
        self.check(True, f"{what} ({time.monotonic() - begun:.0f} s)")

    def _typed(self, words: Sequence[str]) -> str:
        """As one would type it in the directory."""
        name = Path(words[0]).name
        return (
            shlex.join([name, *words[1:]])
            .replace(f"{self.directory}/", "")
            .replace(self.secret or "\0", "$(cat token)")
        )
