"""Trouble at a moment of an upload, and the object that must come of it nevertheless."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from blake3 import blake3
from client_world import World

from sealane.client import UploadResult


def check(here: World, result: UploadResult, data: bytes) -> None:
    assert here.object(result.key) == data
    assert result.digest == blake3(data).hexdigest()
    assert here.objects() == [result.key]


def at_frame(here: World, number: int, action: Callable[[], Any]) -> asyncio.Event:
    """Start ``action`` as a task when that frame arrives; the event says that it has ended."""
    ended = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def act() -> None:
        await action()
        ended.set()

    def look(frame: Any) -> Any:
        if here.ingest.trouble.frames == number:
            tasks.append(asyncio.get_running_loop().create_task(act()))
        return frame

    here.ingest.trouble.on_frame = look
    return ended
