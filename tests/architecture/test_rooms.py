"""How the suite is spread over two workers: tests that share processes stay on one, or they would start them twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Rooms

ROOT = Path(__file__).parents[2]


def scope(nodeid: str) -> str:
    return Rooms._split_scope(object.__new__(Rooms), nodeid)  # it reads nothing but the id


def test_a_file_is_one_room() -> None:
    assert scope("tests/unit/test_ids.py::test_a[x::y]") == scope("tests/unit/test_ids.py::test_b")
    assert scope("tests/unit/test_ids.py::test_a") != scope("tests/unit/test_keys.py::test_a")


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "e2e").glob("test_*.py")), ids=lambda path: path.name)
def test_whoever_uses_the_shared_cluster_is_in_its_room(path: Path) -> None:
    fixtures = ("cluster: Cluster", "sealane: Commands", "committed: dict")
    uses = any(fixture in path.read_text(encoding="utf-8") for fixture in fixtures)
    assert scope(f"tests/e2e/{path.name}::test_it") == "cluster" or not uses
