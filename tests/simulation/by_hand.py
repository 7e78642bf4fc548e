"""A stream of chunks as the SDK would not send it: whatever the coverage says, without a retry, without a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from sealane.client.frames import frames, header
from sealane.client.stream_call import StreamEnded
from tests.simulation.plans import CHUNK

if TYPE_CHECKING:
    from tests.simulation.actor import Actor


async def store_chunks(actor: Actor, session_id: str, indexes: list[int], *, other: bool = False) -> None:
    """One stream of these chunks. ``other``: with their first byte changed."""
    content = bytearray(actor.content)
    if other:
        for index in indexes:
            content[index * CHUNK] ^= 0xFF
        actor.model.declare(bytes(content))
    actor.model.sending[actor.name] = bytes(content)
    call = actor.client._connections.upload_stream(0, seconds=60.0, stall_seconds=30.0, request_id="")
    try:
        await call.send(header(session_id))
        for index in indexes:
            piece = content[index * CHUNK : (index + 1) * CHUNK]
            for _, message in frames(index, memoryview(piece), blake3(piece).digest(), 700):
                await call.send(message)
    except StreamEnded:
        pass
    try:
        await call.answer()
    finally:
        call.cancel()
