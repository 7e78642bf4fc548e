"""The embedded SeaweedFS: it starts, it stores, it survives, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from minio import Minio, S3Error

from sealane.dev import seaweed as module
from sealane.dev.process import StartFailed
from sealane.dev.seaweed import SeaweedFS, SeaweedPorts, StoreNotInstalled, weed_program

Connect = Callable[[SeaweedFS], Minio]

pytestmark = pytest.mark.real_store


def put(client: Minio, bucket: str, key: str, body: bytes) -> None:
    client.put_object(bucket, key, io.BytesIO(body), len(body))


def get(client: Minio, bucket: str, key: str) -> bytes:
    with client.get_object(bucket, key) as answer:
        return answer.read()


def leftovers(store: SeaweedFS) -> list[str]:
    """Processes, listening ports and Unix sockets of it that are still there."""
    ports = {*dataclasses.astuple(store.ports), store.ports.admin_grpc}
    found = [f"pid {store.pid}"] if psutil.pid_exists(store.pid) else []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if str(store.directory) in " ".join(process.info["cmdline"] or ()):
            found.append(f"a process on its directory, pid {process.info['pid']}")
    found += [str(path) for path in Path("/tmp").glob("seaweedfs-*.sock") if int(path.stem.split("-")[-1]) in ports]
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                found.append(f"port {port}")
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A SeaweedFS that this test may kill."""
    store = SeaweedFS(tmp_path / "own", bucket="mine", access_key="key", secret_key=secrets.token_hex(16))
    yield store
    store.kill()


def test_an_object_put_with_the_plain_sdk_comes_back(plain_s3: Minio, bucket: str) -> None:
    put(plain_s3, bucket, "a/b", b"bytes" * 1_000_000)
    assert get(plain_s3, bucket, "a/b") == b"bytes" * 1_000_000


def test_every_test_gets_an_empty_bucket_of_its_own(plain_s3: Minio, bucket: str) -> None:
    assert list(plain_s3.list_objects(bucket, recursive=True)) == []


def test_a_bucket_that_nobody_made_is_an_error_as_in_real_stores(plain_s3: Minio) -> None:
    with pytest.raises(S3Error) as caught:
        put(plain_s3, "nobody-made-this", "key", b"x")
    assert caught.value.code == "NoSuchBucket"


def test_two_run_at_once_and_do_not_share_anything(seaweed: SeaweedFS, own: SeaweedFS, plain_client: Connect) -> None:
    own.start()
    assert own.endpoint != seaweed.endpoint
    put(plain_client(own), "mine", "key", b"mine")
    with pytest.raises(S3Error):
        get(plain_client(seaweed), "mine", "key")


def test_sigkill_and_restart_keep_the_data_the_ports_and_lose_nothing(own: SeaweedFS, plain_client: Connect) -> None:
    own.start()
    endpoint, first = own.endpoint, own.pid
    client = plain_client(own)
    for index in range(20):
        put(client, "mine", f"small/{index}", b"%d" % index)
    put(client, "mine", "large", b"large" * 2_000_000)
    own.kill()
    assert not own.running
    assert leftovers(own) == []
    own.restart()
    assert (own.endpoint, own.pid != first) == (endpoint, True)
    client = plain_client(own)
    assert [get(client, "mine", f"small/{index}") for index in range(20)] == [b"%d" % i for i in range(20)]
    assert get(client, "mine", "large") == b"large" * 2_000_000


def test_a_later_store_on_the_same_directory_with_other_ports_finds_the_data(
    own: SeaweedFS, plain_client: Connect
) -> None:
    own.start()
    put(plain_client(own), "mine", "key", b"kept")
    own.stop()
    with SeaweedFS(own.directory, bucket="mine", access_key=own.access_key, secret_key=own.secret_key) as later:
        assert later.ports != own.ports
        assert get(plain_client(later), "mine", "key") == b"kept"


def test_stop_leaves_no_process_port_or_socket(own: SeaweedFS, plain_client: Connect) -> None:
    own.start()
    put(plain_client(own), "mine", "key", b"x")
    assert leftovers(own) != []
    own.stop()
    assert leftovers(own) == []
    own.stop()  # and a second one is nothing


async def test_it_starts_and_stops_from_asynchronous_code(own: SeaweedFS) -> None:
    await asyncio.to_thread(own.start)
    assert own.running
    await asyncio.to_thread(own.stop)
    assert leftovers(own) == []


def test_the_secret_is_not_on_the_command_line_nor_in_any_file_nor_in_the_repr(
    own: SeaweedFS, plain_client: Connect
) -> None:
    own.start()
    put(plain_client(own), "mine", "key", b"x")
    assert own.secret_key not in " ".join(psutil.Process(own.pid).cmdline())
    assert own.secret_key not in repr(own)
    own.stop()
    files = [path for path in own.directory.rglob("*") if path.is_file()]
    assert own.log_path in files
    assert [path for path in files if own.secret_key.encode() in path.read_bytes()] == []


def test_a_pinned_port_that_is_taken_fails_with_the_logs_tail(tmp_path: Path) -> None:
    ports = SeaweedPorts.allocate()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", ports.s3))
        store = SeaweedFS(tmp_path, access_key="key", secret_key="secret", ports=ports)
        with pytest.raises(StartFailed, match=f"port {ports.s3} for S3"):
            store.start()
        assert not store.running


def test_a_port_lost_to_another_process_makes_it_choose_others(own: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = SeaweedPorts.allocate()
    answers = iter([lost, SeaweedPorts.allocate()])
    monkeypatch.setattr(module.SeaweedPorts, "allocate", lambda: next(answers))
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", lost.filer))
        own.start()
    assert own.ports != lost


def test_more_buckets_than_the_disk_has_room_for_whole_volumes(seaweed: SeaweedFS) -> None:
    """Every bucket takes a volume; the number of volumes isn't derived from the free space of the day."""
    cmdline = psutil.Process(seaweed.pid).cmdline()
    assert "-volume.max=4096" in cmdline


def test_a_missing_weed_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert weed_program().name == "weed"  # by the package's own list of files
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    with pytest.raises(StoreNotInstalled, match=r"pip install 'sealane\[dev-store\]'"):
        weed_program()
