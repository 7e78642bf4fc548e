"""A channel whose certificates may be exchanged: for every call it is the newest one that the files allow.

The channel before it ends in good order: calls in hand go on. Files that can't be used leave the channel that there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc
from grpc import aio

from sealane.rpc.client_tls import ClientTls, Stamp

_log = logging.getLogger(__name__)

GRACE_SECONDS = 3600.0
"""How long calls of a channel that was replaced may go on."""

Open = Callable[[grpc.ChannelCredentials], aio.Channel]


class RenewedChannel(aio.Channel):  # type: ignore[misc]  # grpc has no types
    """As much of aio.Channel as stubs use: multicallables find the channel when they are called."""

    def __init__(self, tls: ClientTls, open_channel: Open) -> None:
        """Reads the files. OSError, ValueError."""
        self._tls = tls
        self._open = open_channel
        self._stamp = tls.stamp()
        self._channel = open_channel(tls.credentials())
        self._callables: dict[tuple[str, str], Any] = {}
        self._unusable: Stamp | None = None
        self._ending: dict[asyncio.Task[None], aio.Channel] = {}

    def current(self) -> aio.Channel:
        """The channel for a call that begins now."""
        stamp = self._tls.stamp()
        if stamp not in (self._stamp, self._unusable):
            try:
                credentials = self._tls.credentials()
            except (OSError, ValueError) as error:
                self._unusable = stamp
                _log.error("client certificate files can't be used, the ones before them stay: %s", error)
            else:
                self._replace(self._open(credentials), stamp)
        return self._channel

    def _replace(self, channel: aio.Channel, stamp: Stamp) -> None:
        before, self._channel, self._stamp = self._channel, channel, stamp
        self._unusable = None
        self._callables.clear()
        ending = asyncio.get_running_loop().create_task(before.close(GRACE_SECONDS))
        self._ending[ending] = before
        ending.add_done_callback(lambda ended: self._ending.pop(ended, None))

    def _multicallable(self, kind: str, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        def begin(*args: Any, **kwargs: Any) -> Any:
            channel = self.current()
            ready = self._callables.get((kind, method))
            if ready is None:
                ready = self._callables[kind, method] = getattr(channel, kind)(method, *arguments, **options)
            return ready(*args, **kwargs)

        return begin

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("unary_unary", method, arguments, options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("unary_stream", method, arguments, options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("stream_unary", method, arguments, options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("stream_stream", method, arguments, options)

    async def __aenter__(self) -> RenewedChannel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        ending = dict(self._ending)
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for channel in (*ending.values(), self._channel):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.current().channel_ready()
