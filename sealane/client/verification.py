"""Reading a committed object back: a stream that may take as long as the object is large."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from sealane.client.connections import Connections
from sealane.client.errors import PeerUnavailable, SealaneError, is_transient
from sealane.client.results import VerifiedObject
from sealane.v1 import assembly_service_pb2

VERIFY_SECONDS = 86400.0
"""The deadline of one reading of an object: as long as its size takes. The server has its own limit."""
VERIFY_STALL_SECONDS = 600.0
"""A verification that says nothing for so long is started anew. Longer than a store's bad minutes."""


async def verify_object(
    connections: Connections, session_id: str, progress: Callable[[int, int], None] | None
) -> VerifiedObject:
    """See :meth:`sealane.client.Client.verify_object`."""
    request = assembly_service_pb2.VerifyObjectRequest(session_id=session_id)
    backoff = connections.backoff()
    while True:
        try:
            async with aclosing(
                connections.stream(
                    connections.assembly.VerifyObject,
                    request,
                    seconds=VERIFY_SECONDS,
                    stall_seconds=VERIFY_STALL_SECONDS,
                )
            ) as messages:
                async for message in messages:
                    if progress is not None:
                        progress(message.bytes_read, message.size)
                    if message.verified:
                        return VerifiedObject(message.size, message.blake3)
            raise PeerUnavailable("The verification ended before its verdict.", retry_after=0.0)
        except SealaneError as error:
            if not is_transient(error):
                raise
            await connections.pause(backoff.next_pause(error))
