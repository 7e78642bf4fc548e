"""Faults of the simulated store, aimed at one call: what a network and a replica elsewhere can do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sealane.store.port import OutcomeUnknown

T = TypeVar("T")
Act = Callable[["Fault", Callable[[], Any]], Any]


@dataclass
class Fault:
    """What happens to the next ``times`` calls of ``op`` whose key contains ``part``."""

    op: str
    part: str
    kind: str
    times: int = 1
    before: Callable[[], None] | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a call arrives here."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """A held call goes on when this is set."""
    late: list[Callable[[], Any]] = field(default_factory=list)
    """Effects that have not landed yet; call them to let them land."""


class Faults:
    """A fault plan by name of the call. Everything else goes through."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def lose_answer(self, op: str, part: str = "", times: int = 1) -> Fault:
        """It happens, and nobody hears of it."""
        return self._add(Fault(op, part, "lose_answer", times))

    def never_arrives(self, op: str, part: str = "", times: int = 1) -> Fault:
        return self._add(Fault(op, part, "never_arrives", times))

    def lands_late(self, op: str, part: str = "", times: int = 1) -> Fault:
        """An unknown outcome; it lands when the test says so."""
        return self._add(Fault(op, part, "lands_late", times))

    def hold(self, op: str, part: str = "", times: int = 1) -> Fault:
        """It waits before it happens, until the test says go."""
        return self._add(Fault(op, part, "hold", times))

    def just_before(self, op: str, part: str, act: Callable[[], None], times: int = 1) -> Fault:
        """Another replica acts at the worst moment: between the caller's step before and this one."""
        return self._add(Fault(op, part, "just_before", times, before=act))

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        fault = next((f for f in self._faults if f.times and f.op == op and f.part in key), None)
        if fault is None:
            return effect()
        fault.times -= 1
        fault.reached.set()
        match fault.kind:
            case "lose_answer":
                effect()
                raise OutcomeUnknown("answer lost")
            case "never_arrives":
                raise OutcomeUnknown("never arrived")
            case "lands_late":
                fault.late.append(effect)
                raise OutcomeUnknown("not landed yet")
            case "hold":
                await fault.go.wait()
            case _:
                assert fault.before is not None
                fault.before()
        return effect()
