"""The guards of the protocol as they stand in the code, one row each: what to take away, and who must notice.

The rows are in the `.toml` files beside this module, one for each part of the house:

    [[guard]]
    id = "c5-session-behind-the-decision"
    rule = "5 C5 ⚠: session.json is read again behind the decision"
    file = "assembly_service/commit.py"
    old = '''what the code says'''
    new = '''what it says without the guard'''
    tests = ["service/assembly/test_assembly_commit_decision.py::test_c5_…"]

`rule` begins with the section of docs/protocol.md. `old` is in the file exactly once. `tests` are under tests/, quick
ones, of which at least one must fail.

A guard that takes two changes has `edits = [[old, new], [old, new]]`. A row with `redundant = "why"` is a guard whose
removal nothing can show, because another one stands behind it; the gate then demands that its tests pass.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOT = TESTS.parent


class Stale(Exception):
    """A row that no longer says what is in the tree. ``str()`` says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, and its removal."""

    id: str
    rule: str
    file: str
    """Relative to the root."""
    edits: tuple[tuple[str, str], ...]
    """(old, new), each old text exactly once in the file as the edits before it left it."""
    tests: tuple[str, ...]
    """pytest's node ids, relative to the root."""
    redundant: str = ""

    def applied_to(self, text: str) -> str:
        """The file without the guard. Stale unless every old text is there exactly once, and the result compiles."""
        text = self.without_guard(text)
        try:
            compile(text, self.file, "exec")
        except SyntaxError as error:
            raise Stale(f"{self.id}: {self.file} does not compile without the guard: {error}") from error
        return text

    def without_guard(self, text: str) -> str:
        """As :meth:`applied_to`, whether it compiles or not."""
        for old, new in self.edits:
            if (count := text.count(old)) != 1:
                raise Stale(
                    f"{self.id}: {self.file} has this text {count} times, not once; say in tests/mutants what the "
                    f"guard looks like now:\n{old}"
                )
            if old == new:
                raise Stale(f"{self.id}: the old text is the new one")
            text = text.replace(old, new)
        return text

    def require_tests(self, root: Path = ROOT) -> None:
        """Stale unless every test that the row names is in the tree."""
        if not self.tests:
            raise Stale(f"{self.id} names no test")
        for test in self.tests:
            file, _, name = test.partition("::")
            if name and name.partition("[")[0] not in _test_names(root / file):
                raise Stale(f"{self.id}: there is no test {test}; name the one that notices now")
            if not (root / file).exists():
                raise Stale(f"{self.id}: there is no {file}")


@cache
def _test_names(file: Path) -> frozenset[str]:
    if not file.exists():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def load() -> list[Mutant]:
    """All rows, file by file. ValueError if an id is there twice."""
    rows = [row for path in sorted(HERE.glob("*.toml")) for row in _rows(path)]
    ids = [row.id for row in rows]
    if twice := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"ids that are there more than once: {sorted(twice)}")
    return rows


def _rows(path: Path) -> Iterator[Mutant]:
    for values in tomllib.loads(path.read_text(encoding="utf-8"))["guard"]:
        edits = values.pop("edits", None) or [[values.pop("old"), values.pop("new")]]
        tests = tuple(f"tests/{test}" for test in values.pop("tests"))
        yield Mutant(edits=tuple((old, new) for old, new in edits), tests=tests, **values)
