"""`sealane …` as users run it: a real process, its exit code, its stdout and its stderr."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blake3

from sealane.dev.cluster import Cluster

CHUNK = 8 << 20
COMMAND_SECONDS = 90
# What the operator's shell may hold and no test may see.
_FOREIGN = ("SEALANE_", "AWS_")


def environment(**extra: str) -> dict[str, str]:
    """The environment that every command gets: nothing of sealane's or of S3's from outside, no colour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    repository = str(Path(__file__).resolve().parents[2])
    return {**kept, "PYTHONPATH": repository, "NO_COLOR": "1", "COLUMNS": "100", **extra}


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout, which must be one JSON document and nothing else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def records(self) -> list[dict[str, Any]]:
        """stdout, which must be a JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The failure that stderr names, which must be all there is on stderr; stdout has no result beside it."""
        value = json.loads(self.err)["error"]
        assert isinstance(value, dict)
        assert {"reason", "code", "message", "error_id", "hint", "exit_code"} <= set(value)
        assert value["exit_code"] == self.code
        return value


@dataclass(frozen=True)
class Commands:
    """`sealane …` against one cluster, in a folder of its own."""

    directory: Path
    ingest: str
    assembly: str
    env: dict[str, str] = field(default_factory=environment)

    def argv(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "sealane.cli", *(str(word) for word in words)]

    @property
    def full_env(self) -> dict[str, str]:
        return {**self.env, "SEALANE_INGEST": self.ingest, "SEALANE_ASSEMBLY": self.assembly}

    def __call__(self, *words: object, stdin: bytes | None = None, timeout: float = COMMAND_SECONDS) -> Result:
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            cwd=self.directory,
            env=self.full_env,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def popen(self, *words: object, **options: Any) -> subprocess.Popen[str]:
        """The command as a process that goes on; the caller ends it."""
        return subprocess.Popen(
            self.argv(*words),
            cwd=self.directory,
            env=self.full_env,
            text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )


@dataclass(frozen=True)
class Content:
    """A file and what is known of it."""

    path: Path
    body: bytes = field(repr=False)

    @property
    def blake3(self) -> str:
        return blake3.blake3(self.body).hexdigest()

    @property
    def size(self) -> int:
        return len(self.body)


def write_content(path: Path, size: int) -> Content:
    body = secrets.token_bytes(size)
    path.write_bytes(body)
    return Content(path, body)


def commands(cluster: Cluster, directory: Path) -> Commands:
    state = directory / "state"
    state.mkdir(exist_ok=True)
    env = environment(XDG_STATE_HOME=str(state), HOME=str(state))
    return Commands(directory, cluster.target("ingest"), cluster.target("assembly"), env)
