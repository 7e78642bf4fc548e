"""``make image-check``: the Dockerfile's steps without a container engine, and what they made, run as it would be.

1. Each instruction in a root of its own (:mod:`deploy.docker.room`): COPY what .dockerignore lets through, every RUN as
   it stands. The base image's Python is this one, and so may be of another version than the image's.
2. What dev's manifests start, from there: SeaweedFS, ingest, assembly, with their commands, environments and users, no
   capability, a read-only root, loopback alone. One upload by the image's own CLI, read back through plain S3; SIGTERM.

The image itself is not built. Needs Linux and root, for mount and chroot; ports are free, for the network is its own.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from deploy.docker import dockerfile  # noqa: E402 - the folder is no installed package
from deploy.docker.dockerfile import Stage  # noqa: E402
from deploy.docker.room import Room, own_mounts, own_network  # noqa: E402
from deploy.kubernetes import check  # noqa: E402
from deploy.kubernetes.environment import config_maps, given  # noqa: E402
from deploy.kubernetes.workloads import ours  # noqa: E402
from sealane.dev.process import ChildProcess  # noqa: E402
from sealane.dev.seaweed import weed_program  # noqa: E402
from sealane.dev.signed_http import signed_request  # noqa: E402

UPLOAD_BYTES = 20_000_001
HOSTS = "127.0.0.1 localhost seaweedfs sealane-ingest sealane-assembly\n"
KEPT = ("PIP_", "HTTP_", "HTTPS_", "NO_PROXY", "SSL_", "http", "no_proxy")
"""Of this process's environment, what the network of this machine may need."""


def say(text: str) -> None:
    print(text, flush=True)


