"""A copy of the tree, in which tests run against code that lacks a guard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.catalogue import ROOT, Mutant
from tests.mutants.zygote import COLD

NOT_COPIED = shutil.ignore_patterns(
    ".venv",
    ".git",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "results",
    "*.egg-info",
)
TEST_SECONDS = 60
"""Until a test that hangs is one that fails."""
RUN_SECONDS = 900
"""Until a run that hangs is killed, which is nothing noticed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run of tests saw."""

    passed: list[str]
    failed: list[tuple[str, str]]
    """(node id, why) of tests that failed in their own body."""
    errors: list[tuple[str, str]]
    """What went wrong outside of a test's body; the run as such, too."""


class Workshop:
    """One copy, and the processes that run its tests. Not for two runs at once; close it."""

    def __init__(self, directory: Path, tests: Sequence[str]) -> None:
        """``tests``: all that will be run here."""
        self.root = directory / "tree"
        self._report = directory / "report.json"
        self._output = directory / "output.txt"
        self._changed: tuple[str, str, str] | None = None
        self._made = 0
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self._cold = self._zygote([])
        self._warm = self._zygote(sorted({test.partition("::")[0] for test in tests}))

    def _zygote(self, files: Sequence[str]) -> subprocess.Popen[str]:
        own = {"PYTHONPATH": str(self.root), "SEALANE_MUTANTS_REPORT": str(self._report), "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.zygote", *files],
            cwd=self.root,
            env={**os.environ, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the processes."""
        for zygote in (self._warm, self._cold):
            zygote.communicate()

    @contextmanager
    def without(self, mutant: Mutant) -> Iterator[None]:
        """The guard is away while the block runs. Stale."""
        path = self.root / mutant.file
        original = path.read_text(encoding="utf-8")
        before = path.stat()
        changed = mutant.applied_to(original)
        self._made += 1
        path.write_text(changed, encoding="utf-8")
        # Bytecode is known by whole seconds and size: each state of the file gets a second of its own.
        os.utime(path, (1_000_000_000 + self._made,) * 2)
        self._changed = (str(path), original, changed)
        try:
            yield
        finally:
            self._changed = None
            path.write_text(original, encoding="utf-8")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def run(self, tests: Sequence[str], *, to_the_end: bool = False) -> Seen:
        """Run ``tests`` against the copy, up to the first failure."""
        options = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.witness", "--hypothesis-seed=0"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", f"timeout={TEST_SECONDS}"]
        arguments = [*options, *([] if to_the_end else ["-x"]), *tests]
        if self._changed is None:
            return self._seen(self._ask(self._warm, arguments))
        code = self._ask(self._warm, arguments, swap=self._changed)
        return self._seen(self._ask(self._cold, arguments) if code == COLD else code)

    def _ask(self, zygote: subprocess.Popen[str], arguments: Sequence[str], **more: object) -> int:
        """pytest's exit code."""
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)  # no example from another run
        self._report.unlink(missing_ok=True)
        request = {"arguments": arguments, "output": str(self._output), "seconds": RUN_SECONDS, **more}
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        zygote.stdin.write(json.dumps(request) + "\n")
        zygote.stdin.flush()
        answer = zygote.stdout.readline()
        if not answer:
            raise RuntimeError("the process that runs the tests has ended")
        code: int = json.loads(answer)["code"]
        return code

    def _seen(self, code: int) -> Seen:
        output = self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""
        tail = " | ".join(output.strip().splitlines()[-3:])
        if not self._report.exists():
            return Seen([], [], [("pytest", f"exit {code}: {tail}")])
        said: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        errors = [(where, why) for where, why in said["errors"]]
        if said["imported_from"] != [str(self.root)]:
            errors.append(("pytest", f"the code was imported from {said['imported_from']}, not from the copy"))
        if code not in (0, 1):
            errors.append(("pytest", f"exit {code}: {tail}"))
        return Seen(said["passed"], [(test, why) for test, why in said["failed"]], errors)
