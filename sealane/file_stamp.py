"""Whether a file is still the one that was read: by its time, size and inode, for an exchange may keep two of them."""

from __future__ import annotations

from pathlib import Path


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while it is not there, or can't be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
