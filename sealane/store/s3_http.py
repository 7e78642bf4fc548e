"""The event loop's side of HTTP to the store: a bounded pool of threads, and a watch on what they do.

An exchange (:mod:`sealane.store.s3_exchange`) runs in a thread of the pool, as ``http.client`` blocks, and is watched
from the event loop: at the timeout, and when the caller is cancelled, the loop **cuts** it - it shuts the socket down
under the thread, which wakes at once with an error, wherever it waits. So neither a store that dribbles a byte a second
nor one that stops reading holds a thread, or a caller's buffer, longer than the call (I13, I14).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from sealane.logs import get_logger
from sealane.measure import Observe, nobody
from sealane.store.port import OutcomeUnknown, StoreError
from sealane.store.s3_clock import StoreClock
from sealane.store.s3_exchange import Answer, Endpoint, Exchange, Request
from sealane.store.s3_settings import S3Settings
from sealane.store.s3_signing import Signer

T = TypeVar("T")

SLOW_SECONDS = 2.0
"""A call to the store that took longer is worth a line of the log."""
_log = get_logger(__name__)
_stdlib = logging.getLogger(__name__)


class S3Http:
    """The transport of one bucket. Use within one event loop."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        signer: Signer | None = None,
        local_clock: Callable[[], float] = time.time,  # noqa: TID251 - where the store's clock is made from the local
        monotonic: Callable[[], float] = time.monotonic,  # noqa: TID251 - threads have no loop to ask
        waited: Observe = nobody,
    ) -> None:
        """``waited`` is told how many seconds each exchange waited for one of the ``max_connections``."""
        self._waited = waited
        self._monotonic = monotonic
        self._clock = StoreClock(local_clock)
        self._endpoint = Endpoint(settings, signer or Signer(settings), self._clock, monotonic)
        self._executor = ThreadPoolExecutor(settings.max_connections, thread_name_prefix="s3")
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._in_hand: set[asyncio.Future[Any]] = set()
        self._closed = False

    def now(self) -> datetime:
        """The store's time, UTC."""
        return self._clock.now()

    async def send(self, request: Request, timeout: float) -> Answer:
        """One exchange, ended after ``timeout`` seconds. Raises OutcomeUnknown if there is no whole answer by then.

        When it ends, by cancellation too, nothing reads ``request.body`` any more.
        """
        begun = self._monotonic()
        exchange = await self._admit(request, timeout)
        future = self._start(exchange.converse)
        future.add_done_callback(lambda _: self._finish(exchange))
        answer = await self._watch(exchange, future)
        self._log(request, answer, self._monotonic() - begun)
        return answer

    async def stream(
        self, request: Request, *, timeout: float, block_bytes: int, refusal: Callable[[Answer], StoreError]
    ) -> AsyncGenerator[bytes, None]:
        """The body of the answer in blocks of ``block_bytes`` (the last is shorter), each within ``timeout`` seconds.

        Raises what ``refusal`` makes of an answer that isn't a success. Holds a connection until it is exhausted or
        closed.
        """
        exchange = await self._admit(request, timeout)
        future: asyncio.Future[Answer] | asyncio.Future[bytes]
        future = opening = self._start(exchange.open)
        try:
            answer = await self._watch(exchange, opening)
            if not answer.ok:
                raise refusal(answer)
            while True:
                exchange.deadline = self._monotonic() + timeout
                future = reading = self._start(lambda: exchange.read(block_bytes))
                block = await self._watch(exchange, reading)
                if not block:
                    return
                yield block
        finally:
            future.add_done_callback(lambda _: self._finish(exchange))

    async def aclose(self) -> None:
        """Refuse new exchanges, wait for those in hand (each ends by its own timeout), let go of all resources."""
        self._closed = True
        try:
            while self._in_hand:
                await asyncio.wait(set(self._in_hand))
        finally:
            self._endpoint.close()
            self._executor.shutdown(wait=False)

    async def _admit(self, request: Request, timeout: float) -> Exchange:
        """Wait for one of ``max_connections`` places; the wait is part of the timeout."""
        begun = self._monotonic()
        deadline = begun + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise OutcomeUnknown(f"{request}: no connection came free in time; nothing was sent") from None
        finally:
            self._waited(self._monotonic() - begun)
        return Exchange(self._endpoint, request, deadline)

    @staticmethod
    def _log(request: Request, answer: Answer, seconds: float) -> None:
        """The store's own id of the request, where its logs are to be asked: always at DEBUG, at INFO if it was slow or
        the store failed. (What it refused is told with its id by whoever cared.)"""
        remarkable = seconds >= SLOW_SECONDS or answer.status >= 500
        if not remarkable and not _stdlib.isEnabledFor(logging.DEBUG):
            return  # one comparison, on the path of every byte
        tell = _log.info if remarkable else _log.debug
        tell(
            "store",
            call=str(request),
            status=answer.status,
            duration_ms=round(seconds * 1e3, 3),
            store_request_id=answer.headers.get("x-amz-request-id", ""),
        )

    def _finish(self, exchange: Exchange) -> None:
        exchange.end()
        self._slots.release()

    def _start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            future.set_exception(OutcomeUnknown("the store is closed; nothing was sent"))
            return future
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._in_hand.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._in_hand.discard(future)
        if not future.cancelled():
            future.exception()  # retrieved, so that an abandoned exchange's failure isn't reported as a forgotten one

    async def _watch(self, exchange: Exchange, future: asyncio.Future[T]) -> T:
        try:
            await asyncio.wait({future}, timeout=max(0.0, exchange.deadline - self._monotonic()))
        finally:
            if not future.done() and exchange.cut():
                await _until_ended(future)
        if not future.done():
            raise OutcomeUnknown(f"{exchange}: no answer in time")
        return future.result()


async def _until_ended(future: asyncio.Future[T]) -> None:
    """Wait for the end of ``future``, whatever it is. Cancellations that arrive meanwhile are passed on after it."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
