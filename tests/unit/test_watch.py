"""WatchSession's pace, in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from virtual_time import run

from ingest_service.watch import Watcher, WatchPace
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.states import SessionState
from sealane.slots import Slots
from sealane.store.deadline import Deadline


def test_an_unchanged_session_is_shown_as_often_as_the_heartbeat_says() -> None:
    """Looks at it become rare meanwhile; a client that waits for the next message must not wait longer for that."""

    async def scenario() -> list[float]:
        async def unchanged(*_: object) -> Any:
            return view

        view = SimpleNamespace(state=SessionState.OPEN)
        watcher = Watcher(SimpleNamespace(get=unchanged), Slots(1, "watchers"), WatchPace(1.0, 15.0))  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        watch = watcher.watch(Tenant("t"), SessionId("0" * 32), Deadline.after(3600))
        shown = []
        async for _ in watch:
            shown.append(loop.time())
            if len(shown) == 4:
                break
        return [round(later - earlier, 3) for earlier, later in pairwise(shown)]

    assert run(scenario()) == [15.0, 15.0, 15.0]
