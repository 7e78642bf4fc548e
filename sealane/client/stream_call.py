"""One UploadChunks call, and what the server really said when it ended early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc
from grpc import aio

from sealane.client.errors import WRITE_FAILED, DeadlineExceeded, translate
from sealane.v1 import ingest_service_pb2


class StreamEnded(Exception):
    """The server ended the call while we were writing: :meth:`UploadStream.answer` says how."""


class UploadStream:
    """Messages go in with :meth:`send`; :meth:`answer` half-closes. Always :meth:`cancel` it in the end."""

    def __init__(self, call: Any, *, stall_seconds: float) -> None:
        self._call = call
        self._stall_seconds = stall_seconds
        self._first_status: tuple[grpc.StatusCode, str, Any] | None = None
        call.add_done_callback(self._remember_status)

    @property
    def ended(self) -> bool:
        """Whether the server has answered already."""
        return bool(self._call.done())

    async def send(self, message: bytes) -> None:
        """Write one message; waits while the server does not read (flow control).

        StreamEnded if the server has ended the call; DeadlineExceeded if it takes nothing for ``stall_seconds``.
        """
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._call.write(message)
        except TimeoutError:
            raise DeadlineExceeded(f"The server took nothing for {self._stall_seconds:.0f} s.") from None
        except (grpc.RpcError, asyncio.InvalidStateError):
            raise StreamEnded from None

    async def answer(self) -> ingest_service_pb2.UploadChunksResponse:
        """Half-close and await the answer. Raises what the server raised, as our own class."""
        try:
            await self._call.done_writing()
            response: ingest_service_pb2.UploadChunksResponse = await self._call
        except grpc.RpcError as raised:
            raise translate(self._true_error(raised)) from None
        return response

    def cancel(self) -> None:
        """End the call if it has not ended. Only a digest frame ends a chunk: nothing half-sent is stored."""
        self._call.cancel()

    def _remember_status(self, call: Any) -> None:
        # grpc.aio lets a failed write overwrite the status that the server sent; the callback sees it before that.
        code, details, trailers = _settled(call.code()), _settled(call.details()), _settled(call.trailing_metadata())
        self._first_status = (code, details or "", trailers)

    def _true_error(self, raised: grpc.RpcError) -> grpc.RpcError:
        if WRITE_FAILED not in (raised.details() or "") or self._first_status is None:
            return raised
        code, details, trailers = self._first_status
        if code is grpc.StatusCode.OK:
            return raised
        return aio.AioRpcError(code, aio.Metadata(), trailers or aio.Metadata(), details=details)


def _settled(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()
    return None
