"""Where a program of a cluster runs: on this machine's loopback, unless whoever starts the cluster says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from sealane.dev.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Host:
    """The address that others reach it at, and the words before a command that has it run there, if any are needed."""

    address: str = LOOPBACK
    enter: tuple[str, ...] = ()
    """It must become the program (exec), not be its parent: signals go to the process that was started."""


def this_machine(_: str) -> Host:
    """The host of every program that is not told another one."""
    return Host()
