"""The mutation gate's rows say what is in the tree. (That tests notice each of them is `make mutants`: minutes.)"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.catalogue import ROOT, Mutant, Stale, load
from tests.mutants.swap import swap

MUTANTS = load()


def test_every_guard_is_still_in_the_code_exactly_once_and_named_by_tests_that_exist() -> None:
    """Each row that is not says so: the guard has moved, or its test has another name now."""
    stale = []
    for mutant in MUTANTS:
        try:
            mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8"))
            mutant.require_tests()
        except (Stale, OSError) as error:
            stale.append(str(error))
    assert not stale, "\n\n".join(stale)


def test_no_mutant_uses_a_name_that_is_not_there(tmp_path: Path) -> None:
    """It would fail for that, and prove nothing about the tests."""
    pytest.importorskip("ruff")
    for mutant in MUTANTS:
        text = mutant.without_guard((ROOT / mutant.file).read_text(encoding="utf-8"))
        (tmp_path / f"{mutant.id}.py").write_text(text, encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821,F823", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_a_row_whose_text_is_gone_or_there_twice_says_what_to_do() -> None:
    row = Mutant("a-row", "a rule", "a.py", (("if guard:", "if True:"),), ("tests/unit/test_ids.py",))
    assert row.applied_to("if guard:\n    pass\n") == "if True:\n    pass\n"
    with pytest.raises(Stale, match=r"a-row: a\.py has this text 0 times.*\n.*if guard:"):
        row.applied_to("pass\n")
    with pytest.raises(Stale, match="has this text 2 times"):
        row.applied_to("if guard:\n    pass\nif guard:\n    pass\n")
    with pytest.raises(Stale, match="does not compile"):
        Mutant("a-row", "", "a.py", (("pass", "pass pass"),), ()).applied_to("pass\n")


def test_a_row_must_name_tests_that_exist() -> None:
    with pytest.raises(Stale, match="names no test"):
        Mutant("a-row", "", "a.py", (), ()).require_tests()
    with pytest.raises(Stale, match="there is no test"):
        Mutant("a-row", "", "a.py", (), ("tests/mutants/test_catalogue.py::test_that_nobody_wrote",)).require_tests()
    with pytest.raises(Stale, match=r"there is no tests/nowhere\.py"):
        Mutant("a-row", "", "a.py", (), ("tests/nowhere.py",)).require_tests()


def test_functions_get_their_new_code_in_a_process_that_has_imported_them_already(tmp_path: Path) -> None:
    """The warm half of the workshop; what is not inside of a function takes the cold one."""
    path = tmp_path / "guarded.py"
    original = "LIMIT = 1\n\n\nclass Guard:\n    def passes(self, value):\n        return value < LIMIT\n"
    path.write_text(original, encoding="utf-8")
    code = compile(original, str(path), "exec", dont_inherit=True)
    module: dict[str, Any] = {"__name__": "guarded"}
    exec(code, module)
    guard = module["Guard"]()
    assert not guard.passes(5)
    assert not swap(str(path), original, original.replace("LIMIT = 1", "LIMIT = 9"))
    assert swap(str(path), original, original.replace("value < LIMIT", "value < LIMIT + 9"))
    assert guard.passes(5)