def context(folder: Path) -> None:
    """What `docker build .` would send."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for file in dockerfile.sent(sorted(filter(None, listed.split("\0"))), ignore):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, folder / file)


def carry_out(stage: Stage, room: Room, sources: dict[str, Path]) -> None:
    """The stage's instructions, one by one. ``sources``: the context as "", and the stages before."""
    cwd = "/"
    network = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    for step in stage.instructions:
        if step.word == "WORKDIR":
            cwd = step.text
            (room.root / cwd.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            where, names, destination = dockerfile.copied(step.text)
            target = room.root / os.path.join(cwd, destination).lstrip("/")
            for name in names:
                _copy(sources[where] / name.lstrip("/"), target, into=destination.endswith("/"))
        elif step.word == "RUN":
            say(f"  RUN {step.text[:100]}{'…' if len(step.text) > 100 else ''}")
            room.run(step.text, cwd=cwd, environment=stage.environment | {"HOME": "/tmp"} | network)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        target = target / source.name if into else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def secrets_of(manifests: list[Any]) -> dict[str, dict[str, str]]:
    return {
        m["metadata"]["name"]: {name: base64.b64decode(value).decode() for name, value in m["data"].items()}
        for m in manifests
        if m["kind"] == "Secret"
    }


def environment_of(container: Any, manifests: list[Any]) -> dict[str, str]:
    """A container's variables with their secrets."""
    values, secrets = given(container, config_maps(manifests)), secrets_of(manifests)
    for variable in container.get("env") or []:
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            values[variable["name"]] = secrets[reference["name"]][reference["key"]]
    return values


def serving(port: int, service: str) -> bool:
    """What a gRPC probe of Kubernetes asks."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            asked = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=2.0)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def memory_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def store_of(manifests: list[Any], folder: Path) -> tuple[ChildProcess, dict[str, str]]:
    """dev's SeaweedFS, as its StatefulSet says, and its admin's keys; the program comes from this machine."""
    room = Room(folder / "store")
    (room.root / "opt").mkdir()
    shutil.copy2(weed_program(), room.root / "opt" / "weed")
    (room.root / "etc" / "hosts").write_text(HOSTS, encoding="ascii")
    (stateful,) = [m for m in manifests if m["kind"] == "StatefulSet"]
    pod = stateful["spec"]["template"]["spec"]
    (secret,) = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    identities = secrets_of(manifests)[secret]["identities.json"]
    (room.root / "etc" / "seaweedfs").mkdir()
    (room.root / "etc" / "seaweedfs" / "identities.json").write_text(identities, encoding="utf-8")
    room.seal("/data", "/tmp")
    (container,) = pod["containers"]
    environment = environment_of(container, manifests) | {"PATH": "/opt:/usr/bin:/bin"}
    user = pod["securityContext"]["runAsUser"]
    argv = room.command(["/opt/weed", *container["command"][1:]], user=user, group=user)
    (admin,) = [user["credentials"][0] for user in json.loads(identities)["identities"] if "actions" in user]
    keys = {"access_key": admin["accessKey"], "secret_key": admin["secretKey"]}
    return ChildProcess(argv, log_path=folder / "store.log", env=environment, name="seaweedfs"), keys


def answers(keys: dict[str, str]) -> bool:
    try:
        return (
            signed_request("http://127.0.0.1:8333", "PUT", "sealane/.sealane/.probe/ready", body=b"", **keys)[0] == 200
        )
    except OSError:
        return False


def services(
    manifests: list[Any], stage: Stage, room: Room, folder: Path
) -> Iterator[tuple[str, ChildProcess, Any, Any, dict[str, str]]]:
    user, group = (int(number) for number in stage.texts("USER")[-1].split(":"))
    for name, deployment, container in ours(manifests):
        environment = stage.environment | environment_of(container, manifests)
        argv = room.command([f"/opt/sealane/bin/{container['command'][0]}"], user=user, group=group)
        child = ChildProcess(argv, log_path=folder / f"{name}.log", env=environment, name=name)
        yield name, child, deployment, container, environment


def run(stage: Stage, room: Room, folder: Path) -> None:
    manifests = check.build(check.HERE / "overlays" / "dev")
    user = int(stage.texts("USER")[-1].split(":")[0])
    attempt = "touch /x 2>/dev/null || touch /tmp/x 2>/dev/null || touch /opt/sealane/x 2>/dev/null"
    written = subprocess.run(room.command(["/bin/sh", "-c", attempt], user=user, group=user), check=False)
    assert written.returncode != 0, "the tree can be written to"
    store, keys = store_of(manifests, folder)
    running = list(services(manifests, stage, room, folder))
    with store:
        store.await_ready(lambda: answers(keys), timeout=60.0)
        try:
            started = time.monotonic()
            for _, child, *_ in running:
                child.start()
            for name, child, _, container, _ in running:
                probe = container["startupProbe"]
                patience = probe["periodSeconds"] * probe["failureThreshold"]
                port = probe["grpc"]["port"]
                child.await_ready(lambda port=port: serving(port, "liveness"), timeout=patience)  # type: ignore[misc]
                alive = time.monotonic() - started
                child.await_ready(lambda port=port: serving(port, "readiness"), timeout=120.0)  # type: ignore[misc]
                ready = time.monotonic() - started
                say(f"  {name}: alive after {alive:.1f} s of {patience} s, ready after {ready:.1f} s")
            upload(stage, room, user, keys)
            for name, child, deployment, container, _ in running:
                limit = container["resources"]["limits"]["memory"]
                held = memory_mib(child.pid)
                grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                begun = time.monotonic()
                child.send_signal(signal.SIGTERM)
                code = child.wait(grace)
                took = time.monotonic() - begun
                say(f"  {name}: {held} MiB held of {limit}; SIGTERM: exit {code} after {took:.1f} s of {grace} s")
                assert code == 0, child.log_tail()
        finally:
            for _, child, *_ in running:
                child.kill()


def upload(stage: Stage, room: Room, user: int, store: dict[str, str]) -> None:
    """One file, by the image's own CLI; read back through plain S3."""
    content = os.urandom(UPLOAD_BYTES)
    argv = ["/opt/sealane/bin/sealane", "put", "-", "--name", "file.bin", "--json"]
    argv += ["--ingest", "sealane-ingest:7301", "--assembly", "sealane-assembly:7302"]
    put = subprocess.run(
        room.command(argv, user=user, group=user),
        input=content, env=stage.environment | {"HOME": "/nonexistent"}, capture_output=True, check=False,
    )  # fmt: skip
    assert put.returncode == 0, put.stderr.decode()
    key = json.loads(put.stdout)["committed_object"]["key"]
    status, body = signed_request("http://127.0.0.1:8333", "GET", f"sealane/{key}", timeout=60.0, **store)
    assert (status, body == content) == (200, True), "other bytes came back"
    say(f"  upload: {UPLOAD_BYTES} bytes to {key}, the same bytes through plain S3")


def main() -> int:
    if sys.platform != "linux" or os.geteuid() != 0:
        print("make image-check needs Linux and root, for mount and chroot: sudo make image-check", file=sys.stderr)
        return 1
    build, final = dockerfile.read(HERE)
    os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="image-check-"))
    folder.chmod(0o755)
    try:
        own_mounts()
        say(f"building, in {folder}")
        context(folder / "context")
        first = Room(folder / "build")
        carry_out(build, first, {"": folder / "context"})
        second = Room(folder / "final")
        carry_out(final, second, {"": folder / "context", build.name: first.root})
        (second.root / "etc" / "hosts").write_text(HOSTS, encoding="ascii")
        second.seal()
        own_network()
        say(f"running, as {final.texts('USER')[-1]} on a read-only tree of {size_mib(second.root / 'opt')} MiB")
        run(final, second, folder)
    finally:
        for log in sorted(folder.glob("*.log")):
            if sys.exc_info()[0] is not None:
                print(f"--- {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}", file=sys.stderr)
        _gone(folder)
    say("What the Dockerfile's steps make runs as the manifests say. The image itself is not built by this.")
    return 0


def size_mib(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) >> 20


def _gone(folder: Path) -> None:
    """Mounts go first, or their content would."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    left = [line for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines() if f"{folder}/" in line]
    if left:
        print(f"{folder} is left: something is still mounted in it", file=sys.stderr)
        return
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
