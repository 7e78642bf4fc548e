"""The file of overrides, read again when it changes: an operator turns a quota without a restart."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sealane.config.quotas import QuotaFileError, read_quota_file
from sealane.domain.quotas import Override, Quotas
from sealane.logs import get_logger

LOOK_SECONDS = 2.0
"""Between two looks at the file."""

_log = get_logger(__name__)

_Stamp = tuple[int, int, int]


async def watch_quotas(path: Path | None, quotas: Quotas, *, look_seconds: float = LOOK_SECONDS) -> None:
    """Keep ``quotas`` as the file says, until cancelled; returns if there is no file to watch.

    A file that is gone or wrong changes nothing, and is said once (``quota_file_refused``): the last good one stands.
    """
    if path is None:
        return
    seen: _Stamp | None = None
    while True:
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp is None or stamp != seen:
            overrides = await asyncio.to_thread(_read, path, known=seen != (0, 0, 0))
            if overrides is not None:
                quotas.override(overrides)
                _log.info("quotas", file=str(path), tenants=len(overrides))
        seen = stamp or (0, 0, 0)
        await asyncio.sleep(look_seconds)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path, *, known: bool) -> dict[str, Override] | None:
    try:
        return read_quota_file(path)
    except QuotaFileError as error:
        if known:
            _log.error("quota_file_refused", alarm=True, detail=str(error))
        return None
