"""What the kernel says of a process: CPU time, peak memory, bytes read and written. Linux, ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of the process, dead ones too; the kernel counts in ticks of 10 ms."""
    # The program's name stands in brackets and may have spaces in it: proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def peak_rss(pid: int) -> int:
    """Bytes of memory that the process held at most, since it began."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")


def io_bytes(pid: int) -> int:
    """Bytes that the process passed through read(2) and write(2) so far, files and (in Go) sockets alike."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    values = {name: int(value) for name, _, value in (line.partition(":") for line in lines)}
    return values["rchar"] + values["wchar"]
