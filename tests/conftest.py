"""What every kind of test shares: one real store for a run (for each core of it), a bucket of its own for each test."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import urllib3
from hypothesis import settings
from minio import Minio
from xdist.scheduler import LoadScopeScheduling

from sealane.dev.seaweed import SeaweedFS

settings.register_profile("sealane", deadline=None)  # the machine may be busy; what is slow is no failure
settings.load_profile("sealane")
# A run in the background of a script inherits an ignored SIGINT, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
HERE = Path(__file__).parent
LONGEST_FIRST = ("e2e", "chaos", "simulation", "model", "hostile", "contract")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for processes comes first, so that it ends while the rest still has something to do."""

    def room(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=room)  # stable: the order within a folder stays


class Rooms(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests run on one worker, as do all files that share the one cluster of tests/e2e/conftest.py.

    Not ``--dist loadgroup``: xdist 3.8 marks groups in an attribute that pytest 9.2 no longer reads, and without a word
    every test is then a group of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "cluster" if path.startswith("tests/e2e/") and _shares_the_cluster(HERE.parent / path) else path


@cache
def _shares_the_cluster(path: Path) -> bool:
    """Whether a test of that file asks for one of the fixtures that are made of the shared cluster."""
    text = path.read_text(encoding="utf-8")
    return any(fixture in text for fixture in ("(cluster: Cluster", "sealane: Commands", "committed: dict"))


@pytest.hookimpl(optionalhook=True)  # without xdist nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Rooms:
    return Rooms(config, log)


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ingest processes of one run compile the hash kernel once, and load it after that."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("kernel")))
        yield


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One SeaweedFS for the whole run. Tests share it: don't stop it; a test that must starts one of its own."""
    directory: Path = tmp_path_factory.mktemp("seaweedfs")
    store = SeaweedFS(directory, access_key="sealane-test", secret_key=secrets.token_hex(16))
    try:
        yield store.start()
    finally:
        store.kill()  # nobody will ask for the data again


@pytest.fixture(scope="session")
def plain_client() -> Callable[[SeaweedFS], Minio]:
    """A store as any S3 client sees it: the plain SDK, nothing of ours between. It doesn't retry."""

    def connect(store: SeaweedFS) -> Minio:
        return Minio(
            store.endpoint.removeprefix("http://"),
            access_key=store.access_key,
            secret_key=store.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                retries=urllib3.Retry(total=False), timeout=urllib3.Timeout(connect=5.0, read=30.0)
            ),
        )

    return connect


@pytest.fixture(scope="session")
def plain_s3(seaweed: SeaweedFS, plain_client: Callable[[SeaweedFS], Minio]) -> Minio:
    """The shared store through the plain `minio` SDK."""
    return plain_client(seaweed)


@pytest.fixture
def bucket(plain_s3: Minio) -> Iterator[str]:
    """A fresh, empty bucket in the shared store; it and all that is in it go at the end of the test."""
    name = f"test-{secrets.token_hex(6)}"
    plain_s3.make_bucket(name)
    yield name
    plain_s3.remove_bucket(name)  # SeaweedFS removes what is in it, too, and the volume that it took
