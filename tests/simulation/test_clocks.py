"""The clock of a process that stands still: what its deadlines are counted by."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.virtual_loop import Loop


@pytest.mark.parametrize(("clock_stops", "elapsed"), [(True, [0.0, 0.0, 5.0]), (False, [0.0, 60.0, 95.0])])
def test_a_clock_that_stands_does_so_at_once_and_goes_on_from_there(clock_stops: bool, elapsed: list[float]) -> None:
    loop = Loop(start=0.0)
    process = loop.process("assembly-0")
    seen: list[float] = []

    async def main() -> None:
        process.stall(90.0, clock_stops=clock_stops)
        for pause in (0.0, 60.0, 35.0):
            await asyncio.sleep(pause)
            seen.append(process.clock)

    loop.run(main())
    assert seen == elapsed
