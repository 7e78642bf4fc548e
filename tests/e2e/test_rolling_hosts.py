"""Hosts made of network namespaces: one that is away is silent, and comes back at the same address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

NO_HOSTS = 77
PROGRAM = f"""
import socket, subprocess, sys
from tests.rolling.hosts import Hosts, NoHosts
from tests.rolling.namespace import enter_namespace

if not enter_namespace():
    sys.exit({NO_HOSTS})
try:
    hosts = Hosts()
except NoHosts:
    sys.exit({NO_HOSTS})

def reached(host):
    try:
        with socket.create_connection((host.address, 7301), timeout=0.5):
            return "answers"
    except ConnectionRefusedError:
        return "refuses"
    except OSError:  # nothing comes back, or the kernel has asked in vain who has that address
        return "silent"

SERVER = "import socket, sys; s = socket.create_server((sys.argv[1], 7301)); print(flush=True); sys.stdin.read()"
one, two = hosts.of("ingest-1"), hosts.of("ingest-2")
command = [*one.enter, sys.executable, "-c", SERVER, one.address]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
    server.stdout.readline()
    print(reached(one), reached(two))
    hosts.off("ingest-1")
    print(reached(one), reached(two))
    server.stdin.close()
hosts.on("ingest-1")
print(reached(one), reached(two))
"""


def test_a_host_that_is_away_is_silent_and_comes_back() -> None:
    """And nothing of them is left: they were in a network namespace that ended with its only process."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    if run.returncode == NO_HOSTS:
        pytest.skip("this machine allows no network namespaces, or lacks iproute2, bridges or veth")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["answers refuses", "silent refuses", "refuses refuses"]
    assert "to-ingest-1" not in Path("/proc/net/dev").read_text()
