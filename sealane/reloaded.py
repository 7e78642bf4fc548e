"""Files that are read again when they change: certificates, lists of tokens, keys that tokens are verified with.

Kubernetes and every careful tool replace such files whole; whoever does not is caught in the middle of it. So what
can't be read keeps the value that there was, and an alarm is raised when a second look finds the same thing broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from structlog.stdlib import BoundLogger

from sealane.file_stamp import stamp
from sealane.logs import get_logger

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""Between two looks: how long what is revoked or renewed may still be in force."""
MAX_BYTES = 1 << 20
"""A file that is longer is not one of these."""

Signature = tuple[tuple[int, int, int] | None, ...]


class Reloaded(Generic[T]):
    """``parse`` of the ``paths``' contents; it raises ValueError, whose text must hold no secret: it is logged."""

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        parse: Callable[[Sequence[bytes]], T],
        *,
        describe: Callable[[T], Mapping[str, str]] = lambda _: {},
        log: BoundLogger | None = None,
    ) -> None:
        """Reads them. OSError, ValueError. ``describe`` answers what the line of a new value says of it."""
        self._what = what
        self._paths = tuple(paths)
        self._parse = parse
        self._describe = describe
        self._log = log or get_logger(__name__)
        self._signature = _signature(self._paths)
        self._broken: Signature | None = None
        self._alarmed = False
        self._value = parse(_contents(self._paths))

    @property
    def value(self) -> T:
        """As it was when it could last be read."""
        return self._value

    def look(self) -> bool:
        """Read the files again if they have changed; whether there is a new value. Blocks for as long as the disk."""
        signature = _signature(self._paths)
        if signature == self._signature:
            self._broken, self._alarmed = None, False
            return False
        try:
            value = self._parse(_contents(self._paths))
            if _signature(self._paths) != signature:
                return False  # being written: the next look sees the end of it
        except (OSError, ValueError) as error:
            self._keep(signature, error)
            return False
        self._value, self._signature = value, signature
        self._broken, self._alarmed = None, False
        self._log.info("reloaded", what=self._what, files=[str(path) for path in self._paths], **self._describe(value))
        return True

    async def watch(self, every: float = LOOK_SECONDS) -> None:
        """Look again and again, off the event loop, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.look)

    def _keep(self, signature: Signature, error: Exception) -> None:
        if signature != self._broken:
            self._broken, self._alarmed = signature, False
        elif not self._alarmed:
            self._alarmed = True
            files = [str(path) for path in self._paths]
            self._log.error(
                "reload_failed", alarm=True, what=self._what, files=files, kept="what was there", detail=str(error)
            )


def _signature(paths: Sequence[Path]) -> Signature:
    return tuple(stamp(path) for path in paths)


def _contents(paths: Sequence[Path]) -> list[bytes]:
    return [read(path) for path in paths]


def read(path: Path) -> bytes:
    """A small file. OSError; ValueError if it is no small one."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes")
    return content
