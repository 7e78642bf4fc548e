"""A host for each program: a network namespace, joined to the others by a veth pair and a bridge.

    this process and its clients ── bridge 10.99.0.1/24 ─┬─ store
                                                         ├─ envoy
                                                         ├─ ingest-1   ingest-2
                                                         └─ assembly-1 assembly-2

All of it within the network namespace of the run itself (:mod:`tests.rolling.namespace`), where it is at once gone when
the run ends, however that ends. A host that goes takes its interface along: what is sent to it is answered by nobody,
not even by a kernel that says that the port is closed.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from pathlib import Path

from sealane.dev.host import Host
from tests.rolling.namespace import mount_over

NETWORK = ipaddress.IPv4Network("10.99.0.0/24")
BRIDGE = "sealane"
NAMES = Path("/var/run/netns")
"""Where ``ip netns`` keeps its names."""


class NoHosts(RuntimeError):
    """This machine can't have them. The text says why."""


class Hosts:
    """Only for a process that is in a network namespace of its own (else NoHosts is the best that may happen).

    A host is there from when it is first asked for.
    """

    def __init__(self) -> None:
        missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
        if missing:
            raise NoHosts(f"there is no `{missing[0]}`")
        self._addresses = NETWORK.hosts()
        self._hosts: dict[str, Host] = {}
        try:
            mount_over(NAMES)
        except OSError as error:
            raise NoHosts(str(error)) from error
        _ip(f"link add {BRIDGE} type bridge")
        _ip(f"address add {next(self._addresses)}/{NETWORK.prefixlen} dev {BRIDGE}")
        _ip(f"link set {BRIDGE} up")
        self.of("envoy")  # a kernel without veth says so now

    def of(self, name: str) -> Host:
        """The host of that name."""
        if name not in self._hosts:
            self._hosts[name] = Host(str(next(self._addresses)), ("nsenter", f"--net={NAMES / name}"))
            self.on(name)
        return self._hosts[name]

    def on(self, name: str) -> None:
        """Have it come (back): the same address on a new interface."""
        address = ipaddress.IPv4Address(self._hosts[name].address)
        # As with real hardware the interface's own address comes back, too: what others remember of it is still true.
        hardware = "02:00:" + ":".join(f"{byte:02x}" for byte in address.packed)
        _ip(f"netns add {name}")
        _ip(f"link add to-{name} type veth peer name eth0 address {hardware} netns {name}")
        _ip(f"link set to-{name} master {BRIDGE} up")
        _ip(f"-n {name} address add {address}/{NETWORK.prefixlen} dev eth0")
        _ip(f"-n {name} link set eth0 up")
        _ip(f"-n {name} link set lo up")

    def off(self, name: str) -> None:
        """Have it go. Processes that are still there are on their own from now on."""
        _ip(f"link delete to-{name}")
        _ip(f"netns delete {name}")


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoHosts(f"`ip {words}`: {done.stderr.strip() or done.returncode}")
