"""A part of sealane that is not installed is said in a sentence with the command that brings it, not by a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_OURS = ("sealane", "ingest_service", "assembly_service")


class NotInstalled(SystemExit):
    """Ends a process that nobody else answers for: ``str()`` goes to stderr, and the exit code is 1."""

    def __init__(self, module: str, extra: str) -> None:
        self.message = f"{module} is not installed, which this needs"
        self.hint = f"pip install 'sealane[{extra}]'"
        super().__init__(f"sealane: {self.message}: {self.hint}")


@contextmanager
def needed(extra: str) -> Iterator[None]:
    """Around imports of what ``pip install 'sealane[EXTRA]'`` brings. Raises NotInstalled."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if not module or module in _OURS:
            raise
        raise NotInstalled(module, extra) from None
