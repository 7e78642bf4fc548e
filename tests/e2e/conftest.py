"""A real cluster of processes for all end-to-end tests: SeaweedFS, two ingest, two assembly, and commands as users run
them. Tests share it; one that kills a service starts a cluster of its own, or puts it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import CHUNK, Commands, Content, commands, write_content

from sealane.dev.cluster import Cluster

HERE = Path(__file__).parent
PATIENCE_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for five programs to start; on a busy machine that alone takes a minute."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE_SECONDS))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """SeaweedFS, two ingest and two assembly processes. Calls are spread over the replicas."""
    running = Cluster(
        tmp_path_factory.mktemp("cluster"),
        ingest=2,
        assembly=2,
        # Tests restart them, and take the store away; tests/contract probe it in full.
        settings={"SEALANE_PROBE_PAGE_KEYS": "20", "SEALANE_STORE_LOOK_SECONDS": "1"},
    )
    try:
        yield running.start()
    finally:
        running.kill()  # nobody will ask for the data again


@pytest.fixture
def sealane(cluster: Cluster, tmp_path: Path) -> Commands:
    """`sealane …` on the shared cluster, in a fresh folder, with a journal folder of its own."""
    return commands(cluster, tmp_path)


@pytest.fixture(scope="session")
def three_chunks(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Two whole chunks and a short third of 1,001 bytes."""
    return write_content(tmp_path_factory.mktemp("content") / "three.bin", 2 * CHUNK + 1001)


@pytest.fixture(scope="session")
def committed(cluster: Cluster, three_chunks: Content, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer of a `sealane put --json` of three_chunks: for tests that only look."""
    put = commands(cluster, tmp_path_factory.mktemp("committed"))("put", three_chunks.path, "--json")
    assert put.code == 0, put.err
    return put.document
