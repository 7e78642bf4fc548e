"""A pytest plugin (``-p tests.mutants.witness``): what a run saw, as JSON, for the mutation gate.

Written to the file that SEALANE_MUTANTS_REPORT names: which tests failed in their own body, what went wrong outside of
one (collection, fixtures), and from where the code was imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

PACKAGES = ("sealane", "ingest_service", "assembly_service")

_passed: list[str] = []
_failed: list[tuple[str, str]] = []
_errors: list[tuple[str, str]] = []


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:300]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        (_failed if report.when == "call" else _errors).append((report.nodeid, _why(report)))
    elif report.when == "call" and report.passed:
        _passed.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _errors.append((report.nodeid, _why(report)))


def pytest_sessionfinish() -> None:
    roots = {
        str(Path(str(file)).parents[name.count(".") + (Path(str(file)).name == "__init__.py")])
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in PACKAGES and (file := getattr(module, "__file__", None))
    }
    seen = {"passed": _passed, "failed": _failed, "errors": _errors, "imported_from": sorted(roots)}
    Path(os.environ["SEALANE_MUTANTS_REPORT"]).write_text(json.dumps(seen), encoding="utf-8")
