"""How the suite is spread over workers: tests that share processes stay on one, or they would start them twice."""

from __future__ import annotations

import pytest

from tests.conftest import Rooms


def scope(nodeid: str) -> str:
    return Rooms._split_scope(object.__new__(Rooms), nodeid)  # it reads nothing but the id


def test_a_file_is_one_room() -> None:
    assert scope("tests/unit/test_ids.py::test_a[x::y]") == scope("tests/unit/test_ids.py::test_b")
    assert scope("tests/unit/test_ids.py::test_a") != scope("tests/unit/test_keys.py::test_a")


@pytest.mark.parametrize(
    "name", ["test_cli_put", "test_replicas", "test_rolling", "test_store_away", "test_cli_doctor"]
)
def test_who_uses_the_shared_cluster_is_in_its_room(name: str) -> None:
    assert scope(f"tests/e2e/{name}.py::test_it") == "cluster"


@pytest.mark.parametrize("name", ["test_cli_dev", "test_secured", "test_observability"])
def test_who_starts_processes_of_their_own_may_run_beside(name: str) -> None:
    assert scope(f"tests/e2e/{name}.py::test_it") == f"tests/e2e/{name}.py"
