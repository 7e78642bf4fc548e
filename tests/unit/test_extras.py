"""What is not installed is named, with the command that brings it: no traceback. Each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sealane.extras import needed


def run(missing: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``program`` where ``import missing`` fails as it does where it is not installed."""
    code = (
        f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv = [{program!r}, *sys.argv[1:]];"
        f"runpy.run_module({program!r}, run_name='__main__', alter_sys=False)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd="/"
    )


@pytest.mark.parametrize(
    ("missing", "program", "arguments", "extra"),
    [
        ("click", "sealane.cli", ["status"], "cli"),
        ("cryptography", "sealane.cli", ["dev"], "cli,server,dev-store"),
        ("urllib3", "sealane.cli", ["doctor", "--endpoint", "http://127.0.0.1:9", "--bucket", "b"], "cli,server"),
        ("structlog", "sealane.cli", ["doctor", "--endpoint", "http://127.0.0.1:9", "--bucket", "b"], "cli,server"),
        ("pydantic_settings", "ingest_service", [], "server"),
        ("structlog", "assembly_service", [], "server"),
    ],
)
def test_a_part_that_is_not_installed_is_named(missing: str, program: str, arguments: list[str], extra: str) -> None:
    done = run(missing, program, *arguments)
    assert done.returncode == 1, done.stderr
    assert f"sealane: {missing} is not installed" in done.stderr
    assert f"pip install 'sealane[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_programs_are_told_likewise() -> None:
    done = run("cryptography", "sealane.cli", "dev", "--json")
    error = json.loads(done.stderr)["error"]
    assert (error["reason"], error["exit_code"]) == ("NOT_INSTALLED", 1)
    assert error["hint"] == "pip install 'sealane[cli,server,dev-store]'"


def test_a_module_of_ours_that_is_not_there_is_a_bug_and_says_so() -> None:
    with pytest.raises(ModuleNotFoundError), needed("server"):
        import sealane.no_such_module  # noqa: F401
